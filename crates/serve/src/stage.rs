//! How far the server is with stopping: it answers, it answers only what it has begun, or it has ended.

use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Stage {
    Open,
    /// Nothing new is accepted.
    Stopping,
    /// The time for running answers is over: they are told.
    Ended,
}

/// Stops a server from another thread, a handler of signals for example.
#[derive(Debug, Clone)]
pub struct Stop(pub(crate) watch::Sender<Stage>);

impl Stop {
    /// Running answers end; returns `false` where the server was to stop already.
    pub fn stop(&self) -> bool {
        self.0.send_if_modified(|stage| match stage {
            Stage::Open => {
                *stage = Stage::Stopping;
                true
            }
            Stage::Stopping | Stage::Ended => false,
        })
    }
}

/// Waits until the server is so far.
pub(crate) async fn reached(stages: &mut watch::Receiver<Stage>, wanted: Stage) {
    // Without a sender there is no server any more.
    let _ = stages.wait_for(|stage| *stage >= wanted).await;
}
