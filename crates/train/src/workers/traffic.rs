//! What the exchange between workers costs.

use std::fmt;
use std::ops::{AddAssign, Sub};

/// What went between the workers, as this one sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Traffic {
    /// Sent by this worker.
    pub(crate) bytes: u64,
    /// Spent on sending and receiving, without waiting for others.
    pub(crate) seconds: f64,
    /// Spent on waiting.
    pub(crate) waited: f64,
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        let (seconds, waited) = (self.seconds - before.seconds, self.waited - before.waited);
        Self { bytes: self.bytes - before.bytes, seconds, waited }
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, more: Self) {
        self.bytes += more.bytes;
        self.seconds += more.seconds;
        self.waited += more.waited;
    }
}

impl Traffic {
    /// On average, of so many steps.
    pub(crate) fn of_each(self, steps: usize) -> Self {
        let steps = steps.max(1);
        let (seconds, waited) = (self.seconds / steps as f64, self.waited / steps as f64);
        Self { bytes: self.bytes / steps as u64, seconds, waited }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = crate::output::bytes(usize::try_from(self.bytes).unwrap_or(usize::MAX));
        write!(f, "{bytes} in {:.1} ms, {:.1} ms of waiting", 1000.0 * self.seconds, 1000.0 * self.waited)
    }
}
