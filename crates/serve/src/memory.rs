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

/// What is to be done at a tick.
#[derive(Debug, Default)]
struct Due {
    /// What was being answered the last time is freed once nothing is.
    again: bool,
}

impl Due {
    /// Whether memory goes back now: once after what asked for it, and once more when nothing is being answered.
    fn now(&mut self, is_due: bool, is_idle: bool) -> bool {
        let now = is_due || (self.again && is_idle);
        self.again = (self.again || is_due) && !is_idle;
        now
    }
}

/// For as long as it is polled.
pub(crate) async fn give_back(app: &App) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = Due::default();
    loop {
        ticks.tick().await;
        let statistics = app.engine.statistics();
        let is_idle = statistics.waiting() + statistics.running() == 0;
        if due.now(app.memory.is_due.swap(false, Ordering::Relaxed), is_idle) {
            let _ = spawn_blocking(app.settings.release_memory).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Due;

    #[test]
    fn memory_goes_back_once_while_there_is_work_and_once_more_after_it() {
        let mut due = Due::default();
        let ticks = [(false, true), (true, false), (false, false), (false, false), (false, true), (false, true)];
        assert_eq!(ticks.map(|(is_due, is_idle)| due.now(is_due, is_idle)), [false, true, false, false, true, false]);
        assert_eq!([(true, true), (false, true)].map(|(is_due, is_idle)| due.now(is_due, is_idle)), [true, false]);
    }
}
