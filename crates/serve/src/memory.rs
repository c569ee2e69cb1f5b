//! After large requests, and after adapters that were unloaded, what was freed goes back to the system: the program's allocator may
//! keep it for the next of its kind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::app::App;

/// Bytes of a body from which on it is large.
const LARGE: usize = 1 << 20;
/// How long what was freed waits at most.
const EVERY: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub(crate) struct Memory {
    is_due: AtomicBool,
}

impl Memory {
    pub(crate) fn read(&self, body: usize) {
        if body >= LARGE {
            self.freed();
        }
    }

    pub(crate) fn freed(&self) {
        self.is_due.store(true, Ordering::Relaxed);
    }
}

/// For as long as it is polled.
pub(crate) async fn give_back(app: &App) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_due = false;
    loop {
        ticks.tick().await;
        is_due |= app.memory.is_due.swap(false, Ordering::Relaxed);
        if is_due {
            let statistics = app.engine.statistics();
            // What is being answered is freed later.
            is_due = statistics.waiting() + statistics.running() > 0;
            let _ = spawn_blocking(app.settings.release_memory).await;
        }
    }
}
