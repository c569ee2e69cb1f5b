//! `kindling report`: the page of a run made again from its directory, or one page of several runs.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use model::write_atomically;
use serde_json::json;

use super::failure::Failure;
use crate::output::Output;
use crate::report::{self, Report};

/// Where the page of several runs is written.
const COMPARISON: &str = "comparison.html";
/// By which a page of kindling's is known: nothing else is replaced without being named.
const MARK: &str = "<meta name=\"generator\" content=\"kindling\">";

/// Make the report of a run again, or one page that compares several runs
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kindling report runs/sst2\n  kindling report runs/sst2 -o sst2.html\n  kindling report runs/r8 runs/r16 runs/full -o ranks.html\n  kindling report runs/* --json"
)]
pub(super) struct Arguments {
    /// Directories of runs, finished or not
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Where to write the page, - for standard output; default: RUN/report.html, of several runs comparison.html
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let mut reports = Vec::new();
    let mut seen = Vec::new();
    for run in &arguments.runs {
        reports.push(Report::open(run).map_err(Failure::input)?);
        // The same run twice says nothing.
        let place = run.canonicalize()?;
        if seen.contains(&place) {
            let message = format!("the run {} is named twice", run.display());
            return Err(Failure::usage(message, "name each run once"));
        }
        seen.push(place);
    }
    let target = target(arguments)?;
    let page = match reports.as_slice() {
        [one] => report::html(one),
        several => report::compared(several),
    };
    write(&target, &page.map_err(Failure::running)?, "-o", output)?;
    if output.json() && target != Path::new("-") {
        let runs: Vec<_> = reports.iter().map(Report::summary).collect();
        output.result(&serde_json::to_string(&json!({ "report": target, "runs": runs }))?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the page goes. What the person has not named is replaced only if it is a page of kindling's.
fn target(arguments: &Arguments) -> Result<PathBuf, Failure> {
    if let Some(path) = &arguments.output {
        let refused =
            |reason: String, help: &str| Failure::usage(format!("cannot write {}: {reason}", path.display()), help);
        if path.is_dir() {
            return Err(refused("it is a directory".to_string(), "name a file in it"));
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !directory.is_dir() {
            let reason = format!("there is no directory {}", directory.display());
            return Err(refused(reason, "create it, or name a file elsewhere"));
        }
        return Ok(path.clone());
    }
    let path = match arguments.runs.as_slice() {
        [run] => run.join("report.html"),
        _ => PathBuf::from(COMPARISON),
    };
    let is_foreign = path.symlink_metadata().is_ok_and(|found| !found.is_file())
        || std::fs::read(&path).is_ok_and(|found| !is_page(&found));
    match is_foreign {
        true => Err(Failure::usage(
            format!("{} is in the way: it is no report of kindling's", path.display()),
            "name a file with -o FILE",
        )),
        false => Ok(path),
    }
}

fn is_page(contents: &[u8]) -> bool {
    // Pages of earlier versions have no mark, but the same title.
    let text = String::from_utf8_lossy(&contents[..contents.len().min(4096)]);
    text.contains(MARK) || text.contains("· kindling</title>")
}

/// Writes a page of another command, in place of one of kindling's at most. `option` names the file.
pub(super) fn write_page(path: &Path, page: &str, option: &str, output: &Output) -> Result<(), Failure> {
    // A device is not read: it may have no end.
    let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
    if path.is_dir() || is_file && std::fs::read(path).is_ok_and(|found| !is_page(&found)) {
        return Err(Failure::usage(
            format!("{} is in the way: it is no page of kindling's", path.display()),
            format!("name another file with {option} FILE"),
        ));
    }
    write(path, page, option, output)
}

fn write(path: &Path, page: &str, option: &str, output: &Output) -> Result<(), Failure> {
    if path == Path::new("-") {
        return Ok(output.result(page.trim_end())?);
    }
    // A device or a pipe is written to; a link is followed. Only a file is replaced.
    let is_file = path.symlink_metadata().map_or(true, |found| found.is_file());
    let written = match is_file {
        true => write_atomically(path, |file| file.write_all(page.as_bytes())),
        false => std::fs::write(path, page),
    };
    written.map_err(|error| {
        let message = format!("cannot write {}: {}", path.display(), error.kind());
        let elsewhere = format!("name another file with {option} FILE");
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Failure::with_help(message, format!("free space, or {elsewhere}"))
            }
            _ => Failure::usage(message, format!("make the place writable, or {elsewhere}")),
        }
    })?;
    if !output.json() {
        output.say(&format!("written: {}", output.bold(&path.display().to_string())));
    }
    Ok(())
}
