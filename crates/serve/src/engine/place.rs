//! A request's place: in the queue, and from its first pass on among those that the model works on.

use std::sync::Arc;

use super::Statistics;

/// Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    statistics: Arc<Statistics>,
    has_begun: bool,
}

impl Place {
    /// One in the queue; `None` if `max` are waiting.
    pub(super) fn take(statistics: &Arc<Statistics>, max: usize) -> Option<Self> {
        statistics.queue(max).then(|| Self { statistics: statistics.clone(), has_begun: false })
    }

    /// The request is no longer in the queue.
    pub(super) fn begin(&mut self) {
        if !self.has_begun {
            self.has_begun = true;
            self.statistics.begin();
        }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.statistics.leave(self.has_begun);
    }
}
