//! What the workers that have met know of each other, one meeting of theirs, and the watch over what they all take part in: nobody
//! waits without end for one that is gone.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::transport::{Missing, Transport};
use super::{Elsewhere, Traffic};

#[derive(Debug)]
pub(super) struct Joined {
    pub(super) transport: Box<dyn Transport>,
    /// By their numbers.
    pub(super) hosts: Vec<String>,
    pub(super) patience: Duration,
    /// What ended the work of all.
    pub(super) failure: OnceLock<Elsewhere>,
    pub(super) traffic: Mutex<Traffic>,
    /// Since when the library has been at something that all take part in, and what that is.
    pub(super) busy: Mutex<Option<(Instant, String)>>,
}

/// The first worker, which knows best who is missing, has so much less time than the others to say so.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// Whoever waits in vain within the library, which knows no time, is ended so much later than who waits before it.
const WITHIN: Duration = Duration::from_secs(2);

/// How often is looked for that.
pub(super) const LOOK: Duration = Duration::from_millis(250);

/// The first byte of a message.
pub(super) const GOES_ON: u8 = 0;
pub(super) const FAILED: u8 = 1;

impl Joined {
    pub(super) fn traffic(&self) -> std::sync::MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn name(&self, rank: usize) -> String {
        format!("worker {rank} on {}", self.hosts[rank])
    }

    /// Something that all take part in begins, or ends.
    pub(super) fn set_busy(&self, what: Option<&str>) {
        let busy = what.map(|what| (Instant::now(), what.to_string()));
        *self.busy.lock().unwrap_or_else(PoisonError::into_inner) = busy;
    }

    /// Ends all where it takes too long.
    pub(super) fn look(&self) {
        let grace = if self.transport.rank() == 0 { WITHIN } else { GRACE + WITHIN };
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((_, what)) = busy.filter(|(since, _)| since.elapsed() > self.patience + grace) else { return };
        let (size, rank) = (self.transport.size(), self.transport.rank());
        let others = match (self.transport.partner(), size) {
            (Some(partner), _) => vec![partner],
            (None, 2) => vec![1 - rank],
            (None, _) => Vec::new(),
        };
        self.complain(&others, &what);
        // The library is in use by the main thread: its launcher ends the others.
        std::process::exit(1)
    }

    fn complain(&self, ranks: &[usize], what: &str) {
        let names: Vec<String> = ranks.iter().map(|rank| self.name(*rank)).collect();
        let names = if names.is_empty() { "one of the workers".to_string() } else { names.join(", ") };
        let message = format!("{names} did not answer for {} s ({what})", self.patience.as_secs());
        let help = "look at that host; `--worker-timeout SECONDS` sets how long workers wait";
        crate::output::complain(&message, Some(help));
    }

    /// This worker's failure, which nobody else can tell.
    fn tell(&self, failure: &[u8]) {
        let failure: Elsewhere = serde_json::from_slice(failure).expect("a failure is sent as JSON");
        if !failure.is_silent {
            let failure = failure.of(self.transport.rank(), self);
            crate::output::complain(&failure.message, failure.help.as_deref());
        }
    }

    pub(super) fn meet(
        &self,
        what: &str,
        kind: u8,
        own: &[u8],
        patience: Option<Duration>,
    ) -> Result<Vec<Vec<u8>>, Elsewhere> {
        let mut sent = vec![kind, what.len() as u8];
        sent.extend_from_slice(what.as_bytes());
        sent.extend_from_slice(own);
        let started = Instant::now();
        self.set_busy(patience.map(|_| what));
        let received = match self.transport.gather(&sent, patience) {
            Ok(received) => received,
            Err(Missing(ranks)) => {
                if kind == FAILED {
                    self.tell(own);
                }
                self.complain(&ranks, what);
                self.transport.abort(1)
            }
        };
        self.set_busy(None);
        self.traffic().waited += started.elapsed().as_secs_f64();
        let mut said = Vec::with_capacity(received.len());
        let mut failure = None;
        for (rank, message) in received.into_iter().enumerate() {
            let end = 2 + usize::from(message[1]);
            if message[0] == FAILED {
                let failed: Elsewhere = serde_json::from_slice(&message[end..]).expect("a failure is sent as JSON");
                failure.get_or_insert_with(|| failed.of(rank, self));
            } else if message[2..end] != *what.as_bytes() && kind == GOES_ON && failure.is_none() {
                let other = String::from_utf8_lossy(&message[2..end]).into_owned();
                panic!("{} is at {other}, this one at {what}", self.name(rank));
            }
            said.push(message[end..].to_vec());
        }
        match failure {
            Some(failure) => Err(self.failure.get_or_init(|| failure).clone()),
            None => Ok(said),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PATIENCE, Workers};
    use super::*;

    /// The first of two workers, of whom the other has been frozen since they met.
    #[derive(Debug, Default)]
    struct Deserted {
        met: std::sync::atomic::AtomicBool,
    }

    impl Transport for Deserted {
        fn rank(&self) -> usize {
            0
        }

        fn size(&self) -> usize {
            2
        }

        fn local_rank(&self) -> usize {
            0
        }

        fn host(&self) -> String {
            "thread".to_string()
        }

        fn gather(&self, sent: &[u8], patience: Option<Duration>) -> Result<Vec<Vec<u8>>, Missing> {
            match (self.met.swap(true, std::sync::atomic::Ordering::Relaxed), patience) {
                (false, _) => Ok(vec![sent.to_vec(); 2]),
                (true, Some(_)) => Err(Missing(vec![1])),
                (true, None) => panic!("it waits for ever"),
            }
        }

        fn partner(&self) -> Option<usize> {
            None
        }

        fn all_to_all(&self, _: &[f32], _: &mut [f32]) {}

        fn all_gather(&self, _: &[f32], _: &mut [f32]) {}

        fn broadcast(&self, _: &mut [u8]) {}

        fn abort(&self, status: i32) -> ! {
            panic!("aborted with {status}")
        }

        fn leave(&self) {}
    }

    #[test]
    #[should_panic(expected = "aborted with 1")]
    fn a_worker_that_has_failed_waits_no_longer_than_the_others_would() {
        let workers = Workers::joined(Box::new(Deserted::default()), PATIENCE).unwrap();
        workers.conclude(Some(&failure("no space left")));
    }

    fn failure(message: &str) -> Elsewhere {
        Elsewhere { message: message.into(), help: None, of_input: true, is_silent: false }
    }
}
