//! Columns that are missing or cannot be what they are called, and what to do about it.

use std::path::Path;

use data::{Column, ColumnKind, Profile, Unfit, UnfitReason};
use suggest::list;

use super::{Base, several, task_for};
use crate::cli::Failure;
use tasks::{TaskName, Use};

pub(super) fn no_text(file: &Path, profile: &Profile) -> Failure {
    let message = format!("{} has no column that looks like text ({})", file.display(), kinds(profile));
    Failure::usage(message, "name it: `--set data.text=COLUMN`")
}

pub(super) fn no_label(file: &Path, profile: &Profile, base: &Base) -> Failure {
    let message = format!("{} has no column that looks like a label ({})", file.display(), kinds(profile));
    let help =
        format!("name it: `--set data.label=COLUMN`; a task without labels is `--task {}`", without_labels(base));
    Failure::usage(message, help)
}

pub(super) fn no_tags(file: &Path, profile: &Profile) -> Failure {
    let message = format!(
        "{} has no columns that look like words and their tags, or like texts and their entities ({})",
        file.display(),
        kinds(profile)
    );
    let help = "a row has as many tags as words, or entities with `start`, `end` and `label`; a configuration names such \
                columns: `data.tokens` and `data.tags`, or `data.text` and `data.entities`";
    Failure::usage(message, help)
}

fn without_labels(base: &Base) -> TaskName {
    task_for(if base.writes { Use::Generate } else { Use::Score })
}

/// `columns: text (strings), id (integers)`
fn kinds(profile: &Profile) -> String {
    let shown: Vec<String> =
        profile.columns.iter().map(|column| format!("{} ({})", column.name, column.kind.name())).collect();
    format!("columns: {}", list(shown.iter().map(String::as_str)))
}

/// A column that somebody named as the label: what a run would refuse, or take each number of for a class.
pub(super) fn named_label(file: &Path, column: &Column) -> Result<(), Failure> {
    let Column { name, kind, .. } = column;
    match kind {
        ColumnKind::Fractions => {
            let message = format!("{}, column `{name}`: labels are fractions, not classes", file.display());
            Err(Failure::usage(message, INSTEAD))
        }
        // The run's to refuse, with the row.
        ColumnKind::Lists | ColumnKind::Objects | ColumnKind::Mixed | ColumnKind::Empty => Ok(()),
        ColumnKind::Strings | ColumnKind::Integers | ColumnKind::Booleans => Ok(()),
    }
}

/// A column that its name says is the label: to train on the texts alone in silence is not what was meant.
pub(super) fn unfit_label(file: &Path, unfit: Unfit<'_>, base: &Base) -> Failure {
    let message = format!("`{}` of {} cannot be a label: {unfit}", unfit.column.name, file.display());
    let task = without_labels(base);
    let others = format!("`--set data.label=COLUMN` names another column, `--task {task}` trains on the texts alone");
    let help = match unfit.reason {
        UnfitReason::Kind(ColumnKind::Fractions) => format!("{INSTEAD}; {others}"),
        UnfitReason::Kind(ColumnKind::Lists) => {
            format!("`--task {}` learns several labels a row; {others}", several::task())
        }
        UnfitReason::Kind(_) => format!("classes are names or whole numbers; {others}"),
        UnfitReason::Different => format!("a class needs several rows; {others}"),
        UnfitReason::Sparse { .. } => format!("give the rows a label, or remove those without; {others}"),
    };
    Failure::usage(message, help)
}

const INSTEAD: &str = "`--task regression` learns the numbers; for classes write names or whole numbers";
