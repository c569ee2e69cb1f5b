//! The tags of training data: which there are, in which scheme, and so the classes of a model.

use std::collections::BTreeSet;
use std::path::Path;

use super::scheme::{OUTSIDE, Scheme, SchemeTally};
use super::tag_set::names_of_types;
use super::{Content, Row, Span, TagSet};
use crate::labels::{self, text};
use crate::{Error, Label, Labels};

/// The different tags and types of entities that rows have.
#[derive(Debug, Default)]
pub struct Tally {
    tags: labels::Tally,
    scheme: SchemeTally,
    /// Of entities in texts, whose IOB2 tags are among `tags`.
    types: BTreeSet<String>,
    of_texts: bool,
}

impl Tally {
    pub fn add(&mut self, file: &Path, row: &Row) {
        match &row.content {
            Content::Words { tags: Some(tags), .. } => {
                for (n, tag) in tags.iter().enumerate() {
                    self.tags.add_label(tag, || row.place(file, n));
                }
                let names: Vec<String> = tags.iter().map(text).collect();
                self.scheme.add(names.iter().map(String::as_str), |n| row.place(file, n));
            }
            Content::Text { entities: Some(entities), .. } => {
                self.of_texts = true;
                self.tags.add_label(&Label::Text(OUTSIDE.to_owned()), || row.place(file, 0));
                for entity in entities {
                    if !self.types.insert(entity.label.clone()) {
                        continue;
                    }
                    for nth in 0..2 {
                        let tag = Scheme::Iob2.tag(&entity.label, nth, 2, false);
                        self.tags.add_label(&Label::Text(tag), || row.place(file, 0));
                    }
                }
            }
            Content::Words { tags: None, .. } | Content::Text { entities: None, .. } => {}
        }
    }

    /// The classes and what their names say. Tags are numbered as the classes of texts are: see [`crate::Tally::labels`].
    /// Entities in texts become IOB2 tags. Messages about all rows name `file`.
    pub fn labels(&self, file: &Path) -> Result<(Labels, Scheme), Error> {
        if self.types.is_empty() && (self.of_texts || self.tags.seen().len() == 0) {
            return Err(Error::NoEntities { file: file.to_owned() });
        }
        if self.types.is_empty() {
            return Ok((self.tags.labels(file)?, self.scheme.scheme()?));
        }
        let mut names: BTreeSet<String> = names_of_types(&self.types).into_iter().collect();
        names.extend(self.tags.seen().map(text));
        Ok((Labels::new(names.into_iter().collect())?, Scheme::Iob2))
    }

    /// The scheme of the tags where the classes are given; that of their names where there are no tags.
    pub fn scheme_of(&self, labels: &Labels) -> Result<Scheme, Error> {
        let of_names = Scheme::of_names(labels.names().iter().map(String::as_str));
        let by_name = self.tags.seen().all(|tag| matches!(tag, Label::Text(_)));
        match !self.of_texts && self.tags.seen().len() > 0 && by_name {
            true => self.scheme.scheme(),
            false => Ok(of_names),
        }
    }

    /// The scheme where the tags of the rows tell it; in texts nothing does.
    pub fn scheme(&self) -> Option<Scheme> {
        let by_name = || self.tags.seen().all(|tag| matches!(tag, Label::Text(_)));
        if self.of_texts || !by_name() { None } else { self.scheme.scheme().ok() }
    }

    /// The number of a tag that was added, which stays as others are added.
    pub(super) fn number(&self, tag: &Label) -> Option<usize> {
        self.tags.number(tag)
    }

    /// The tags that were added, by their provisional numbers.
    pub fn provisional(&self) -> TagSet {
        let names: Vec<String> = self.tags.seen().map(text).collect();
        TagSet::new(&names, Scheme::Iob2)
    }

    /// What makes the provisional numbers of a row's words those of `labels`. Entities in texts get the tags of the scheme
    /// that the names of the labels show.
    ///
    /// Errors: a tag or a type of entity that is none of these labels; tags that keep to no scheme.
    pub fn settled<'a>(
        &'a self,
        labels: &'a Labels,
    ) -> Result<impl Fn(&[usize]) -> Result<Vec<usize>, Error> + use<'a>, Error> {
        let tags = TagSet::new(labels.names(), self.scheme_of(labels)?);
        let provisional = self.provisional();
        let numbers = if self.of_texts { Vec::new() } else { self.tags.numbers(labels)? };
        let number = |name: &String| {
            tags.types().binary_search(name).map_err(|_| Error::UnknownLabel {
                place: self.tags.place(&Label::Text(Scheme::Iob2.tag(name, 0, 1, false))),
                label: name.clone(),
                suggestion: suggest::suggestion(name, tags.types().iter().map(String::as_str)),
            })
        };
        let of_texts = self.of_texts.then(|| provisional.types());
        let types: Vec<usize> = of_texts.into_iter().flatten().map(number).collect::<Result<_, _>>()?;
        Ok(move |classes: &[usize]| {
            if !self.of_texts {
                return Ok(classes.iter().map(|class| numbers[*class]).collect());
            }
            let settled = |span: Span| Span { entity_type: types[span.entity_type], ..span };
            let spans: Vec<Span> = provisional.spans(classes).into_iter().map(settled).collect();
            let outside = Label::Text(OUTSIDE.to_owned());
            tags.classes(&spans, classes.len())
                .or_else(|tag| labels.number(&Label::Text(tag), || self.tags.place(&outside)).map(|_| Vec::new()))
        })
    }
}

#[cfg(test)]
mod tests {
    use miette::Diagnostic;

    use super::super::Entity;
    use super::*;

    fn words(line: usize, tags: &[&str]) -> Row {
        let words = tags.iter().map(|_| "a".to_owned()).collect();
        let tags = Some(tags.iter().map(|tag| Label::Text((*tag).to_owned())).collect());
        Row { line, content: Content::Words { words, tags } }
    }

    fn labels(file: &str, rows: &[Row]) -> Result<(Vec<String>, Scheme), Error> {
        let mut tally = Tally::default();
        rows.iter().for_each(|row| tally.add(Path::new(file), row));
        tally.labels(Path::new(file)).map(|(labels, scheme)| (labels.names().to_vec(), scheme))
    }

    #[test]
    fn tags_become_classes_in_code_point_order() {
        let found = labels("a.jsonl", &[words(1, &["O", "I-PER", "B-PER"]), words(2, &["B-LOC"])]).unwrap();
        assert_eq!(found.0, ["B-LOC", "B-PER", "I-PER", "O"]);
        assert_eq!(found.1, Scheme::Iob2);
    }

    #[test]
    fn entities_become_iob2_tags() {
        let entity = |label: &str| Entity { start: 0, end: 1, label: label.to_owned() };
        let content = Content::Text { text: "a b".into(), entities: Some(vec![entity("PER"), entity("LOC")]) };
        let found = labels("a.jsonl", &[Row { line: 1, content }]).unwrap();
        assert_eq!(found, (["B-LOC", "B-PER", "I-LOC", "I-PER", "O"].map(str::to_owned).into(), Scheme::Iob2));
    }

    #[test]
    fn a_wrong_tag_of_a_conll_file_is_named_with_its_own_line() {
        let rows = [words(1, &["B-PER", "I-PER", "O"]), words(5, &["O", "B_PER"])];
        let error = labels("a.conll", &rows).unwrap_err();
        assert_eq!(error.to_string(), "a.conll, line 6: the tag `B_PER` has no prefix, which most tags have");
        assert_eq!(error.help().unwrap().to_string(), "did you mean `B-PER`?");
        assert!(labels("a.jsonl", &rows).unwrap_err().to_string().starts_with("a.jsonl, line 5: "));
    }

    #[test]
    fn numbers_take_the_scheme_of_the_given_names() {
        let mut tally = Tally::default();
        let content = Content::Words { words: vec!["a".into()], tags: Some(vec![Label::Index(1)]) };
        tally.add(Path::new("a.jsonl"), &Row { line: 1, content });
        let names = ["O", "B-PER", "E-PER"].map(str::to_owned).to_vec();
        assert_eq!(tally.scheme_of(&Labels::new(names).unwrap()).unwrap(), Scheme::Iobes);
    }
}
