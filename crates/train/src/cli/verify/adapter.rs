//! An adapter's files, and what it is said to come from, against the hashes that training recorded.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use inference::{FileHash, FileState, Provenance, WrittenFiles};
use model::Pretrained;
use serde_json::json;

use super::{Arguments, differences};
use crate::cli::failure::Failure;
use crate::cli::source::model_of;
use crate::output::{Output, counted};
use crate::run;

/// Told, and no part of what is compared.
const EXECUTABLE: &str = "executable";

/// What was found out of one thing.
struct Finding {
    what: &'static str,
    /// `None`: there was nothing to compare with.
    agrees: Option<bool>,
    words: String,
}

impl Finding {
    fn new(what: &'static str, agrees: impl Into<Option<bool>>, words: impl Into<String>) -> Self {
        Self { what, agrees: agrees.into(), words: words.into() }
    }
}

pub(super) fn verify(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let directory = &arguments.path;
    let shown = directory.display();
    if let Some(option) = [("--steps", arguments.steps.is_some()), ("--device", arguments.device.is_some())]
        .into_iter()
        .find_map(|(option, is_given)| is_given.then_some(option))
    {
        let message = format!("`{option}` is for a run, and {shown} is none");
        return Err(Failure::usage(message, format!("name the directory of its run, or leave out {option}")));
    }
    let written = WrittenFiles::read(directory)?;
    let Some((written, trained)) = written.as_ref().and_then(|it| Some((it, it.sidecar.trained.as_ref()?))) else {
        let message = format!("{shown} does not record what it came from");
        let help = "kindling records it of what it trains, from this version on; PEFT does not";
        return Err(Failure::usage(message, help));
    };
    let mut findings = vec![of_files(written, directory)?];
    findings.extend(of_data(trained, &arguments.data)?);
    findings.push(of_base(trained, arguments, output)?);
    findings.push(of_config(trained, arguments)?);
    if !trained.origins.init_from.is_empty() {
        findings.push(Finding::new("init_from", None, "not compared: only training again reads it"));
    }
    findings.push(Finding::new("step", None, format!("{}, not compared: only training again tells", trained.step)));
    findings.push(Finding::new("examples", None, "not compared: only training again makes them"));
    let machines = differences::of_machines(Some(&written.sidecar), &trained.origins.machine.device);
    let words = if machines.is_empty() { "this one".to_string() } else { machines.join("; ") };
    findings.push(Finding::new(EXECUTABLE, None, words));

    let agrees = findings.iter().all(|finding| finding.agrees != Some(false));
    if output.json() {
        let findings: Vec<_> = findings
            .iter()
            .map(|finding| json!({ "what": finding.what, "agrees": finding.agrees, "words": finding.words }))
            .collect();
        let document = json!({ "adapter": directory, "step": trained.step, "agrees": agrees, "findings": findings });
        output.result(&document.to_string())?;
        return Ok(ExitCode::from(u8::from(!agrees)));
    }
    for finding in findings.iter().filter(|finding| finding.agrees != Some(false)) {
        output.say(&format!("{:14}{}", finding.what, finding.words));
    }
    let wrong: Vec<String> = findings
        .iter()
        .filter(|finding| finding.agrees == Some(false))
        .map(|finding| format!("{}: {}", finding.what, finding.words))
        .collect();
    match wrong.is_empty() {
        true => {
            let names = |agrees: Option<bool>| -> Vec<&str> {
                let mut names: Vec<&str> = findings
                    .iter()
                    .filter(|finding| finding.agrees == agrees && finding.what != EXECUTABLE)
                    .map(|finding| finding.what)
                    .collect();
                names.dedup();
                names
            };
            let (compared, left_out) = (names(Some(true)).join(", "), names(None).join(", "));
            output.say(&format!("{shown} matches its record in: {compared}; not compared: {left_out}"));
            Ok(ExitCode::SUCCESS)
        }
        false => {
            let help = "what it was trained with has the hashes that its kindling.json has under `trained`";
            Err(Failure::with_help(format!("{shown} does not match its record: {}", wrong.join("; ")), help))
        }
    }
}

fn of_files(written: &WrittenFiles, directory: &Path) -> Result<Finding, Failure> {
    let states = written.states(directory)?;
    let in_words = |(name, state): &(String, FileState)| match state {
        FileState::AsWritten => None,
        FileState::Changed => Some(format!("{name} is not as it was written")),
        FileState::Missing => Some(format!("{name} is missing")),
    };
    let wrong: Vec<String> = states.iter().filter_map(in_words).collect();
    Ok(match wrong.is_empty() {
        true => Finding::new("files", true, format!("{} as written", counted(states.len(), "file", "files"))),
        false => Finding::new("files", false, wrong.join(", ")),
    })
}

fn of_data(trained: &Provenance, given: &[PathBuf]) -> Result<Vec<Finding>, Failure> {
    let known = &trained.origins.data;
    if known.is_empty() {
        let agrees = if given.is_empty() { None } else { Some(false) };
        return Ok(vec![Finding::new("data", agrees, "its record names no file of data")]);
    }
    let mut found = Vec::new();
    let mut seen = Vec::new();
    for path in given {
        let hash = hash(path, "--data")?;
        let same = known.iter().enumerate().filter(|(_, known)| known.sha256 == hash.sha256).map(|(index, _)| index);
        let before = seen.len();
        seen.extend(same);
        found.push(match seen.len() > before {
            true => Finding::new("data", true, format!("{} is what it was trained or validated on", path.display())),
            false => {
                let names: Vec<&str> = known.iter().map(|known| known.name.as_str()).collect();
                let words =
                    format!("{} is not one of the files it was trained on ({})", path.display(), names.join(", "));
                Finding::new("data", false, words)
            }
        });
    }
    let others: Vec<&str> =
        known.iter().enumerate().filter(|(index, _)| !seen.contains(index)).map(|(_, it)| it.name.as_str()).collect();
    if !others.is_empty() {
        found.push(Finding::new("data", None, format!("{} not compared: name it with --data", others.join(", "))));
    }
    Ok(found)
}

fn of_base(trained: &Provenance, arguments: &Arguments, output: &Output) -> Result<Finding, Failure> {
    let directory = match &arguments.base {
        Some(base) => Some(model_of(base, output)?),
        None => inference::recorded_base(&arguments.path)?.and_then(|recorded| recorded.directory(&arguments.path)),
    };
    let known = &trained.origins.base;
    if known.is_empty() {
        let agrees = if arguments.base.is_none() { None } else { Some(false) };
        return Ok(Finding::new("base", agrees, "its record names no file of the base"));
    }
    let Some(directory) = directory else {
        return Ok(Finding::new("base", None, "not compared: name it with --base"));
    };
    let shown = directory.display();
    let files = Pretrained::open(&directory, Pretrained::head_of(&directory)?)?.files();
    let found: Vec<FileHash> = files.iter().filter_map(|file| FileHash::of(file)).collect();
    let other = known.iter().find(|known| !found.contains(known));
    let unknown = found.iter().find(|found| !known.contains(found));
    Ok(match (other, unknown) {
        (Some(other), _) => Finding::new("base", false, format!("{shown} has another {}", other.name)),
        (None, Some(unknown)) => {
            Finding::new("base", false, format!("{shown} has {}, which its record does not name", unknown.name))
        }
        (None, None) => Finding::new("base", true, format!("{shown} is what it was trained on")),
    })
}

fn of_config(trained: &Provenance, arguments: &Arguments) -> Result<Finding, Failure> {
    let beside = arguments.path.canonicalize().ok().and_then(|path| Some(path.parent()?.join("config.toml")));
    let Some(file) = arguments.config.clone().or(beside.filter(|file| file.is_file())) else {
        return Ok(Finding::new("configuration", None, "not compared: name it with --config"));
    };
    let shown = file.display();
    let text = std::fs::read_to_string(&file).map_err(|error| {
        Failure::usage(format!("cannot read {shown}: {error}"), "name the config.toml of a run with --config")
    })?;
    let found = run::settings_fingerprint(&text, trained.step).map_err(|reason| {
        Failure::usage(format!("{shown} is not a complete configuration: {reason}"), "name the config.toml of a run")
    })?;
    Ok(match found == trained.config {
        true => Finding::new("configuration", true, format!("{shown} has the settings that it was trained with")),
        false => Finding::new("configuration", false, format!("{shown} has other settings")),
    })
}

fn hash(path: &Path, option: &str) -> Result<FileHash, Failure> {
    FileHash::of(path).ok_or_else(|| {
        let shown = path.display();
        let message = match path.exists() {
            true => format!("`{option} {shown}`: it is not a file that can be read"),
            false => format!("`{option} {shown}`: there is no such file"),
        };
        Failure::usage(
            message,
            "name the file that it was trained on, as it was then: compressed, if it was compressed",
        )
    })
}
