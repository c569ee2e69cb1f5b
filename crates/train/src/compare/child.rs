//! A command of this program as a process of its own: the memory and the time of a run are then its own too. It stops when its
//! standard input ends, so that it is stopped by whoever started it, and by the end of that.

use std::ffi::OsString;
use std::io::{self, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use burn::train::Interrupter;

use crate::run::Error;

#[derive(Debug)]
pub(crate) struct Child {
    arguments: Vec<OsString>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None`: by a signal.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// How often is looked whether it has ended.
const PAUSE: Duration = Duration::from_millis(100);

impl Child {
    pub(crate) fn new(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self { arguments: arguments.into_iter().map(Into::into).collect() }
    }

    /// Waits for its end, which an interruption of this process asks of it; `tick` is called now and then.
    pub(crate) fn run(self, interrupter: &Interrupter, mut tick: impl FnMut()) -> io::Result<Ended> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(self.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C in a terminal would reach it as well, and be its second signal, at which it ends without saving.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let mut input = child.stdin.take();
        let reading = read(child.stdout.take()).and_then(|stdout| Ok((stdout, read(child.stderr.take())?)));
        let (stdout, stderr) = reading.inspect_err(|_| {
            // What nobody reads would stop it anyway.
            let _ = child.kill().and_then(|()| child.wait());
        })?;
        let status: ExitStatus = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if interrupter.should_stop() {
                drop(input.take());
            }
            tick();
            thread::sleep(PAUSE);
        };
        Ok(Ended { status: status.code(), stdout: joined(stdout), stderr: joined(stderr) })
    }
}

fn read(pipe: Option<impl Read + Send + 'static>) -> io::Result<JoinHandle<String>> {
    thread::Builder::new().spawn(move || {
        let mut bytes = Vec::new();
        // What was read until then is shown.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn joined(thread: JoinHandle<String>) -> String {
    thread.join().unwrap_or_default()
}

impl Ended {
    /// What became no number in the training that it was.
    pub(crate) fn diverged(&self) -> Option<String> {
        let (error, _) = self.error()?;
        (self.status != Some(0) && Error::says_not_a_number(&error)).then_some(error)
    }

    /// The error that it said, and what it advised.
    pub(crate) fn error(&self) -> Option<(String, Option<String>)> {
        let (_, said) =
            self.stderr.rsplit_once("error: ").filter(|(before, _)| before.is_empty() || before.ends_with('\n'))?;
        let (error, help) = match said.split_once("\nhelp: ") {
            Some((error, help)) => (error, Some(help.trim().to_owned())),
            None => (said, None),
        };
        Some((error.trim().to_owned(), help))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_told_apart_from_warnings_and_advice() {
        let ended = |stderr: &str| Ended { status: Some(2), stdout: String::new(), stderr: stderr.to_owned() };
        let error = ended("warning: few rows\nerror: no file `a`\nhelp: did you mean `b`?\n").error();
        assert_eq!(error, Some(("no file `a`".to_owned(), Some("did you mean `b`?".to_owned()))));
        assert_eq!(ended("error: broken\n").error(), Some(("broken".to_owned(), None)));
        assert_eq!(ended("warning: few rows\n").error(), None);
    }
}
