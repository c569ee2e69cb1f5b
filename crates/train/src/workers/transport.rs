//! What moves bytes between workers. Every worker makes the same calls in the same order.

use std::fmt::Debug;
use std::time::Duration;

pub(crate) trait Transport: Debug + Send + Sync {
    /// The number of this worker, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Its number among those of its host.
    fn local_rank(&self) -> usize;

    fn host(&self) -> String;

    /// What every worker sent, by their numbers. Waits for `patience` alone, if there is one, and then says who is missing.
    fn gather(&self, sent: &[u8], patience: Option<Duration>) -> Result<Vec<Vec<u8>>, Missing>;

    /// The worker to whom a message is on its way that is not taken.
    fn partner(&self) -> Option<usize>;

    /// Equal parts, to each worker its own, of which `received` has one of each worker's.
    fn all_to_all(&self, sent: &[f32], received: &mut [f32]);

    /// What every worker sent, one after the other.
    fn all_gather(&self, sent: &[f32], received: &mut [f32]);

    /// Makes `bytes` what they are on the first worker.
    fn broadcast(&self, bytes: &mut [u8]);

    /// Ends all workers at once.
    fn abort(&self, status: i32) -> !;

    /// Ends the connection: nothing is called after it.
    fn leave(&self);
}

/// Numbers of workers that have not answered in time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing(pub(crate) Vec<usize>);
