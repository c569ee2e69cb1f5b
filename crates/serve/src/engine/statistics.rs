//! What the thread of the passes is doing, for the metrics.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct Statistics {
    waiting: AtomicUsize,
    running: AtomicUsize,
    passes: Mutex<Passes>,
}

/// Since the beginning, of each kind of passes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Passes {
    pub(crate) writing: Kind,
    pub(crate) classifying: Kind,
    pub(crate) cache: Cache,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Kind {
    pub(crate) passes: u64,
    /// Texts and sequences in the passes, added up: by the number of passes the size of a batch.
    pub(crate) sequences: u64,
    pub(crate) tokens: u64,
}

/// Of the cache, in tokens.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cache {
    pub(crate) rows: usize,
    pub(crate) of_texts: usize,
    pub(crate) of_prefixes: usize,
    pub(crate) bytes_per_row: usize,
}

impl Kind {
    pub(super) fn add(&mut self, sequences: usize, tokens: usize) {
        self.passes += 1;
        self.sequences += sequences as u64;
        self.tokens += tokens as u64;
    }
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

    pub(crate) fn passes(&self) -> Passes {
        *self.passes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn cache(&self) -> Cache {
        self.passes().cache
    }

    pub(super) fn passed(&self, update: impl FnOnce(&mut Passes)) {
        update(&mut self.passes.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether there was room in the queue.
    pub(super) fn queue(&self, max: usize) -> bool {
        let more = |waiting| (waiting < max).then_some(waiting + 1);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(super) fn begin(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self, has_begun: bool) {
        let counted = if has_begun { &self.running } else { &self.waiting };
        counted.fetch_sub(1, Ordering::Relaxed);
    }
}
