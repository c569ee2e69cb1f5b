//! Several processes that work on one run. Each holds the whole model; the first alone writes and speaks. What they compute
//! does not depend on how many they are: MPI moves bytes, and everything is added in the order in which one worker would.
//!
//! Wherever workers meet, each says whether it can go on. So a failure of one is the failure of all, with one message and one
//! exit status.

#![cfg_attr(not(any(feature = "mpi", test)), expect(dead_code, reason = "without MPI there is nobody to join"))]

mod exchange;
mod files;
mod input_files;
mod launcher;
#[cfg(feature = "mpi")]
mod mpi;
mod schedule;
#[cfg(test)]
pub(crate) mod threads;
mod traffic;
mod transport;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(crate) use exchange::{Exchange, Gradients, Group};
pub(crate) use files::FilesError;
pub(crate) use input_files::{InputFile, difference};
pub(crate) use launcher::Launched;
pub(crate) use schedule::shared;
pub(crate) use traffic::Traffic;
pub(crate) use transport::{Missing, Transport};

/// How long workers wait for each other, unless `--worker-timeout` says otherwise: as torch.distributed does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1800);

/// This worker and the others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Workers {
    /// `None`: there is one.
    joined: Option<Arc<Joined>>,
}

#[derive(Debug)]
struct Joined {
    transport: Box<dyn Transport>,
    /// By their numbers.
    hosts: Vec<String>,
    patience: Duration,
    /// What ended the work of all.
    failure: OnceLock<Elsewhere>,
    traffic: Mutex<Traffic>,
    /// Since when the library has been at something that all take part in, and what that is.
    busy: Mutex<Option<(Instant, String)>>,
}

/// The first worker, which knows best who is missing, has so much less time than the others to say so.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// Whoever waits in vain within the library, which knows no time, is ended so much later than who waits before it.
const WITHIN: Duration = Duration::from_secs(2);

/// How often is looked for that.
const LOOK: Duration = Duration::from_millis(250);

/// A failure that all have agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, miette::Diagnostic)]
#[error("{message}")]
pub(crate) struct Elsewhere {
    pub(crate) message: String,
    #[help]
    pub(crate) help: Option<String>,
    /// What was asked for was wrong, rather than something that happened on the way.
    pub(crate) of_input: bool,
    /// There is nothing to say: whoever read the output has enough of it.
    pub(crate) is_silent: bool,
}

/// The first byte of a message.
const GOES_ON: u8 = 0;
const FAILED: u8 = 1;

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

impl Joined {
    fn traffic(&self) -> std::sync::MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, rank: usize) -> String {
        format!("worker {rank} on {}", self.hosts[rank])
    }

    /// Something that all take part in begins, or ends.
    fn set_busy(&self, what: Option<&str>) {
        let busy = what.map(|what| (Instant::now(), what.to_string()));
        *self.busy.lock().unwrap_or_else(PoisonError::into_inner) = busy;
    }

    /// Ends all where it takes too long.
    fn look(&self) {
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

    fn meet(&self, what: &str, kind: u8, own: &[u8], patience: Option<Duration>) -> Result<Vec<Vec<u8>>, Elsewhere> {
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

impl Elsewhere {
    /// The same, saying where it was unless that is the worker that speaks.
    fn of(self, rank: usize, workers: &Joined) -> Self {
        match rank == 0 || self.is_silent {
            true => self,
            false => Self { message: format!("{}: {}", workers.name(rank), self.message), ..self },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::threads::with_workers;
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
