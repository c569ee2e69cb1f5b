//! Where requests are made ready, beside the passes: threads that wait for nothing, and turns for what takes long, so that a text
//! of megabytes or an adapter that is read holds up nobody else's short prompt, and a model with a slow template no other model.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use super::Error;

/// At a time.
const SHORT: usize = 4;
const LONG: usize = 1;
const ADAPTERS: usize = 1;
/// Of the short ones those of one model, so that others have turns; long ones of several models take theirs one after another.
const SHORT_OF_MODEL: usize = 2;
/// As many threads as all of these together.
pub(crate) const THREADS: usize = SHORT + LONG + ADAPTERS;

/// From so many bytes of text on a request is long: tokens of a tenth of a second.
const LONG_FROM: usize = 64 << 10;

#[derive(Debug, Clone)]
pub(super) struct Preparing {
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
    adapters: Arc<Semaphore>,
}

/// What one model's requests take of all turns, and how many wait for them.
#[derive(Debug)]
pub(super) struct OfModel {
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    max_waiting: usize,
}

impl OfModel {
    /// A quarter of the queue is left to the other models.
    pub(super) fn new(max_queue: usize) -> Self {
        let max_waiting = max_queue - max_queue / 4;
        Self { short: turns(SHORT_OF_MODEL), long: turns(LONG), waiting: turns(max_waiting), max_waiting }
    }

    /// As long as it is held the request is one of those that are made ready.
    ///
    /// Errors: there are too many.
    pub(super) fn wait(&self) -> Result<OwnedSemaphorePermit, Error> {
        let max_queue = self.max_waiting;
        self.waiting.clone().try_acquire_owned().map_err(|_| Error::QueueFull { max_queue })
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work<'a> {
    /// Texts of so many bytes, for a model.
    Texts(usize, &'a OfModel),
    /// An adapter is read.
    Adapter,
}

impl Default for Preparing {
    fn default() -> Self {
        Self { short: turns(SHORT), long: turns(LONG), adapters: turns(ADAPTERS) }
    }
}

impl Preparing {
    /// Waits for its turn, and does it. Whoever is gone before its turn leaves nothing to do; begun, it is done to its end.
    ///
    /// Errors: it has panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: Work<'_>,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (of_model, turns) = match work {
            Work::Texts(bytes, model) if bytes < LONG_FROM => (Some(&model.short), &self.short),
            Work::Texts(_, model) => (Some(&model.long), &self.long),
            Work::Adapter => (None, &self.adapters),
        };
        // The model's own turn first: those that wait for it are not in the way of other models.
        let of_model = match of_model {
            Some(of_model) => Some(turn(of_model).await?),
            None => None,
        };
        let turns = (of_model, turn(turns).await?);
        let done = spawn_blocking(move || {
            let _turns = turns;
            run()
        });
        done.await.map_err(|_| Error::Panicked)
    }
}

fn turns(count: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(count))
}

async fn turn(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
    // They are never closed.
    turns.clone().acquire_owned().await.map_err(|_| Error::Panicked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_holds_up_nothing_short() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(THREADS).build().unwrap();
        let (preparing, model) = (Preparing::default(), Arc::new(OfModel::new(64)));
        let (done, wait) = std::sync::mpsc::channel::<()>();
        runtime.block_on(async {
            let long = {
                let (preparing, model) = (preparing.clone(), model.clone());
                tokio::spawn(async move { preparing.run(Work::Texts(LONG_FROM, &model), move || wait.recv()).await })
            };
            let waiting: Vec<_> = (0..10)
                .map(|_| {
                    let (preparing, model) = (preparing.clone(), model.clone());
                    tokio::spawn(async move { preparing.run(Work::Texts(10 * LONG_FROM, &model), || ()).await })
                })
                .collect();
            tokio::task::yield_now().await;
            for _ in 0..10 {
                assert_eq!(preparing.run(Work::Texts(10, &model), || 1).await.unwrap(), 1);
                assert_eq!(preparing.run(Work::Adapter, || 2).await.unwrap(), 2);
            }
            assert!(!long.is_finished() && waiting.iter().all(|it| !it.is_finished()));
            done.send(()).unwrap();
            long.await.unwrap().unwrap().unwrap();
            for waiting in waiting {
                waiting.await.unwrap().unwrap();
            }
        });
        let failed = runtime.block_on(preparing.run::<()>(Work::Adapter, || panic!("a fault")));
        assert!(matches!(failed, Err(Error::Panicked)));
    }

    #[test]
    fn a_model_whose_requests_take_long_and_whose_clients_are_gone_holds_up_no_other() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(THREADS).build().unwrap();
        let (preparing, slow, other) = (Preparing::default(), Arc::new(OfModel::new(64)), OfModel::new(64));
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let wait = Arc::new(std::sync::Mutex::new(wait));
        let begun = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        runtime.block_on(async {
            let requests: Vec<_> = (0..20)
                .map(|_| {
                    let (preparing, slow, wait, begun) = (preparing.clone(), slow.clone(), wait.clone(), begun.clone());
                    let render = move || {
                        begun.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        let _ = wait.lock().unwrap().recv();
                    };
                    tokio::spawn(async move { preparing.run(Work::Texts(10, &slow), render).await })
                })
                .collect();
            tokio::task::yield_now().await;
            for _ in 0..10 {
                assert_eq!(preparing.run(Work::Texts(10, &other), || 1).await.unwrap(), 1);
            }
            // What waits for its turn is not done for those who are gone, and what is done ends.
            requests.iter().for_each(|request| request.abort());
            drop(done);
            assert_eq!(preparing.run(Work::Texts(10, &slow), || 2).await.unwrap(), 2);
            assert_eq!(begun.load(std::sync::atomic::Ordering::Relaxed), SHORT_OF_MODEL);
        });
    }

    #[test]
    fn one_model_leaves_a_part_of_the_queue_to_others() {
        let model = OfModel::new(8);
        let waiting: Vec<_> = (0..6).map(|_| model.wait().unwrap()).collect();
        assert_eq!(model.wait().unwrap_err().to_string(), "6 requests are waiting already: try again later");
        drop(waiting);
        assert!(model.wait().is_ok() && OfModel::new(1).wait().is_ok());
    }
}
