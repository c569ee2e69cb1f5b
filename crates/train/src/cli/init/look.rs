//! What the columns of the data are taken for, said in a line each, and what is missing.

use std::path::{Path, PathBuf};

use data::suggest::{list, suggestion};
use data::{Column, Given, Guess, Profile};

use super::{counted, refusal, separator};
use crate::cli::Failure;
use crate::cli::trained::{ColumnNames, apply_sets};
use crate::config::Task;
use crate::output::{Output, thousands};

/// Beside `train.csv`; `test.csv` is for the end, not for choosing what is best.
const VALIDATION: [&str; 4] = ["valid", "validation", "val", "dev"];

pub(super) struct Look {
    pub(super) file: PathBuf,
    pub(super) profile: Profile,
    pub(super) task: Task,
    pub(super) text: String,
    pub(super) text_pair: Option<String>,
    pub(super) label: Option<String>,
    /// A file of validation data beside the file.
    pub(super) valid: Option<PathBuf>,
    /// Why the columns are what they are, a line each.
    reasons: Vec<String>,
}

impl Look {
    pub(super) fn at(file: &Path, asked: Option<Task>, sets: &[String]) -> Result<Self, Failure> {
        let mut names = ColumnNames::default();
        apply_sets(sets, &["data.text", "data.text_pair", "data.label"], &mut names, |_, _| Ok(()))?;
        let profile = separator::profile(file)?;
        let given = Given {
            text: named(&profile, file, names.text.as_deref())?,
            text_pair: named(&profile, file, names.text_pair.as_deref())?,
            label: named(&profile, file, names.label.as_deref())?,
        };
        let guess = Guess::of(&profile, given);
        let task = asked.unwrap_or(match guess.label {
            Some(_) => Task::SequenceClassification,
            None => Task::MaskedLm,
        });
        if task == Task::MaskedLm
            && let Some(key) = unused(&names)
        {
            let help = "leave it out, or ask for `--task sequence-classification`";
            return Err(Failure::usage(format!("the task {task} does not use `{key}`"), help));
        }
        if let Some(label) = given.label {
            refusal::named_label(file, label)?;
        }
        if asked != Some(Task::MaskedLm)
            && let Some(unfit) = guess.unfit
        {
            return Err(refusal::unfit_label(file, unfit));
        }
        let text = guess.text.ok_or_else(|| refusal::no_text(file, &profile))?;
        let (text_pair, label) = match task {
            Task::SequenceClassification => {
                (guess.text_pair, Some(guess.label.ok_or_else(|| refusal::no_label(file, &profile))?))
            }
            Task::MaskedLm | Task::CausalLm => (None, None),
        };
        let mut reasons = vec![format!("text         {}", why_text(text, given, &guess))];
        reasons.extend(text_pair.map(|column| format!("second text  {}", why_pair(column, given))));
        reasons.extend(label.map(|column| format!("label        {}", why_label(column, given, &guess))));
        let name = |column: &Column| column.name.clone();
        Ok(Self {
            file: file.to_path_buf(),
            task,
            text: name(text),
            text_pair: text_pair.map(name),
            label: label.map(name),
            valid: validation(file),
            reasons: with_task(reasons, task, guess.label),
            profile,
        })
    }

    pub(super) fn say(&self, output: &Output) {
        output.say(&format!("{}: {}", self.file.display(), counted(self.profile.rows, "row", "rows")));
        for reason in &self.reasons {
            output.say(reason);
        }
    }

    /// The values of the label column.
    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        let column = self.label.as_ref().and_then(|label| self.profile.column(label));
        column.and_then(|column| column.values.as_ref()).into_iter().flatten().map(|(value, _)| value.as_str())
    }
}

fn named<'a>(profile: &'a Profile, file: &Path, name: Option<&str>) -> Result<Option<&'a Column>, Failure> {
    let Some(name) = name else { return Ok(None) };
    let columns = profile.columns.iter().map(|column| column.name.as_str());
    match profile.column(name) {
        Some(column) => Ok(Some(column)),
        None => Err(Failure::input(data::Error::MissingColumn {
            file: file.to_path_buf(),
            column: name.to_owned(),
            columns: list(columns.clone()),
            suggestion: suggestion(name, columns),
        })),
    }
}

/// A key that was given, but that a language model does not have.
fn unused(names: &ColumnNames) -> Option<&'static str> {
    let given = |name: &Option<String>, key| name.is_some().then_some(key);
    given(&names.label, "data.label").or(given(&names.text_pair, "data.text_pair"))
}

fn why_text(column: &Column, given: Given<'_>, guess: &Guess<'_>) -> String {
    let Column { name, characters, .. } = column;
    if given.text.is_some() {
        return format!("{name}: as named");
    }
    let characters = counted(characters.round() as usize, "character", "characters");
    match guess.text_pair.filter(|_| given.text_pair.is_none()) {
        Some(_) => format!("{name}: strings, {characters} on average, and by its name the first of two"),
        None if guess.other_texts.is_empty() => format!("{name}: strings, {characters} on average"),
        None => format!(
            "{name}: the longest strings, {characters} on average ({} is text too: `data.text_template` joins columns)",
            list(guess.other_texts.iter().copied())
        ),
    }
}

fn why_pair(column: &Column, given: Given<'_>) -> String {
    let reason = if given.text_pair.is_some() { "as named" } else { "by its name the second of two" };
    format!("{}: {reason}", column.name)
}

fn why_label(column: &Column, given: Given<'_>, guess: &Guess<'_>) -> String {
    let classes = match &column.values {
        Some(values) if values.len() <= 6 => {
            format!("{} values ({})", values.len(), list(values.keys().map(|it| &**it)))
        }
        Some(values) => format!("{} values", thousands(values.len())),
        None => "many values".to_owned(),
    };
    let reason = match (given.label.is_some(), guess.label_by_name) {
        (true, _) => "as named",
        (false, true) => "by its name",
        (false, false) => "because they are few",
    };
    let others = match guess.other_labels.as_slice() {
        [] => String::new(),
        others => format!("; another one could be {}: `--set data.label=COLUMN`", list(others.iter().copied())),
    };
    format!("{}: {classes}, {reason}{others}", column.name)
}

fn with_task(mut reasons: Vec<String>, task: Task, label: Option<&Column>) -> Vec<String> {
    if task == Task::MaskedLm {
        let reason = if label.is_some() { "as asked" } else { "no column looks like a label" };
        reasons.push(format!("task         {task}: {reason}"));
    }
    reasons
}

/// `valid.csv` beside `train.csv`, or whatever else it is called.
fn validation(file: &Path) -> Option<PathBuf> {
    let rest = file.file_name()?.to_str()?.strip_prefix("train").filter(|rest| rest.starts_with(['.', '-', '_']))?;
    VALIDATION.iter().map(|name| file.with_file_name(format!("{name}{rest}"))).find(|beside| beside.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validation_data_lies_beside_the_training_data_in_the_same_format() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name);
        for name in ["train.csv", "dev.csv", "test.csv", "valid.jsonl", "train-00000-of-00001.parquet"] {
            std::fs::write(path(name), "").expect("a file");
        }
        std::fs::write(path("validation-00000-of-00001.parquet"), "").expect("a file");
        assert_eq!(validation(&path("train.csv")), Some(path("dev.csv")));
        assert_eq!(validation(&path("train-00000-of-00001.parquet")), Some(path("validation-00000-of-00001.parquet")));
        assert_eq!(validation(&path("test.csv")), None);
        assert_eq!(validation(&path("train.tsv")), None);
        assert_eq!(validation(&path("trained.csv")), None);
    }
}
