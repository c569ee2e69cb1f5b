//! Which column of a file is its text and which its label, guessed from what stands in them and from their names, and
//! what is asked and answered. For a first configuration, which a person reads: a run never guesses.

mod dialogue;
mod items;
mod language;
mod names;
mod profile;
mod target;
#[cfg(test)]
mod tests;
mod unfit;

pub use dialogue::Dialogue;
pub use language::{Language, Writing};
pub use profile::{Column, ColumnKind, Profile};
pub use target::{Target, is_conll};
pub use unfit::{Reason as UnfitReason, Unfit};

use names::{is_label, is_no_label, is_number_of_row, label_rank, pair};

/// A column of other than a label's name has at most so many classes.
const CLASSES: usize = 100;

/// What the columns of a file seem to be. Columns that somebody named are taken as they are.
#[derive(Debug, Clone, Default)]
pub struct Guess<'a> {
    pub text: Option<&'a Column>,
    /// Only beside a label: two texts and a class.
    pub text_pair: Option<&'a Column>,
    pub label: Option<&'a Column>,
    /// Whether the label was known by its name, not by its few values alone.
    pub label_by_name: bool,
    /// Where there is no label: the column that is called one, but cannot be one.
    pub unfit: Option<Unfit<'a>>,
    /// Columns that could be the text, or the label, as well.
    pub other_texts: Vec<&'a str>,
    pub other_labels: Vec<&'a str>,
}

/// Columns of the profile that are given, not guessed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'a> {
    pub text: Option<&'a Column>,
    pub text_pair: Option<&'a Column>,
    pub label: Option<&'a Column>,
}

impl<'a> Guess<'a> {
    pub fn of(profile: &'a Profile, given: Given<'a>) -> Self {
        let is_given = |column: &&Column| {
            [given.text, given.text_pair, given.label].iter().flatten().any(|it| it.name == column.name)
        };
        let free: Vec<&Column> = profile.columns.iter().filter(|column| !is_given(column)).collect();
        let texts = texts(profile, &free);
        let (text, text_pair) = match (given.text, given.text_pair) {
            (Some(text), None) => (Some(text), second(text, &texts)),
            (None, None) => in_order(&texts),
            (text, text_pair) => (text.or_else(|| texts.first().copied()), text_pair),
        };
        let is_taken = |column: &Column| [text, text_pair].iter().flatten().any(|it| it.name == column.name);
        let free: Vec<&Column> = free.into_iter().filter(|column| !is_taken(column)).collect();
        let labels = labels(profile, &free);
        let named = free.iter().find(|column| is_label(&column.name)).filter(|_| labels.is_empty());
        let label = given.label.or(labels.first().map(|(column, _)| *column));
        let rank = labels.first().and_then(|(_, rank)| *rank);
        // Names of equal rank are as good as each other; what is only few values is one of several such columns.
        let others = labels.iter().skip(1).filter(|(_, other)| other.is_some() == rank.is_some());
        let other_labels = match given.label {
            None => others.map(|(column, _)| column.name.as_str()).collect(),
            Some(_) => Vec::new(),
        };
        let is_the_label = |column: &Column| label.is_some_and(|label| label.name == column.name);
        let other_texts =
            texts.iter().filter(|column| given.text.is_none() && !is_taken(column) && !is_the_label(column));
        // Without a class there is no pair, and then the longer of the two is the text.
        let alone = || given.text.or(texts.first().copied());
        Self {
            text: if label.is_some() { text } else { alone() },
            text_pair: text_pair.filter(|_| label.is_some()),
            label,
            label_by_name: given.label.is_none() && rank.is_some(),
            unfit: named.filter(|_| label.is_none()).and_then(|column| Unfit::of(profile, column)),
            other_texts: other_texts.map(|column| column.name.as_str()).collect(),
            other_labels,
        }
    }
}

/// What can be a text, the longest first, and prose before what may be codes or names.
fn texts<'a>(profile: &Profile, columns: &[&'a Column]) -> Vec<&'a Column> {
    let mut texts: Vec<&Column> = columns.iter().copied().filter(|column| can_be_text(profile, column)).collect();
    let is_prose = |column: &Column| column.words >= 1.5 || column.spaceless;
    texts.sort_by(|a, b| {
        let prose_first = is_prose(b).cmp(&is_prose(a));
        prose_first.then(b.characters.total_cmp(&a.characters))
    });
    texts
}

fn can_be_text(profile: &Profile, column: &Column) -> bool {
    let is_named_label = label_rank(&column.name).is_some();
    column.kind == ColumnKind::Strings
        && column.filled * 2 >= profile.rows
        && !column.links
        && !is_number_of_row(&column.name)
        // Few values of a word or two are classes, whatever the column is called.
        && (column.words >= 3.0 || !(repeats(column) || is_named_label && !column.spaceless))
}

/// The different values are half as many as the rows at most.
fn repeats(column: &Column) -> bool {
    column.values.as_ref().is_some_and(|values| values.len() * 2 <= column.filled)
}

/// The longest text, and the one that makes a pair with it; whichever name says that it is first goes first.
fn in_order<'a>(texts: &[&'a Column]) -> (Option<&'a Column>, Option<&'a Column>) {
    let Some(&longest) = texts.first() else { return (None, None) };
    match second(longest, texts) {
        Some(second) => (Some(longest), Some(second)),
        None => match texts.iter().find(|other| pair(&other.name, &longest.name)) {
            Some(&first) => (Some(first), Some(longest)),
            None => (Some(longest), None),
        },
    }
}

fn second<'a>(text: &Column, texts: &[&'a Column]) -> Option<&'a Column> {
    texts.iter().copied().find(|other| pair(&text.name, &other.name))
}

/// What can be a label, the likeliest first, each with the rank of its name.
fn labels<'a>(profile: &Profile, columns: &[&'a Column]) -> Vec<(&'a Column, Option<usize>)> {
    let mut labels: Vec<(&Column, Option<usize>)> = columns
        .iter()
        // Where names say nothing the last column is likelier than the first: tables end with what is to be told.
        .rev()
        .map(|&column| (column, label_rank(&column.name)))
        .filter(|(column, rank)| can_be_label(profile, column, rank.is_some()))
        .collect();
    // Of names that say it equally well the first column: a coarse class stands before a fine one.
    if labels.iter().any(|(_, rank)| rank.is_some()) {
        labels.reverse();
    }
    labels.sort_by_key(|(_, rank)| rank.unwrap_or(usize::MAX));
    labels
}

fn can_be_label(profile: &Profile, column: &Column, is_named: bool) -> bool {
    let is_class = matches!(column.kind, ColumnKind::Strings | ColumnKind::Integers | ColumnKind::Booleans);
    let Some(values) = column.values.as_ref().map(|values| values.len()) else { return false };
    let few = match is_named {
        true => values <= 3 || repeats(column),
        false => (2..=CLASSES).contains(&values) && values * 4 <= column.filled && column.words < 3.0,
    };
    is_class
        && few
        && column.filled * 2 >= profile.rows
        && !is_number_of_row(&column.name)
        && (is_named || !is_no_label(&column.name))
}
