//! What the thread of the models is doing, for the metrics.

use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Statistics {
    waiting: AtomicUsize,
    running: AtomicUsize,
}

impl Statistics {
    /// Requests in the queue.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Requests that the model works on.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    pub(super) fn queued(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn left_queue(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn running_now(&self, running: usize) {
        self.running.store(running, Ordering::Relaxed);
    }
}
