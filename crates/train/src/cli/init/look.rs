//! What the columns of the data are taken for, said in a line each, and what is missing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use data::{Column, ColumnKind, ColumnNames, Dialogue, Given, Guess, Language, Profile, Target, Writing};
use suggest::list;
use tasks::{Classes, TaskName, Use};

use super::named::Named;
use super::several::{self, Several};
use super::tagged::{self, Tagged};
use super::{Base, dialogue, refusal, task_for};
use crate::cli::Failure;
use crate::output::{Output, counted, thousands};

/// Beside `train.csv`; `test.csv` is for the end, not for choosing what is best.
const VALIDATION: [&str; 4] = ["valid", "validation", "val", "dev"];

pub(super) struct Look<'a> {
    pub(super) file: PathBuf,
    pub(super) profile: &'a Profile,
    pub(super) task: TaskName,
    pub(super) columns: ColumnNames,
    /// A file of validation data beside the file.
    pub(super) valid: Option<PathBuf>,
    /// Of the columns that are read.
    writing: Writing,
    /// The different labels of the column, as far as they are known.
    labels: BTreeSet<&'a str>,
    /// Why the columns are what they are, a line each.
    reasons: Vec<String>,
}

impl<'a> Look<'a> {
    pub(super) fn at(
        file: &Path,
        profile: &'a Profile,
        named: &Named<'a>,
        asked: Option<TaskName>,
        base: &Base,
    ) -> Result<Self, Failure> {
        let guess = Guess::of(profile, named.given);
        let dialogue = if named.is_empty() { Dialogue::of(profile) } else { named.dialogue };
        let tagged = Tagged::of(profile, &guess, named);
        let is_for_texts = dialogue.is_none() || asked.is_some();
        let several = Several::of(profile, &guess, named, asked).filter(|_| is_for_texts);
        let number = number(profile, &guess, named, asked).filter(|_| is_for_texts && several.is_none());
        let guess = match several.map(|several| several.label).or(number) {
            Some(label) => Guess::of(profile, Given { label: Some(label), ..named.given }),
            None => guess,
        };
        let task = asked.unwrap_or_else(|| match (&tagged, &several, number) {
            (Some(_), ..) => tagged::task(),
            (None, Some(_), _) => several::task(),
            (None, None, Some(_)) => regression(),
            (None, None, None) => likeliest(&guess, named, dialogue, base),
        });
        let tagged = tagged.filter(|_| task == tagged::task());
        if let Some(key) = named.unused(task) {
            let help = "leave it out, or ask for another task with `--task`";
            return Err(Failure::usage(format!("the task {task} does not use `{key}`"), help));
        }
        let (columns, mut reasons) = match (task.usage, dialogue) {
            _ if task == tagged::task() => tagged.ok_or_else(|| refusal::no_tags(file, profile))?.columns(),
            (Use::Generate, Some(dialogue)) => dialogue::columns(dialogue, named.dialogue.is_some()),
            _ => {
                if let Some(unfit) = guess.unfit.filter(|_| asked.is_none() || task.usage == Use::Predict) {
                    return Err(refusal::unfit_label(file, unfit, base));
                }
                columns(&guess, named.given, (task, several)).ok_or_else(|| match guess.text {
                    None => refusal::no_text(file, profile),
                    Some(_) => refusal::no_label(file, profile, base),
                })?
            }
        };
        if let Some(label) = named.given.label.filter(|_| task != regression()) {
            refusal::named_label(file, label)?;
        }
        reasons.extend(why_task(task, asked, &guess, dialogue));
        let writing = match tagged {
            Some(tagged) => tagged.content().writing.clone(),
            None => writing(task, &guess, dialogue),
        };
        let labels = match (several.filter(|_| task == several::task()), guess.label) {
            (Some(several), _) => several.labels(),
            (None, Some(label)) if columns.label.is_some() => {
                label.values.iter().flatten().map(|(value, _)| value.as_str()).collect()
            }
            (None, _) => BTreeSet::new(),
        };
        Ok(Self { file: file.to_path_buf(), task, columns, valid: validation(file), writing, labels, reasons, profile })
    }

    pub(super) fn say(&self, output: &Output) {
        output.say(&format!("{}: {}", self.file.display(), counted(self.profile.rows, "row", "rows")));
        for reason in &self.reasons {
            output.say(reason);
        }
    }

    /// What the texts are written in, and what that was told from.
    pub(super) fn language(&self) -> (Language, String) {
        self.writing.language()
    }

    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().copied()
    }
}

/// The task that learns numbers.
fn regression() -> TaskName {
    TaskName::all().find(|task| task.usage == Use::Predict && task.classes == Classes::None).unwrap_or_default()
}

/// The column of numbers to learn: fractions, which cannot be classes, or whatever numbers there are if that is asked for.
fn number<'a>(
    profile: &'a Profile,
    guess: &Guess<'a>,
    named: &Named<'a>,
    asked: Option<TaskName>,
) -> Option<&'a Column> {
    let is_asked = asked == Some(regression());
    if !is_asked && (asked.is_some() || named.dialogue.is_some()) {
        return None;
    }
    let found = match (named.given.label, Target::of(profile, guess)) {
        (Some(label), _) => Some(label),
        (None, Some(Target::Number { label })) => Some(label),
        (None, _) => guess.label.or(guess.unfit.map(|unfit| unfit.column)),
    };
    found.filter(|column| match column.kind {
        ColumnKind::Fractions => true,
        ColumnKind::Integers => is_asked,
        _ => false,
    })
}

/// What the data and the model are for, if nobody says: a model that writes learns to answer where there are answers, any
/// to classify where there are labels, and what is left is language.
fn likeliest(guess: &Guess<'_>, named: &Named<'_>, dialogue: Option<Dialogue<'_>>, base: &Base) -> TaskName {
    // Few values alone make no label of a column of a corpus.
    let has_label = named.given.label.is_some() || guess.label_by_name || !base.writes && guess.label.is_some();
    let usage = match dialogue {
        Some(_) if named.dialogue.is_some() || base.writes => Use::Generate,
        _ if has_label => Use::Predict,
        Some(_) if base.embedded => Use::Generate,
        _ if base.writes => Use::Generate,
        _ => Use::Score,
    };
    task_for(usage)
}

fn writing(task: TaskName, guess: &Guess<'_>, dialogue: Option<Dialogue<'_>>) -> Writing {
    let columns = match (task.usage, dialogue) {
        (Use::Generate, Some(Dialogue::Messages(messages))) => [Some(messages), None, None],
        (Use::Generate, Some(Dialogue::Turns { prompt, completion })) => [Some(prompt), None, Some(completion)],
        (Use::Generate, Some(Dialogue::Answer { prompt, context, completion })) => {
            [Some(prompt), context, Some(completion)]
        }
        _ => [guess.text, guess.text_pair, None],
    };
    columns.into_iter().flatten().fold(Writing::default(), |writing, column| writing.and(&column.writing))
}

/// The columns of labelled or plain texts, and why; `None`: one that the task needs is missing.
fn columns(
    guess: &Guess<'_>,
    given: Given<'_>,
    (task, several): (TaskName, Option<Several<'_>>),
) -> Option<(ColumnNames, Vec<String>)> {
    let text = guess.text?;
    let (text_pair, label) = match task.usage {
        Use::Predict => (guess.text_pair, Some(guess.label?)),
        Use::Score | Use::Generate => (None, None),
    };
    let mut reasons = vec![format!("text         {}", why_text(text, given, guess))];
    reasons.extend(text_pair.map(|column| format!("second text  {}", why_pair(column, given))));
    reasons.extend(label.map(|column| match several {
        Some(several) if task == several::task() => format!("label        {}", several.reason()),
        _ if task == regression() => format!("label        {}: {}", column.name, column.kind.name()),
        _ => format!("label        {}", why_label(column, given, guess)),
    }));
    let name = |column: &Column| column.name.clone();
    let columns = ColumnNames {
        text: Some(name(text)),
        text_pair: text_pair.map(name),
        label: label.map(name),
        ..ColumnNames::default()
    };
    Some((columns, reasons))
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

/// Why it is no classification, and what else it could be.
fn why_task(
    task: TaskName,
    asked: Option<TaskName>,
    guess: &Guess<'_>,
    dialogue: Option<Dialogue<'_>>,
) -> Option<String> {
    let reason = match (task.usage, guess.label) {
        _ if task == tagged::task() && asked.is_none() => "words have tags, or texts entities".to_owned(),
        _ if task == several::task() && asked.is_none() => "rows have several labels".to_owned(),
        _ if task == regression() && asked.is_none() => "the label is a number with fractions".to_owned(),
        (Use::Predict, _) => return None,
        _ if asked.is_some() => "as asked".to_owned(),
        (Use::Generate, Some(label)) => {
            format!("the model writes; with the label {}: `--task sequence-classification`", label.name)
        }
        (Use::Generate, None) if dialogue.is_some() => "conversations or prompts with completions".to_owned(),
        (Use::Generate, None) => "the model writes, and no column looks like a label".to_owned(),
        (Use::Score, _) => "no column looks like a label".to_owned(),
    };
    Some(format!("task         {task}: {reason}"))
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
