//! Places for connections. Where all are taken, the connection that has been idle longest leaves its place to a new one, so that
//! clients who keep connections open without asking anything keep nobody out. Idle is one of which nothing has come since it was
//! opened, or since its last answer was sent; one with a request that comes or runs is never closed for another.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

/// A client that has just connected, or was just answered, is about to send something.
const IDLE_AFTER: Duration = Duration::from_millis(500);
/// For a connection that was told to leave; where it takes longer the next one is told.
const LEAVING: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    idle: Mutex<Idle>,
    /// Tells that one more connection is idle.
    more: Notify,
    /// Tells that one which was told to leave is not idle any more.
    stays: Notify,
}

#[derive(Debug, Default)]
struct Idle {
    /// Since when, and the number of the connection.
    connections: BTreeMap<(Instant, u64), Arc<Notify>>,
    /// All connections that there have been.
    count: u64,
}

/// A connection's place, which is free again when the last who holds it lets go.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    state: Mutex<State>,
    /// Tells it to leave.
    leave: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle(Instant),
    /// A request comes, or is answered.
    Busy,
    /// The answer is complete, but may not be sent.
    Answered,
    Leaving,
}

impl Places {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(count));
        Arc::new(Self { free, idle: Mutex::default(), more: Notify::new(), stays: Notify::new() })
    }

    /// For one more connection; waits as long as all others are busy.
    pub(crate) async fn take(self: &Arc<Self>) -> Arc<Place> {
        let permit = loop {
            tokio::select! {
                biased;
                permit = self.free.clone().acquire_owned() => break permit.expect("the semaphore is never closed"),
                () = self.dismiss() => {}
            }
        };
        let number = {
            let mut idle = self.idle();
            idle.count += 1;
            idle.count
        };
        let (places, state) = (self.clone(), Mutex::new(State::Answered));
        let place = Place { places, number, state, leave: Arc::default(), _permit: permit };
        place.sent();
        Arc::new(place)
    }

    /// Tells the connection that has been idle longest to leave, once it has been for so long, and gives it a moment.
    async fn dismiss(&self) {
        let more = self.more.notified();
        let first = self.idle().connections.keys().next().copied();
        let Some((since, _)) = first else { return more.await };
        sleep_until(since + IDLE_AFTER).await;
        let longest = {
            let mut idle = self.idle();
            idle.connections
                .first_entry()
                .filter(|longest| longest.key().0.elapsed() >= IDLE_AFTER)
                .map(|it| it.remove())
        };
        if let Some(leave) = longest {
            leave.notify_one();
            // Its place is waited for elsewhere.
            let _ = timeout(LEAVING, self.stays.notified()).await;
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// A part of a request has come, or a whole one is begun.
    pub(crate) fn received(&self) {
        let mut state = self.state();
        self.forget(*state);
        if *state != State::Leaving {
            *state = State::Busy;
        }
    }

    fn answered(&self) {
        let mut state = self.state();
        if *state == State::Busy {
            *state = State::Answered;
        }
    }

    /// All that there was to send is sent: after an answer the connection is idle.
    pub(crate) fn sent(&self) {
        let mut state = self.state();
        if *state == State::Answered {
            let now = Instant::now();
            *state = State::Idle(now);
            self.places.idle().connections.insert((now, self.number), self.leave.clone());
            self.places.more.notify_one();
        }
    }

    /// Waits until another connection needs the place.
    pub(crate) async fn is_needed(&self) {
        self.leave.notified().await;
    }

    /// Whether the connection is to leave: it is still idle.
    pub(crate) fn leaves(&self) -> bool {
        let mut state = self.state();
        match *state {
            State::Idle(since) if since.elapsed() >= IDLE_AFTER => {
                self.forget(*state);
                *state = State::Leaving;
                true
            }
            State::Leaving => true,
            State::Idle(_) | State::Busy | State::Answered => {
                self.places.stays.notify_one();
                false
            }
        }
    }

    /// Whether it leaves its place to another one, so that nobody is waited for.
    pub(crate) fn is_leaving(&self) -> bool {
        *self.state() == State::Leaving
    }

    fn forget(&self, state: State) {
        if let State::Idle(since) = state {
            self.places.idle().connections.remove(&(since, self.number));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let state = *self.state();
        self.forget(state);
    }
}

/// A request that is being answered. Let go of, it is answered.
#[derive(Debug)]
pub(crate) struct Answering(Arc<Place>);

impl Answering {
    pub(crate) fn begin(place: Arc<Place>) -> Self {
        place.received();
        Self(place)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// The body of an answer, which is complete when it is let go of.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    body: Body,
    _answering: Answering,
}

impl AnswerBody {
    pub(crate) fn new(body: Body, answering: Answering) -> Self {
        Self { body, _answering: answering }
    }
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_that_is_idle_longest_leaves_and_no_other() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let places = Places::new(3);
            let running = places.take().await;
            let idle = places.take().await;
            let begun = places.take().await;
            let answering = Answering::begin(running.clone());
            begun.received();
            let fourth = tokio::spawn({
                let places = places.clone();
                async move { places.take().await }
            });
            idle.is_needed().await;
            assert!(idle.leaves() && idle.is_leaving());
            assert!(!running.leaves() && !begun.leaves());
            drop(idle);
            let fourth = fourth.await.unwrap();
            // An answer is sent, and then nothing comes.
            drop(answering);
            assert!(!running.leaves(), "not all is sent");
            running.sent();
            assert!(!running.leaves(), "the next request may be on its way");
            fourth.received();
            let fifth = tokio::spawn({
                let places = places.clone();
                async move { places.take().await }
            });
            running.is_needed().await;
            // One that comes to life does not leave, and the next one is told.
            running.received();
            assert!(!running.leaves());
            let answering = Answering::begin(fourth.clone());
            drop(answering);
            fourth.sent();
            fourth.is_needed().await;
            assert!(fourth.leaves());
            drop(fourth);
            fifth.await.unwrap();
        });
    }

    #[test]
    fn where_all_are_busy_a_connection_waits() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let places = Places::new(1);
            let busy = places.take().await;
            busy.received();
            assert!(tokio::time::timeout(3 * IDLE_AFTER, places.take()).await.is_err());
            drop(busy);
            let place = places.take().await;
            assert_eq!(places.idle().connections.len(), 1);
            drop(place);
            assert_eq!(places.idle().connections.len(), 0);
        });
    }
}
