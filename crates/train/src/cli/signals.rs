//! Ctrl-C and SIGTERM: a command ends at once with the status of an interruption; a run ends after the micro-batch in work,
//! and at once at the second signal.

use std::io;
use std::process::exit;
use std::sync::OnceLock;

use burn::train::Interrupter;

use super::failure::{Failure, INTERRUPTED};

/// The run that is to be stopped instead of the process.
static RUN: OnceLock<Interrupter> = OnceLock::new();

/// Begins to listen.
pub(super) fn listen() -> Result<(), Failure> {
    ctrlc::set_handler(stop).map_err(|error| Failure::message(format!("cannot listen to signals: {error}")))
}

/// What a signal does.
fn stop() {
    match RUN.get().filter(|run| !run.should_stop()) {
        Some(run) => run.stop(Some("interrupted")),
        None => {
            model::remove_unfinished();
            exit(i32::from(INTERRUPTED))
        }
    }
}

/// The end of standard input is a signal, too.
pub(super) fn until_input_ends() {
    std::thread::spawn(|| {
        // An input that cannot be read has ended.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        stop();
    });
}

/// From here on the first signal stops this run.
pub(super) fn stop_instead(run: &Interrupter) {
    // There is one run in a process.
    let _ = RUN.set(run.clone());
}
