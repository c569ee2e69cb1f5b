//! What a file gives to learn besides classes: tags of words, entities in texts, several labels, numbers.

use std::path::Path;

use super::names::{is_number_of_row, label_rank};
use super::profile::{Column, ColumnKind, Profile};
use super::{CLASSES, Guess};
use crate::{Format, records_as};

/// Fewer whole numbers than this are classes, or the stars of a rating, which can be.
const NUMBERS: usize = 20;

/// Sentences that are read to know a file by its content.
const SENTENCES: usize = 20;

/// A target that is no class, with its columns. The texts that belong to a label are found with [`Guess::of`] where it is
/// given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target<'a> {
    /// Token classification: lists of words, and of the tag of each.
    Tags { tokens: &'a Column, tags: &'a Column },
    /// Token classification: texts, and lists of entities with their offsets.
    Entities { text: &'a Column, entities: &'a Column },
    /// Several labels a row: lists, or cells in which the separator divides them.
    Labels { label: &'a Column, separator: Option<char> },
    /// Regression.
    Number { label: &'a Column },
}

impl<'a> Target<'a> {
    /// `None` where classes, or none of it, are likelier; `guess` is what the columns are taken for then.
    pub fn of(profile: &'a Profile, guess: &Guess<'a>) -> Option<Self> {
        tags(profile)
            .or_else(|| entities(profile, guess))
            .or_else(|| labels(profile, guess))
            .or_else(|| number(profile, guess))
    }
}

fn tags(profile: &Profile) -> Option<Target<'_>> {
    let lists = || profile.columns.iter().filter(|column| column.is_of_lists());
    let is_words = |column: &&Column| column.items.are_strings() && !column.items.are_tags();
    let is_named = |column: &&Column| ["tokens", "words"].contains(&column.name.to_lowercase().as_str());
    let tokens = lists().filter(is_words).find(is_named).or_else(|| lists().find(is_words))?;
    let rank = |column: &Column| -> Option<usize> {
        let name = column.name.to_lowercase();
        match name.as_str() {
            "tags" => Some(0),
            "ner_tags" | "ner" => Some(1),
            _ if column.items.are_tags() => Some(2),
            "labels" | "label" => Some(3),
            _ if name.ends_with("tags") => Some(4),
            _ => None,
        }
    };
    let fits = |column: &&Column| {
        column.name != tokens.name
            && column.items.count == tokens.items.count
            && (column.items.are_integers() || column.items.repeat())
    };
    let tags = lists().filter(fits).filter_map(|column| Some((rank(column)?, column))).min_by_key(|(rank, _)| *rank)?.1;
    Some(Target::Tags { tokens, tags })
}

fn entities<'a>(profile: &'a Profile, guess: &Guess<'a>) -> Option<Target<'a>> {
    let entities = profile.columns.iter().find(|column| column.items.are_entities())?;
    let text = guess.text.filter(|text| text.name != entities.name)?;
    Some(Target::Entities { text, entities })
}

/// A column of labels that is named one, and has several in some rows.
fn labels<'a>(profile: &'a Profile, guess: &Guess<'a>) -> Option<Target<'a>> {
    let text = guess.text?;
    let mut named: Vec<(usize, &Column)> = profile
        .columns
        .iter()
        .filter(|column| column.name != text.name)
        .filter_map(|column| Some((several_rank(&column.name)?, column)))
        .collect();
    named.sort_by_key(|(rank, _)| *rank);
    named.into_iter().find_map(|(_, label)| {
        if label.is_of_lists() {
            return label.items.repeat().then_some(Target::Labels { label, separator: None });
        }
        separator(label).map(|separator| Target::Labels { label, separator: Some(separator) })
    })
}

fn several_rank(name: &str) -> Option<usize> {
    const SEVERAL: [&str; 7] = ["labels", "tags", "categories", "genres", "topics", "emotions", "classes"];
    let name = name.to_lowercase();
    SEVERAL.iter().position(|it| *it == name).or_else(|| label_rank(&name).map(|rank| SEVERAL.len() + rank))
}

/// What divides the cells of a column into few labels that repeat; `None` where nothing does.
fn separator(column: &Column) -> Option<char> {
    let values = column.values.as_ref().filter(|_| column.kind == ColumnKind::Strings)?;
    let divides = |separator: &char| {
        let mut rows: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
        let mut divided = false;
        for (value, count) in values {
            divided |= value.contains(*separator);
            for label in value.split(*separator).map(str::trim).filter(|label| !label.is_empty()) {
                *rows.entry(label).or_default() += count;
            }
        }
        let are_names = rows.keys().all(|label| label.split_whitespace().count() <= 4);
        // Each part twice on average, and fewer parts than cells: what repeats only as a whole is one label.
        let repeat = rows.values().sum::<usize>() >= 2 * rows.len() && rows.len() < values.len().max(3);
        divided && are_names && repeat && rows.len() <= CLASSES
    };
    ['|', ';', ','].into_iter().find(divides)
}

/// A column of numbers that is named a label, or is the only one of fractions where there is no class.
fn number<'a>(profile: &'a Profile, guess: &Guess<'a>) -> Option<Target<'a>> {
    guess.text?;
    let numbers = || profile.columns.iter().filter(|column| is_numbers(column) && !is_number_of_row(&column.name));
    let named = numbers().filter_map(|column| Some((label_rank(&column.name)?, column))).min_by_key(|(rank, _)| *rank);
    let is_class = |rank: usize| guess.label.is_some_and(|label| label_rank(&label.name).is_some_and(|it| it <= rank));
    if let Some((rank, label)) = named {
        let is_guessed = guess.label.is_some_and(|guessed| guessed.name == label.name);
        return (is_guessed || !is_class(rank)).then_some(Target::Number { label });
    }
    let mut fractions = numbers().filter(|column| column.kind == ColumnKind::Fractions);
    match (fractions.next(), fractions.next(), guess.label) {
        (Some(label), None, None) => Some(Target::Number { label }),
        _ => None,
    }
}

/// Fractions, or so many whole numbers, with gaps, that they are no classes.
fn is_numbers(column: &Column) -> bool {
    match column.kind {
        ColumnKind::Fractions => true,
        ColumnKind::Integers => column.values.as_ref().is_none_or(|values| {
            let numbers: Vec<i64> = values.keys().filter_map(|value| value.trim().parse().ok()).collect();
            let (smallest, largest) = (numbers.iter().min(), numbers.iter().max());
            let has_gaps = smallest.zip(largest).is_some_and(|(a, b)| b - a >= numbers.len() as i64);
            values.len() > NUMBERS && has_gaps
        }),
        _ => false,
    }
}

/// Whether a file, whatever its name, is one in columns with tags for words, by its first sentences. `false` for one that
/// cannot be read.
pub fn is_conll(path: &Path) -> bool {
    let Ok(rows) = records_as(path, Some(Format::Conll)) else { return false };
    let (mut sentences, mut items) = (0, super::items::Items::default());
    for row in rows.take(SENTENCES) {
        match row.ok().and_then(|row| Some(row.fields.get("tags")?.as_array()?.clone())) {
            Some(tags) => items.add(&tags),
            None => return false,
        }
        sentences += 1;
    }
    sentences > 0 && items.are_tags()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Given;
    use super::super::tests::profile;
    use super::*;

    /// The task, and the column of the target.
    fn found(row: impl Fn(usize) -> Value) -> Option<(&'static str, String)> {
        let profile = profile((0..40).map(row).collect());
        Target::of(&profile, &Guess::of(&profile, Given::default())).map(|target| match target {
            Target::Tags { tokens, tags } => ("tags", format!("{}, {}", tokens.name, tags.name)),
            Target::Entities { text, entities } => ("entities", format!("{}, {}", text.name, entities.name)),
            Target::Labels { label, separator } => ("labels", format!("{} {separator:?}", label.name)),
            Target::Number { label } => ("number", label.name.clone()),
        })
    }

    fn is(task: &'static str, columns: &str) -> Option<(&'static str, String)> {
        Some((task, columns.to_owned()))
    }

    fn text(n: usize) -> String {
        format!("text number {n} of a file, which is different from all others")
    }

    #[test]
    fn words_with_tags_are_known_in_lists_and_cells() {
        let words = |n: usize| json!([format!("word{n}"), "here"]);
        let conll2003 = |n: usize| json!({"id": n.to_string(), "tokens": words(n), "pos_tags": [n % 7, 3], "chunk_tags": [1, 2], "ner_tags": [n % 3, 0]});
        assert_eq!(found(conll2003), is("tags", "tokens, ner_tags"));
        let cells =
            |n| json!({"words": words(n).to_string(), "labels": (["[\"B-PER\", \"O\"]", "[\"O\", \"O\"]"][n % 2])});
        assert_eq!(found(cells), is("tags", "words, labels"));
        let unnamed = |n| json!({"a": words(n), "b": [(["B-X", "O"][n % 2]), "O"]});
        assert_eq!(found(unnamed), is("tags", "a, b"));
        assert_eq!(found(|n| json!({"tokens": words(n), "tags": ["O"]})), None, "other numbers of words and tags");
    }

    #[test]
    fn texts_with_entities_are_known_by_their_keys() {
        let row = |n| json!({"text": text(n), "spans": [{"start": 0, "end": 4, "label": "A"}]});
        assert_eq!(found(row), is("entities", "text, spans"));
    }

    #[test]
    fn several_labels_are_told_from_one() {
        let genres = ["drama", "comedy", "crime", "war"];
        let pair = |n: usize, by: &str| format!("{}{by}{}", genres[n % 4], genres[(n / 4) % 4]);
        assert_eq!(found(|n| json!({"text": text(n), "genres": [genres[n % 4]]})), is("labels", "genres None"));
        assert_eq!(found(|n| json!({"text": text(n), "labels": [n % 5, 1]})), is("labels", "labels None"));
        assert_eq!(found(|n| json!({"text": text(n), "genres": pair(n, "|")})), is("labels", "genres Some('|')"));
        assert_eq!(found(|n| json!({"text": text(n), "label": pair(n, ", ")})), is("labels", "label Some(',')"));
        let one = |n| json!({"text": text(n), "label": (["Politics, World", "Sports"][n % 2])});
        assert_eq!(found(one), None, "a comma in the name of a class");
    }

    #[test]
    fn numbers_are_told_from_classes() {
        let stsb = |n: usize| json!({"sentence1": text(n), "sentence2": text(n + 50), "label": (n % 26) as f64 / 5.0});
        assert_eq!(found(stsb), is("number", "label"));
        let cells = |n: usize| json!({"text": text(n), "price": format!("{}.5", n)});
        assert_eq!(found(cells), is("number", "price"));
        assert_eq!(found(|n| json!({"text": text(n), "score": n * n})), is("number", "score"));
        assert_eq!(found(|n| json!({"text": text(n), "label": n % 30})), None, "as many classes without a gap");
        assert_eq!(found(|n| json!({"text": text(n), "stars": n % 5 + 1})), None);
        let beside = |n: usize| json!({"text": text(n), "label": n % 2, "score": n as f64 / 7.0 + 0.1});
        assert_eq!(found(beside), None, "a class that is named so goes before");
    }

    #[test]
    fn a_file_in_columns_is_known_by_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let is = |content: &str| {
            let path = dir.path().join("train.txt");
            std::fs::write(&path, content).unwrap();
            is_conll(&path)
        };
        assert!(is("-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\nPeter NNP B-PER\n"));
        assert!(!is("A film that I liked.\nAnother one.\n"));
        assert!(!is("two words\nof prose\n"));
        assert!(!is_conll(&dir.path().join("none.txt")));
    }
}
