//! Ctrl-C and SIGTERM: a command ends at once with the status of an interruption; a run ends after the micro-batch in work, a
//! server after its running answers, and both at once at the second signal.

use std::io;
use std::process::exit;
use std::sync::OnceLock;

use burn::train::Interrupter;

use super::failure::{Failure, INTERRUPTED};

/// Stops what is to be stopped instead of the process; `false`: it was to stop already.
type Stop = Box<dyn Fn() -> bool + Send + Sync>;
static INSTEAD: OnceLock<Stop> = OnceLock::new();

/// Begins to listen, in a thread of its own.
pub(super) fn listen() -> Result<(), Failure> {
    ctrlc::set_handler(stop).map_err(|error| match error {
        ctrlc::Error::System(error) => no_thread(&error),
        other => Failure::message(format!("cannot listen to signals: {other}")),
    })
}

/// From here on a file that may grow no further (`ulimit -f`) is an error of the call that writes to it. The signal would end the process
/// before it has said so and removed what is unfinished.
#[cfg(unix)]
#[expect(unsafe_code, reason = "what is done about a signal is set; see SAFETY")]
pub(super) fn ignore_file_size_limit() {
    // SAFETY: no handler is set, so nothing runs when the signal comes.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// The complaint about threads that cannot be started.
pub(super) fn no_thread(error: &impl std::fmt::Display) -> Failure {
    let help = "the system allows no more: start fewer with `--threads N`, or raise its limit (`ulimit -u`)";
    Failure::with_help(format!("cannot start the threads that are needed: {error}"), help)
}

/// What a signal does.
fn stop() {
    if !INSTEAD.get().is_some_and(|stop| stop()) {
        model::remove_unfinished();
        exit(i32::from(INTERRUPTED))
    }
}

/// The end of standard input is a signal, too.
pub(super) fn until_input_ends() -> Result<(), Failure> {
    let listen = || {
        // An input that cannot be read has ended.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        stop();
    };
    std::thread::Builder::new().spawn(listen).map(drop).map_err(|error| no_thread(&error))
}

/// From here on the first signal stops this run.
pub(super) fn stop_instead(run: &Interrupter) {
    let run = run.clone();
    instead(move || {
        let is_first = !run.should_stop();
        if is_first {
            run.stop(Some("interrupted"));
        }
        is_first
    });
}

/// From here on the first signal does this; it returns `false` where it was done before.
pub(super) fn instead(stop: impl Fn() -> bool + Send + Sync + 'static) {
    // There is one run or server in a process.
    let _ = INSTEAD.set(Box::new(stop));
}
