//! Workers that are threads of one process, for tests.

use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use super::transport::{Missing, Transport};
use super::{PATIENCE, Workers};

#[derive(Debug)]
struct Threads {
    rank: usize,
    meeting: Arc<Meeting>,
}

#[derive(Debug)]
struct Meeting {
    barrier: Barrier,
    sent: Mutex<Vec<Vec<u8>>>,
}

/// Runs the same on so many workers; what came of it by their numbers.
pub(crate) fn with_workers<T: Send>(size: usize, work: impl Fn(&Workers) -> T + Sync) -> Vec<T> {
    let meeting = Arc::new(Meeting { barrier: Barrier::new(size), sent: Mutex::new(vec![Vec::new(); size]) });
    std::thread::scope(|scope| {
        let start = |rank| {
            let (meeting, work) = (meeting.clone(), &work);
            scope.spawn(move || work(&Workers::joined(Box::new(Threads { rank, meeting }), PATIENCE).unwrap()))
        };
        let threads: Vec<_> = (0..size).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

impl Threads {
    fn swap(&self, sent: &[u8]) -> Vec<Vec<u8>> {
        self.meeting.sent.lock().unwrap()[self.rank] = sent.to_vec();
        self.meeting.barrier.wait();
        let all = self.meeting.sent.lock().unwrap().clone();
        self.meeting.barrier.wait();
        all
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn values(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|value| f32::from_le_bytes(value.try_into().unwrap())).collect()
}

impl Transport for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.meeting.sent.lock().unwrap().len()
    }

    fn local_rank(&self) -> usize {
        self.rank
    }

    fn host(&self) -> String {
        "thread".to_string()
    }

    fn gather(&self, sent: &[u8], _: Option<Duration>) -> Result<Vec<Vec<u8>>, Missing> {
        Ok(self.swap(sent))
    }

    fn partner(&self) -> Option<usize> {
        None
    }

    fn all_to_all(&self, sent: &[f32], received: &mut [f32]) {
        let part = sent.len() / self.size();
        let own = self.rank * part..(self.rank + 1) * part;
        let all: Vec<f32> =
            self.swap(&bytes(sent)).iter().flat_map(|sent| values(sent)[own.clone()].to_vec()).collect();
        received.copy_from_slice(&all);
    }

    fn all_gather(&self, sent: &[f32], received: &mut [f32]) {
        received.copy_from_slice(&self.swap(&bytes(sent)).iter().flat_map(|sent| values(sent)).collect::<Vec<_>>());
    }

    fn broadcast(&self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.swap(bytes)[0]);
    }

    fn abort(&self, status: i32) -> ! {
        panic!("aborted with {status}")
    }

    fn leave(&self) {}
}
