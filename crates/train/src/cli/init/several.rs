//! A column with several labels a row, as a configuration names it.

use std::collections::BTreeSet;
use std::path::Path;

use data::{Column, Guess, LabelCell, LabelSetTally, Profile, Target};
use tasks::{Classes, TaskName};

use super::named::Named;

/// What a model for several labels a row learns from.
#[derive(Clone, Copy)]
pub(super) struct Several<'a> {
    pub(super) label: &'a Column,
    /// What divides the labels of a cell; `None`: lists, or cells of one label each.
    separator: Option<char>,
}

/// The task that reads such a column.
pub(super) fn task() -> TaskName {
    TaskName::all().find(|task| task.classes == Classes::Several && task.has("data.label")).unwrap_or_default()
}

impl<'a> Several<'a> {
    /// `None` where no row has several labels and nobody asks for that, or where columns are named for something else.
    pub(super) fn of(
        profile: &'a Profile,
        guess: &Guess<'a>,
        named: &Named<'a>,
        asked: Option<TaskName>,
    ) -> Option<Self> {
        let is_asked = asked == Some(task());
        if !is_asked && asked.is_some() || named.dialogue.is_some() {
            return None;
        }
        match (named.given.label, Target::of(profile, guess)) {
            (Some(given), Some(Target::Labels { label, separator })) if given.name == label.name => {
                Some(Self { label, separator })
            }
            (Some(label), _) => (is_asked || label.is_of_lists()).then(|| Self::in_column(label)),
            (None, Some(Target::Labels { label, separator })) => Some(Self { label, separator }),
            (None, _) if is_asked => guess.label.or(guess.unfit.map(|unfit| unfit.column)).map(Self::in_column),
            (None, _) => None,
        }
    }

    /// With the separator that a run would find.
    fn in_column(label: &'a Column) -> Self {
        let mut tally = LabelSetTally::default();
        for value in label.values.iter().flatten().map(|(value, _)| value).filter(|_| !label.is_of_lists()) {
            tally.add(Path::new(""), 0, LabelCell::Text(value.clone()));
        }
        Self { label, separator: tally.separator(None).unwrap_or_default() }
    }

    /// All labels of the column, as far as they are known.
    pub(super) fn labels(&self) -> BTreeSet<&'a str> {
        if self.label.is_of_lists() {
            return self.label.listed().collect();
        }
        let cells = self.label.values.iter().flatten().map(|(value, _)| value.as_str());
        let parts = cells.flat_map(|cell| cell.split(move |c| Some(c) == self.separator).map(str::trim));
        parts.filter(|part| !part.is_empty()).collect()
    }

    pub(super) fn reason(&self) -> String {
        let name = &self.label.name;
        match self.separator {
            Some(separator) => format!("{name}: several labels, divided by `{separator}`"),
            None if self.label.is_of_lists() => format!("{name}: lists of labels"),
            None => format!("{name}: one label each"),
        }
    }
}
