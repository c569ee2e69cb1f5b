//! What the binary prints, and how: results on standard output, everything else on standard error, colour and progress
//! bars on terminals alone, and nothing that a terminal would obey but our own colours. No other file prints.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use miette::Diagnostic;

use crate::terminal::{self, Style};
pub(crate) use suggest::{counted, thousands};

#[derive(Debug, Clone)]
pub(crate) struct Output {
    quiet: bool,
    json: bool,
    terminal: bool,
    /// Of a worker for which another one speaks: nothing is shown at all.
    mute: bool,
    /// Of one of several workers: a launcher may hand on what is shown, and nobody can answer it.
    shared: bool,
    /// On standard error, and on standard output.
    colour: [bool; 2],
    log: Arc<Mutex<Log>>,
    /// What stands at the bottom of the terminal while lines are said above it.
    bar: Arc<Mutex<Option<ProgressBar>>>,
}

impl Output {
    pub(crate) fn new(quiet: bool, json: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let colour = [terminal, io::stdout().is_terminal()].map(|is_terminal| is_terminal && wanted);
        Self { quiet, json, terminal, mute: false, shared: false, colour, log: Arc::default(), bar: Arc::default() }
    }

    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// The same with a terminal that belongs to somebody else, burn's dashboard: what is said goes to the log alone.
    pub(crate) fn silenced(&self) -> Self {
        Self { quiet: true, terminal: false, ..self.clone() }
    }

    /// The same for a worker for which another one speaks.
    pub(crate) fn mute(self) -> Self {
        Self { quiet: true, terminal: false, mute: true, ..self }
    }

    /// The same for the worker that speaks for several.
    pub(crate) fn of_several(self) -> Self {
        Self { shared: true, ..self }
    }

    pub(crate) fn is_mute(&self) -> bool {
        self.mute
    }

    /// Whether a launcher hands on what is shown.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared
    }

    /// What was said so far and what is said from here on is also written to `file`.
    pub(crate) fn log_to(&self, mut file: File) {
        let mut log = self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Log::Held(lines) = &*log {
            for line in lines {
                // A log that cannot be written must not end a run that can.
                let _ = writeln!(file, "{line}");
            }
        }
        *log = Log::File(file);
    }

    /// A line for people.
    pub(crate) fn say(&self, line: &str) {
        self.log_line(line);
        if !self.quiet {
            self.print(line);
        }
    }

    /// Something that is no error but that people should know.
    pub(crate) fn warn(&self, line: &str) {
        self.log_line(&format!("warning: {line}"));
        self.print(&format!("{} {line}", Style::Warning.of("warning:")));
    }

    /// Whether somebody is there who reads a question and can answer it.
    pub(crate) fn can_ask(&self) -> bool {
        self.terminal && !self.shared && !self.quiet && !self.json && io::stdin().is_terminal()
    }

    fn shows_progress(&self) -> bool {
        self.terminal && !self.quiet
    }

    /// The line that is typed in answer, without spaces around it; `None` at the end of the input.
    pub(crate) fn ask(&self, question: &str) -> io::Result<Option<String>> {
        let mut error = io::stderr();
        write!(error, "{question}")?;
        error.flush()?;
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line)? == 0 {
            // Ctrl-D leaves the cursor behind the question.
            writeln!(error)?;
            return Ok(None);
        }
        Ok(Some(line.trim().to_owned()))
    }

    /// A result: standard output is for these. With `--json` the line is a document, which keeps its bytes unless a
    /// terminal takes it.
    pub(crate) fn result(&self, line: &str) -> io::Result<()> {
        if self.mute {
            return Ok(());
        }
        let shown = match self.json {
            true if io::stdout().is_terminal() => terminal::escaped(line),
            true => line.into(),
            false => terminal::rendered(line, self.colour[1]).into(),
        };
        let mut output = io::stdout().lock();
        writeln!(output, "{shown}")?;
        output.flush()
    }

    /// A piece of a text, as it is made: to a terminal without what it would obey, elsewhere as it is.
    pub(crate) fn piece(&self, text: &str) -> io::Result<()> {
        if self.mute {
            return Ok(());
        }
        let mut output = io::stdout().lock();
        match output.is_terminal() {
            true => output.write_all(terminal::rendered(text, self.colour[1]).as_bytes())?,
            false => output.write_all(text.as_bytes())?,
        }
        output.flush()
    }

    /// An error with its causes and what can be done about it.
    pub(crate) fn error(&self, error: &dyn Diagnostic) {
        let text = message(error);
        self.log_line(&format!("error: {text}"));
        self.print(&format!("{} {text}", Style::Error.of("error:")));
        if let Some(help) = error.help() {
            self.log_line(&format!("help: {help}"));
            self.print(&format!("{} {help}", Style::Help.of("help:")));
        }
    }

    /// A bar of `length` units, drawn on terminals alone and never faster than the eye.
    pub(crate) fn bar(&self, length: u64, template: &str) -> ProgressBar {
        let target = match self.shows_progress() {
            true => ProgressDrawTarget::stderr_with_hz(8),
            false => ProgressDrawTarget::hidden(),
        };
        let style = ProgressStyle::with_template(template).expect("templates are literals of this crate");
        let bar = ProgressBar::with_draw_target(Some(length), target);
        bar.set_style(style.progress_chars("━╸ "));
        // It takes a thread, which nobody needs who sees nothing.
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        *self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(bar.clone());
        bar
    }

    /// Emphasis for a terminal; the words themselves elsewhere. For `say` and `result`, which show it.
    pub(crate) fn bold(&self, text: &str) -> String {
        Style::Bold.of(text)
    }

    /// A part of a text that is to be seen within it: green in a terminal, between brackets elsewhere.
    pub(crate) fn marked(&self, text: &str) -> String {
        Style::Marked.of(text)
    }

    fn print(&self, line: &str) {
        if self.mute {
            return;
        }
        let bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let shown = terminal::rendered(line, self.colour[0]);
        let write = || {
            // Nobody is left to tell that standard error cannot be written.
            let _ = writeln!(io::stderr(), "{shown}");
        };
        match bar.as_ref().filter(|bar| !bar.is_finished()) {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn log_line(&self, line: &str) {
        let line = terminal::rendered(line, false);
        match &mut *self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Log::File(file) => {
                // A log that cannot be written must not end a run that can.
                let _ = writeln!(file, "{line}");
            }
            Log::Held(lines) if lines.len() < HELD => lines.push(line),
            Log::Held(_) => {}
        }
    }
}

/// A copy of what is said, for the run's log.
#[derive(Debug)]
enum Log {
    /// Lines from before there was a file: a run's plan is told before its directory is touched.
    Held(Vec<String>),
    File(File),
}

impl Default for Log {
    fn default() -> Self {
        Self::Held(Vec::new())
    }
}

/// Lines held at most, for commands that never have a log.
const HELD: usize = 1000;

/// An error of a worker that cannot ask the one that speaks for it.
pub(crate) fn complain(message: &str, help: Option<&str>) {
    let colour = io::stderr().is_terminal();
    let help = help.map(|help| format!("{} {help}", Style::Help.of("help:")));
    for line in [format!("{} {message}", Style::Error.of("error:"))].into_iter().chain(help) {
        // Nobody is left to tell that standard error cannot be written.
        let _ = writeln!(io::stderr(), "{}", terminal::rendered(&line, colour));
    }
}

/// What an error says, with its causes.
pub(crate) fn message(error: &dyn Diagnostic) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let said = source.to_string();
        // A transparent variant says what its source says.
        if !text.contains(&said) {
            text.push_str(&format!(": {said}"));
        }
        cause = source.source();
    }
    text
}

/// Bytes in the unit people read them in.
pub(crate) fn bytes(count: usize) -> String {
    let precision = if count < 1_000_000_000 { 1 } else { 2 };
    format!("{:.precision$}", ByteSize::b(count as u64).display().si())
}

/// Seconds as `42 s`, `3 min 5 s`, `2 h 10 min`: two units at most, which neither humantime nor indicatif offers.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        _ if seconds < 9.95 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_what_was_said_before_it_was_there_and_no_colours() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("train.log");
        let output = Output::new(true, false);
        output.say(&format!("a plan with {} words", output.bold("bold")));
        output.log_to(File::create(&path).unwrap());
        output.say(&format!("a {}", output.bold("step")));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a plan with bold words\na step\n");
    }

    #[test]
    fn of_several_workers_one_shows_progress_on_its_terminal_and_none_asks() {
        let in_terminal = || Output { terminal: true, ..Output::new(false, false) };
        let (first, other) = (in_terminal().of_several(), in_terminal().of_several().mute());
        assert!(in_terminal().shows_progress() && first.shows_progress() && !other.shows_progress());
        assert!(!first.can_ask() && !other.can_ask());
        assert!(!Output { terminal: false, ..Output::new(false, false) }.of_several().shows_progress());
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            (thousands(1), thousands(1234), thousands(1_234_567)),
            ("1".into(), "1,234".into(), "1,234,567".into())
        );
        assert_eq!(
            [counted(0, "text", "texts"), counted(1, "text", "texts"), counted(1234, "text", "texts")],
            ["0 texts", "1 text", "1,234 texts"]
        );
        assert_eq!((bytes(12), bytes(23_456), bytes(7_000_000)), ("12 B".into(), "23.5 kB".into(), "7.0 MB".into()));
        assert_eq!(
            (duration(3.21), duration(59.7), duration(7300.0)),
            ("3.2 s".into(), "1 min 0 s".into(), "2 h 1 min".into())
        );
    }
}
