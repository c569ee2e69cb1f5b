//! This worker and the others: who they are, and how they meet. Each of them calls the same in the same order.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::joined::{FAILED, GOES_ON, Joined, LOOK};
use super::transport::{Missing, Transport};
use super::{Elsewhere, Traffic};
#[cfg(feature = "mpi")]
use super::{Launched, mpi};

/// How long workers wait for each other, unless `--worker-timeout` says otherwise: as torch.distributed does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1800);

/// This worker and the others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Workers {
    /// `None`: there is one.
    pub(super) joined: Option<Arc<Joined>>,
}

impl Workers {
    /// This process alone.
    pub(crate) fn one() -> Self {
        Self::default()
    }

    /// Meets the others, who wait so long for each other at most.
    pub(crate) fn joined(transport: Box<dyn Transport>, patience: Duration) -> Result<Self, Missing> {
        let hosts = transport.gather(transport.host().as_bytes(), Some(patience))?;
        let hosts = hosts.iter().map(|host| String::from_utf8_lossy(host).into_owned()).collect();
        let (failure, traffic, busy) = (OnceLock::new(), Mutex::default(), Mutex::default());
        let joined = Arc::new(Joined { transport, hosts, patience, failure, traffic, busy });
        let watched = Arc::downgrade(&joined);
        std::thread::spawn(move || {
            while let Some(joined) = watched.upgrade() {
                joined.look();
                drop(joined);
                std::thread::sleep(LOOK);
            }
        });
        Ok(Self { joined: Some(joined) })
    }

    /// Joins those that a launcher has started.
    #[cfg(feature = "mpi")]
    pub(crate) fn of_mpi(launched: Launched, patience: Duration) -> Result<Self, mpi::JoinError> {
        mpi::join(launched, patience)
    }

    pub(crate) fn size(&self) -> usize {
        self.joined.as_ref().map_or(1, |joined| joined.transport.size())
    }

    pub(crate) fn rank(&self) -> usize {
        self.joined.as_ref().map_or(0, |joined| joined.transport.rank())
    }

    /// The number of this worker on its host; `None` where there is one worker.
    pub(crate) fn local_rank(&self) -> Option<usize> {
        self.joined.as_ref().map(|joined| joined.transport.local_rank())
    }

    pub(crate) fn are_several(&self) -> bool {
        self.size() > 1
    }

    pub(crate) fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// How messages call a worker.
    pub(crate) fn name(&self, rank: usize) -> String {
        self.joined.as_ref().map_or_else(|| format!("worker {rank}"), |joined| joined.name(rank))
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.joined.as_ref().map_or_else(Traffic::default, |joined| *joined.traffic())
    }

    /// What every worker sends, by their numbers. `what` is what it is about, the same for all.
    pub(crate) fn gather_bytes(&self, what: &str, own: Vec<u8>) -> Result<Vec<Vec<u8>>, Elsewhere> {
        match &self.joined {
            Some(joined) => joined.meet(what, GOES_ON, &own, Some(joined.patience)),
            None => Ok(vec![own]),
        }
    }

    /// What every worker says, by their numbers.
    pub(crate) fn gather<T: Serialize + DeserializeOwned>(&self, what: &str, own: &T) -> Result<Vec<T>, Elsewhere> {
        let own = serde_json::to_vec(own).expect("what workers tell each other is JSON");
        let all = self.gather_bytes(what, own)?;
        let read = |bytes: &Vec<u8>| serde_json::from_slice(bytes).expect("it was written by the same program");
        Ok(all.iter().map(read).collect())
    }

    /// What the first worker makes, for all.
    pub(crate) fn of_first<T, E>(&self, what: &str, make: impl FnOnce() -> Result<T, E>) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<Elsewhere>,
    {
        if !self.are_several() {
            return make();
        }
        // A tuple, for nothing and `None` are one in JSON.
        let own = if self.is_first() { Some((make()?,)) } else { None };
        let made = self.gather(what, &own)?.into_iter().next().flatten();
        Ok(made.expect("the first worker sends what it has made").0)
    }

    /// What comes of each item, in their order, of which every worker computes some; all learn all.
    pub(crate) fn in_turn<I, T, E>(
        &self,
        what: &str,
        items: &[I],
        mut compute: impl FnMut(&I) -> Result<T, E>,
    ) -> Result<Vec<T>, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<Elsewhere>,
    {
        if !self.are_several() {
            return items.iter().map(compute).collect();
        }
        let mut all = Vec::with_capacity(items.len());
        for some in items.chunks(self.size()) {
            let own = some.get(self.rank()).map(&mut compute).transpose()?;
            all.extend(self.gather(what, &own)?.into_iter().flatten());
        }
        Ok(all)
    }

    /// Ends the work of all: with the failure of the worker whose number is lowest, if any has failed. `own` is this one's. One
    /// that has not failed waits without end: the first may write for long.
    pub(crate) fn conclude(&self, own: Option<&Elsewhere>) -> Option<Elsewhere> {
        let Some(joined) = &self.joined else { return own.cloned() };
        if let Some(agreed) = joined.failure.get() {
            return Some(agreed.clone());
        }
        let sent = own.map(|own| serde_json::to_vec(own).expect("a message is JSON"));
        let (kind, patience) = if own.is_some() { (FAILED, Some(joined.patience)) } else { (GOES_ON, None) };
        joined.meet("the end", kind, &sent.unwrap_or_default(), patience).err()
    }

    /// Ends all at once, without a word to each other: for a panic.
    pub(crate) fn abort(&self, status: i32) {
        if let Some(joined) = &self.joined {
            joined.transport.abort(status);
        }
    }

    pub(crate) fn leave(&self) {
        if let Some(joined) = &self.joined {
            joined.transport.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::threads::with_workers;
    use super::*;

    fn failure(message: &str) -> Elsewhere {
        Elsewhere { message: message.into(), help: None, of_input: true, is_silent: false }
    }

    #[test]
    fn every_worker_learns_what_all_say_and_what_the_first_makes() {
        let said = with_workers(3, |workers| {
            let all = workers.gather("numbers", &(10 + workers.rank())).unwrap();
            let of_first =
                workers.of_first("a word", || Ok::<_, Elsewhere>(format!("from {}", workers.rank()))).unwrap();
            (all, of_first)
        });
        assert!(said.iter().all(|said| *said == (vec![10, 11, 12], "from 0".to_string())));
    }

    #[test]
    fn a_failure_of_one_is_the_failure_of_all_with_one_message() {
        let ended = with_workers(3, |workers| {
            let own = (workers.rank() == 1).then(|| failure("no such file"));
            match own {
                Some(own) => workers.conclude(Some(&own)),
                None => {
                    let error = workers.gather("the next thing", &()).unwrap_err();
                    workers.conclude(Some(&error))
                }
            }
        });
        let expected = failure("worker 1 on thread: no such file");
        assert!(ended.iter().all(|ended| *ended == Some(expected.clone())), "{ended:?}");
    }

    #[test]
    fn the_first_of_several_failures_is_told_and_the_first_worker_s_without_its_place() {
        let ended =
            with_workers(3, |workers| workers.conclude(Some(&failure(&format!("wrong in {}", workers.rank())))));
        assert!(ended.iter().all(|ended| *ended == Some(failure("wrong in 0"))), "{ended:?}");
    }
}
