//! Where requests are made ready, beside the passes: threads that wait for nothing, and turns for what takes long, so that a text
//! of megabytes or an adapter that is read holds up nobody else's short prompt.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::Error;

/// At a time.
const SHORT: usize = 4;
const LONG: usize = 1;
const ADAPTERS: usize = 1;
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

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Texts of so many bytes.
    Texts(usize),
    /// An adapter is read.
    Adapter,
}

impl Default for Preparing {
    fn default() -> Self {
        let turns = |count| Arc::new(Semaphore::new(count));
        Self { short: turns(SHORT), long: turns(LONG), adapters: turns(ADAPTERS) }
    }
}

impl Preparing {
    /// Waits for its turn, and does it. Whoever is gone before its turn leaves nothing to do; begun, it is done to its end.
    ///
    /// Errors: it has panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: Work,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let turns = match work {
            Work::Texts(bytes) if bytes < LONG_FROM => &self.short,
            Work::Texts(_) => &self.long,
            Work::Adapter => &self.adapters,
        };
        // They are never closed.
        let turn = turns.clone().acquire_owned().await.map_err(|_| Error::Panicked)?;
        let done = spawn_blocking(move || {
            let _turn = turn;
            run()
        });
        done.await.map_err(|_| Error::Panicked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_holds_up_nothing_short() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(THREADS).build().unwrap();
        let preparing = Preparing::default();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        runtime.block_on(async {
            let long = {
                let preparing = preparing.clone();
                tokio::spawn(async move { preparing.run(Work::Texts(LONG_FROM), move || wait.recv()).await })
            };
            let waiting: Vec<_> = (0..10)
                .map(|_| {
                    let preparing = preparing.clone();
                    tokio::spawn(async move { preparing.run(Work::Texts(10 * LONG_FROM), || ()).await })
                })
                .collect();
            tokio::task::yield_now().await;
            for _ in 0..10 {
                assert_eq!(preparing.run(Work::Texts(10), || 1).await.unwrap(), 1);
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
}
