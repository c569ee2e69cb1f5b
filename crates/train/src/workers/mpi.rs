//! Workers that MPI has started: the only file that names the binding. MPI's calls are made by the main thread alone
//! (`MPI_THREAD_FUNNELED`), but for the one that ends all after a panic.

use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mpi::Threading;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;

use super::joined::GRACE;
use super::transport::{Missing, Transport};
use super::{Launched, Workers};

/// Messages of a meeting.
const TAG: i32 = 19;
/// A message's counts are `i32`; longer ones go in pieces.
const PIECE: usize = 1 << 30;
/// Whoever waits looks so often without a pause, and then with one: others may need the core.
const LOOKS: u32 = 2000;
const PAUSE: Duration = Duration::from_micros(50);

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum JoinError {
    #[error("{by} has started {started} processes, and {library} knows of {found}: they are of different MPIs")]
    #[diagnostic(help(
        "start it with the launcher of that library (in Slurm that of Open MPI is `srun --mpi=pmix`), or build it with the \
         launcher's headers"
    ))]
    OtherLibrary { by: &'static str, started: usize, found: usize, library: String },
    #[error("{library} serves no thread beside that of `MPI_Init` (`MPI_THREAD_FUNNELED`)")]
    #[diagnostic(help("an MPI that was built with threads does"))]
    Threads { library: String },
    #[error("{missing} of {started} workers did not answer when they met")]
    #[diagnostic(help("look at the network between the hosts; docs/distributed.md names the settings for interfaces"))]
    Missing { missing: usize, started: usize },
}

pub(super) fn join(launched: Launched, patience: Duration) -> Result<Workers, JoinError> {
    let library = || name(&mpi::environment::library_version().unwrap_or_default());
    let Some((universe, threading)) = mpi::initialize_with_threading(Threading::Funneled) else {
        return Err(JoinError::Threads { library: library() });
    };
    if threading < Threading::Funneled {
        return Err(JoinError::Threads { library: library() });
    }
    let world = universe.world();
    let (found, rank) = (world.size() as usize, world.rank());
    if found != launched.size {
        let Launched { size: started, by, .. } = launched;
        return Err(JoinError::OtherLibrary { by, started, found, library: library() });
    }
    let local_rank = world.split_shared(rank).rank() as usize;
    let host = mpi::environment::processor_name().unwrap_or_default().trim_matches('\0').to_string();
    let of_mpi = Mpi {
        universe: Mutex::new(Some(ManuallyDrop::new(universe))),
        size: found,
        rank: rank as usize,
        local_rank,
        host,
        partner: AtomicUsize::new(NOBODY),
    };
    Workers::joined(Box::new(of_mpi), patience)
        .map_err(|Missing(ranks)| JoinError::Missing { missing: ranks.len(), started: found })
}

/// Of a library, with its version, of all that it says of itself.
fn name(said: &str) -> String {
    let line = said.split(['\n', ',', '\0']).next().unwrap_or_default();
    line.split_whitespace().filter(|word| *word != "Version:").collect::<Vec<_>>().join(" ")
}

struct Mpi {
    /// Dropped by `leave` alone: that is `MPI_Finalize`, which waits for all, and after a failed meeting somebody is missing.
    universe: Mutex<Option<ManuallyDrop<Universe>>>,
    size: usize,
    rank: usize,
    local_rank: usize,
    host: String,
    /// `NOBODY`: none is sent to.
    partner: AtomicUsize,
}

const NOBODY: usize = usize::MAX;

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MPI {} of {}", self.rank, self.size)
    }
}

fn world() -> SimpleCommunicator {
    SimpleCommunicator::world()
}

/// `None`: nothing came until then.
fn receive(from: usize, until: Option<Instant>) -> Option<Vec<u8>> {
    let world = world();
    let process = world.process_at_rank(from as i32);
    let next = || {
        let mut looks = 0;
        loop {
            if let Some(message) = process.immediate_matched_probe_with_tag(TAG) {
                return Some(message.matched_receive_vec::<u8>().0);
            }
            if until.is_some_and(|until| Instant::now() > until) {
                return None;
            }
            looks += 1;
            match looks < LOOKS {
                true => thread::yield_now(),
                false => thread::sleep(PAUSE),
            }
        }
    };
    let length = u64::from_le_bytes(next()?.try_into().expect("a message begins with its length"));
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < length {
        bytes.append(&mut next()?);
    }
    Some(bytes)
}

/// All of them in one message.
fn joined(messages: &[Vec<u8>]) -> Vec<u8> {
    let with_length = |message: &Vec<u8>| [&(message.len() as u64).to_le_bytes()[..], message].concat();
    messages.iter().flat_map(with_length).collect()
}

fn parted(mut joined: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some((length, rest)) = joined.split_first_chunk::<8>() {
        let (message, rest) = rest.split_at(u64::from_le_bytes(*length) as usize);
        messages.push(message.to_vec());
        joined = rest;
    }
    messages
}

impl Mpi {
    /// A message: its length, then the rest in pieces.
    fn send(&self, bytes: &[u8], to: usize) {
        let world = world();
        let process = world.process_at_rank(to as i32);
        self.partner.store(to, Ordering::Relaxed);
        process.send_with_tag(&(bytes.len() as u64).to_le_bytes()[..], TAG);
        bytes.chunks(PIECE).for_each(|piece| process.send_with_tag(piece, TAG));
        self.partner.store(NOBODY, Ordering::Relaxed);
    }
}

impl Transport for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn local_rank(&self) -> usize {
        self.local_rank
    }

    fn host(&self) -> String {
        self.host.clone()
    }

    /// By messages to the first worker and back, not by `MPI_Allgather`: so somebody knows who is missing.
    fn gather(&self, sent: &[u8], patience: Option<Duration>) -> Result<Vec<Vec<u8>>, Missing> {
        if self.rank > 0 {
            self.send(sent, 0);
            let until = patience.map(|patience| Instant::now() + patience + GRACE);
            return receive(0, until).map(|all| parted(&all)).ok_or(Missing(vec![0]));
        }
        let until = patience.map(|patience| Instant::now() + patience);
        let mut all = vec![Some(sent.to_vec())];
        all.extend((1..self.size).map(|rank| receive(rank, until)));
        let missing: Vec<usize> = (0..self.size).filter(|rank| all[*rank].is_none()).collect();
        if !missing.is_empty() {
            return Err(Missing(missing));
        }
        let all: Vec<Vec<u8>> = all.into_iter().flatten().collect();
        let joined = joined(&all);
        (1..self.size).for_each(|rank| self.send(&joined, rank));
        Ok(all)
    }

    fn partner(&self) -> Option<usize> {
        Some(self.partner.load(Ordering::Relaxed)).filter(|partner| *partner != NOBODY)
    }

    fn all_to_all(&self, sent: &[f32], received: &mut [f32]) {
        world().all_to_all_into(sent, received);
    }

    fn all_gather(&self, sent: &[f32], received: &mut [f32]) {
        world().all_gather_into(sent, received);
    }

    fn broadcast(&self, bytes: &mut [u8]) {
        world().process_at_rank(0).broadcast_into(bytes);
    }

    fn abort(&self, status: i32) -> ! {
        world().abort(status)
    }

    fn leave(&self) {
        let universe = self.universe.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(universe.map(ManuallyDrop::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_named_as_people_know_them() {
        let of_mpich = "MPICH Version:\t4.0.2\nMPICH Release date:\tThu Apr  7 12:34:45 CDT 2022\n";
        let of_open_mpi = "Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4, repo rev: v4.1.4, May 26, 2022\0";
        assert_eq!([of_mpich, of_open_mpi].map(name), ["MPICH 4.0.2", "Open MPI v4.1.4"]);
    }

    #[test]
    fn messages_that_were_joined_are_parted_again() {
        let messages = vec![vec![1, 2, 3], Vec::new(), vec![4]];
        assert_eq!(parted(&joined(&messages)), messages);
    }
}
