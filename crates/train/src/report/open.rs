//! The directory of a run, read: everything that its page shows.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::record::FORMAT_VERSION;
use super::{Evaluation, Record, Report, Step};
use ::tasks::metrics::Scores;
use tasks::metrics::Best;

const METRICS: &str = "metrics.jsonl";
const SETTINGS: &str = "config.toml";
const RECORD: &str = "report.json";

/// Why a directory has no page.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum OpenError {
    #[error("there is no run at {}", path.display())]
    Missing {
        path: PathBuf,
        #[help]
        help: String,
    },
    #[error("{} is no run: {reason}", path.display())]
    NotARun {
        path: PathBuf,
        reason: String,
        #[help]
        help: String,
    },
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}, line {line}: {reason}", path.display())]
    #[diagnostic(help("kindling writes one JSON object a line: the file was changed or damaged; copy the run again"))]
    Metrics { path: PathBuf, line: usize, reason: String },
    #[error("{}: {reason}", path.display())]
    #[diagnostic(help(
        "the file was changed or damaged: copy the run again, or remove the file for a page without it"
    ))]
    Record { path: PathBuf, reason: String },
    #[error("{} was written by a newer kindling (format {found}, this version reads {known})", path.display())]
    #[diagnostic(help("update kindling"))]
    Newer { path: PathBuf, found: u32, known: u32 },
}

impl Report {
    /// Of the run at `root`, finished or not.
    pub(crate) fn open(root: &Path) -> Result<Self, OpenError> {
        check(root)?;
        Self::read(root)
    }

    /// The same of a directory that is known to be a run's, which may have written nothing yet.
    pub(crate) fn read(root: &Path) -> Result<Self, OpenError> {
        let settings = text(&root.join(SETTINGS))?.unwrap_or_default();
        let record = record(&root.join(RECORD))?;
        let metrics = metrics(&root.join(METRICS))?;
        let criterion = criterion(&settings);
        let best = metrics
            .evaluations
            .iter()
            .reduce(|best, next| if next.scores.is_better(Some(&best.scores), criterion) { next } else { best });
        let name = root.canonicalize().ok().and_then(|root| Some(root.file_name()?.to_string_lossy().into_owned()));
        Ok(Self {
            title: name.unwrap_or_else(|| root.display().to_string()),
            place: root.display().to_string(),
            best_step: best.map(|best| best.step),
            finished: record.end.is_some() || metrics.ended,
            steps: metrics.steps,
            evaluations: metrics.evaluations,
            record,
            settings,
            live: false,
        })
    }
}

/// Whether this is a run's directory, and if not, what the person may have meant.
fn check(root: &Path) -> Result<(), OpenError> {
    let known = "a run is a directory that `kindling train` wrote, such as runs/NAME".to_string();
    if !root.exists() {
        return Err(OpenError::Missing { path: root.into(), help: neighbour(root).unwrap_or(known) });
    }
    if is_run(root) {
        return Ok(());
    }
    let within = root.ancestors().skip(1).take(3).find(|above| !above.as_os_str().is_empty() && is_run(above));
    let help = within.map(|run| format!("it is a part of the run {}", run.display()));
    let reason = match root.is_dir() {
        true => format!("it has no {SETTINGS} and {METRICS}"),
        false => "it is a file".to_string(),
    };
    Err(OpenError::NotARun { path: root.into(), reason, help: help.unwrap_or(known) })
}

/// Settings alone do not make a run: other programs keep a `config.toml` too.
fn is_run(path: &Path) -> bool {
    path.join(SETTINGS).is_file() && (path.join(METRICS).is_file() || path.join("checkpoints").is_dir())
}

/// The run beside it whose name is nearest.
fn neighbour(root: &Path) -> Option<String> {
    suggest::nearest_path(root, is_run).map(|run| format!("did you mean `{}`?", run.display()))
}

/// `None` where there is no such file.
fn text(path: &Path) -> Result<Option<String>, OpenError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OpenError::Read { path: path.into(), source }),
    }
}

fn record(path: &Path) -> Result<Record, OpenError> {
    let Some(text) = text(path)? else { return Ok(Record::default()) };
    let damaged = |error: serde_json::Error| OpenError::Record { path: path.into(), reason: error.to_string() };
    let mut value: Value = json::parse(text.as_bytes()).map_err(damaged)?;
    name_sections(&mut value);
    let record: Record = serde_json::from_value(value).map_err(damaged)?;
    let reason = match record.classification() {
        Some(found) if found.predictions.iter().any(|one| one.logits.len() != found.labels.len()) => {
            "an example has not as many logits as there are labels"
        }
        Some(found) if found.predictions.iter().any(|one| one.target >= found.labels.len()) => {
            "an example has a label that is not among the labels"
        }
        _ if record.format_version > FORMAT_VERSION => {
            let (found, known) = (record.format_version, FORMAT_VERSION);
            return Err(OpenError::Newer { path: path.into(), found, known });
        }
        _ => return Ok(record),
    };
    Err(OpenError::Record { path: path.into(), reason: reason.to_string() })
}

/// Format 1 had a key for each of the two kinds of sections that there were.
fn name_sections(record: &mut Value) {
    let Value::Object(keys) = record else { return };
    let sections = ["classification", "samples"].map(|kind| (kind, keys.remove(kind)));
    let is_some = |content: &Value| !content.is_null() && content.as_array().is_none_or(|all| !all.is_empty());
    let named = sections.into_iter().filter_map(|(kind, content)| Some((kind, content.filter(is_some)?)));
    let named: Vec<Value> = named.map(|(kind, content)| json!({ "kind": kind, "content": content })).collect();
    if !named.is_empty() {
        keys.insert("sections".to_string(), named.into());
    }
}

/// How the best evaluation was chosen; `auto` where the settings cannot be read.
fn criterion(settings: &str) -> Best {
    let table: Option<toml::Table> = settings.parse().ok();
    let best = table.as_ref().and_then(|table| table.get("train")?.get("best").cloned());
    best.and_then(|best| best.try_into().ok()).unwrap_or(Best::AUTO)
}

struct Metrics {
    steps: Vec<Step>,
    evaluations: Vec<Evaluation>,
    ended: bool,
}

fn metrics(path: &Path) -> Result<Metrics, OpenError> {
    let text = text(path)?.unwrap_or_default();
    let mut metrics = Metrics { steps: Vec::new(), evaluations: Vec::new(), ended: false };
    // A line that is being written, or was when the machine stopped, has no end yet.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for (number, line) in whole.lines().enumerate() {
        metrics.add(line).map_err(|reason| OpenError::Metrics { path: path.into(), line: number + 1, reason })?;
    }
    Ok(metrics)
}

impl Metrics {
    fn add(&mut self, line: &str) -> Result<(), String> {
        let line: Value = json::parse(line.as_bytes()).map_err(|error| error.to_string())?;
        let number = |key: &str| line[key].as_f64().unwrap_or(f64::NAN);
        let count = |key: &str| line[key].as_u64().unwrap_or(0) as usize;
        // What is no step of the run is not counted as one.
        let step = || line["step"].as_u64().map(|step| step as usize).ok_or("`step` is not a whole number");
        self.ended = false;
        match line["event"].as_str() {
            Some("step") => self.steps.push(Step {
                step: step()?,
                epoch: number("epoch"),
                loss: number("loss"),
                learning_rate: number("learning_rate"),
                grad_norm: number("grad_norm"),
                tokens: count("tokens"),
                seconds: number("step_seconds"),
            }),
            Some("eval") => {
                let scores: Scores = serde_json::from_value(line.clone()).map_err(|error| error.to_string())?;
                self.evaluations.push(Evaluation { step: step()?, scores });
            }
            Some("end") => self.ended = true,
            // What a later version adds is none of this page's.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(lines: &[&str]) -> Result<Metrics, String> {
        let mut metrics = Metrics { steps: Vec::new(), evaluations: Vec::new(), ended: false };
        lines.iter().try_for_each(|line| metrics.add(line)).map(|()| metrics)
    }

    #[test]
    fn a_run_that_went_on_after_its_end_has_not_ended() {
        let end = r#"{"event":"end","seconds":1.0,"peak_memory_bytes":1}"#;
        let step = r#"{"event":"step","step":2,"epoch":0.5,"loss":0.25,"learning_rate":0.1,"grad_norm":1.0,"step_seconds":0.1,"examples":4,"tokens":9}"#;
        assert!(added(&[step, end]).is_ok_and(|metrics| metrics.ended && metrics.steps[0].loss == 0.25));
        assert!(added(&[end, step]).is_ok_and(|metrics| !metrics.ended));
        assert!(added(&["{\"event\":\"eval\",\"step\":1}"]).is_err());
    }

    #[test]
    fn a_line_of_no_step_is_refused() {
        for step in ["", r#","step":8.0"#, r#","step":-1"#, r#","step":"8""#] {
            for scores in [
                r#""event":"step","loss":0.5"#,
                r#""event":"eval","loss":0.5,"accuracy":1.0,"f1_macro":1.0,"matthews":1.0"#,
            ] {
                let reason = added(&[&format!("{{{scores}{step}}}")]).err();
                assert_eq!(reason.as_deref(), Some("`step` is not a whole number"), "{scores}{step}");
            }
        }
    }

    #[test]
    fn the_criterion_is_the_one_of_the_settings() {
        assert_eq!(Some(criterion("[train]\nbest = \"f1_macro\"\n")), Best::named("f1_macro"));
        assert_eq!((criterion(""), criterion("[train")), (Best::AUTO, Best::AUTO));
    }
}
