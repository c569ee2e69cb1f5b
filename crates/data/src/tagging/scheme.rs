//! How tags say where an entity begins and ends: IOB1, IOB2 (BIO), IOBES, BILOU, or not at all. Seen from the tags of a
//! file, or from the names of a model's classes.

use indexmap::IndexMap;

use crate::{Error, Place};

/// The tag of a word that belongs to no entity.
pub(super) const OUTSIDE: &str = "O";

/// seqeval's name for the type of the bare tags `B`, `I`, ...
pub(super) const NAMELESS: &str = "_";

/// The prefixes of tags, and what each stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `I-` for each word of an entity, `B-` only where one of the same type goes before it (CoNLL-2003).
    Iob1,
    /// `B-` for the first word of an entity and `I-` for the others (BIO).
    Iob2,
    /// IOB2 with `E-` for the last word and `S-` for a single one.
    Iobes,
    /// IOBES whose `E-` is `L-` and whose `S-` is `U-`.
    Bilou,
    /// No prefixes: each tag is a type, and `O`, where there is one, is none.
    Plain,
}

/// What the prefix of a tag says of its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Outside,
    Begin,
    Inside,
    End,
    Single,
}

impl Scheme {
    const NAMES: [(Self, &str); 5] = [
        (Self::Iob1, "iob1"),
        (Self::Iob2, "iob2"),
        (Self::Iobes, "iobes"),
        (Self::Bilou, "bilou"),
        (Self::Plain, "plain"),
    ];

    /// As files name it.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(scheme, _)| *scheme == self).map_or("", |(_, name)| name)
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(scheme, _)| *scheme)
    }

    /// As the names of classes show it. Names alone do not tell IOB1 from IOB2, which is what is taken.
    pub fn of_names<'a>(names: impl IntoIterator<Item = &'a str> + Clone) -> Self {
        if !is_prefixed(names.clone()) {
            return Self::Plain;
        }
        Self::of_prefixes(names)
    }

    fn of_prefixes<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut letters = names.into_iter().filter_map(|name| split(name)).map(|(letter, _)| letter);
        let found = letters.by_ref().fold([false; 2], |[iobes, bilou], letter| {
            [iobes || matches!(letter, 'E' | 'S'), bilou || matches!(letter, 'L' | 'U')]
        });
        match found {
            [true, _] => Self::Iobes,
            [false, true] => Self::Bilou,
            [false, false] => Self::Iob2,
        }
    }

    /// The tag of a word of an entity of `length` words, which is number `nth` of them; `follows`: the word before the
    /// entity belongs to another one of the same type.
    pub(super) fn tag(self, entity_type: &str, nth: usize, length: usize, follows: bool) -> String {
        let is_last = nth + 1 == length;
        let prefix = match (self, nth) {
            (Self::Plain, _) => return entity_type.to_owned(),
            (Self::Iob1, 0) if !follows => 'I',
            (Self::Iobes, 0) if is_last => 'S',
            (Self::Bilou, 0) if is_last => 'U',
            (_, 0) => 'B',
            (Self::Iobes, _) if is_last => 'E',
            (Self::Bilou, _) if is_last => 'L',
            _ => 'I',
        };
        if entity_type == NAMELESS { prefix.to_string() } else { format!("{prefix}-{entity_type}") }
    }
}

/// The position and the type that a tag says; `None` for one without a prefix.
pub(super) fn parse(tag: &str) -> Option<(Position, &str)> {
    if tag == OUTSIDE {
        return Some((Position::Outside, NAMELESS));
    }
    let (letter, entity_type) = split(tag)?;
    let position = match letter {
        'B' => Position::Begin,
        'I' => Position::Inside,
        'E' | 'L' => Position::End,
        _ => Position::Single,
    };
    Some((position, entity_type))
}

fn split(tag: &str) -> Option<(char, &str)> {
    let letter = tag.chars().next().filter(|letter| "BIESLU".contains(*letter))?;
    match &tag[1..] {
        "" => Some((letter, NAMELESS)),
        rest => rest.strip_prefix('-').filter(|rest| !rest.is_empty()).map(|rest| (letter, rest)),
    }
}

/// Whether most tags but `O` have a prefix: the others are then slips.
fn is_prefixed<'a>(tags: impl IntoIterator<Item = &'a str>) -> bool {
    let (mut prefixed, mut others) = (0, 0);
    for tag in tags.into_iter().filter(|tag| *tag != OUTSIDE) {
        match split(tag) {
            Some(_) => prefixed += 1,
            None => others += 1,
        }
    }
    prefixed > others
}

/// The different tags of a file, each with the place where it stands first, and what their order tells of the scheme.
#[derive(Debug, Default)]
pub struct SchemeTally {
    seen: IndexMap<String, Place>,
    /// An entity begins with `I-`.
    begins_inside: bool,
    /// A `B-` begins an entity that does not touch one of its type.
    begins_apart: bool,
}

impl SchemeTally {
    /// Adds the tags of a sentence; `place` says where the tag of a word stands.
    pub fn add<'a>(&mut self, tags: impl IntoIterator<Item = &'a str>, place: impl Fn(usize) -> Place) {
        let mut before = (Position::Outside, NAMELESS);
        for (n, tag) in tags.into_iter().enumerate() {
            if !self.seen.contains_key(tag) {
                self.seen.insert(tag.to_owned(), place(n));
            }
            let now = parse(tag).unwrap_or((Position::Outside, NAMELESS));
            let touches = before.0 != Position::Outside && before.1 == now.1;
            match now.0 {
                Position::Inside => self.begins_inside |= !touches,
                Position::Begin => self.begins_apart |= !touches,
                Position::Outside | Position::End | Position::Single => {}
            }
            before = now;
        }
    }

    /// The scheme of all tags that were added. An error names the first tag that has no prefix where most have one.
    pub fn scheme(&self) -> Result<Scheme, Error> {
        let tags = || self.seen.keys().map(String::as_str);
        if !is_prefixed(tags()) {
            return Ok(Scheme::Plain);
        }
        if let Some((tag, place)) = self.seen.iter().find(|(tag, _)| parse(tag).is_none()) {
            return Err(Error::NoTagOfScheme { place: place.clone(), tag: tag.clone(), help: self.instead_of(tag) });
        }
        Ok(match Scheme::of_prefixes(tags()) {
            Scheme::Iob2 if self.begins_inside && !self.begins_apart => Scheme::Iob1,
            scheme => scheme,
        })
    }

    fn instead_of(&self, tag: &str) -> String {
        let known = || self.seen.keys().map(String::as_str).filter(|known| parse(known).is_some());
        if tag == "0" {
            return "did you mean the letter `O`?".to_owned();
        }
        if known().any(|known| split(known).is_some_and(|(_, entity_type)| entity_type == tag)) {
            return format!(
                "write `B-{tag}` for the first word of an entity and `I-{tag}` for those that follow, or give no tag a prefix"
            );
        }
        suggest::suggestion(tag, known().collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use miette::Diagnostic;

    use super::*;

    fn scheme(sentences: &[&str]) -> Result<Scheme, Error> {
        let mut tally = SchemeTally::default();
        for (n, sentence) in sentences.iter().enumerate() {
            tally.add(sentence.split(' '), |_| Place::new(Path::new("train.jsonl"), n + 1));
        }
        tally.scheme()
    }

    #[test]
    fn schemes_are_known_by_prefixes_and_order() {
        for (sentences, expected) in [
            (&["O I-PER I-PER O", "I-LOC B-LOC O"][..], Scheme::Iob1),
            (&["O I-PER I-PER"], Scheme::Iob1),
            (&["O B-PER I-PER O", "B-LOC B-LOC O"], Scheme::Iob2),
            (&["O B-PER I-PER O", "I-LOC O"], Scheme::Iob2),
            (&["B-PER E-PER O", "S-LOC"], Scheme::Iobes),
            (&["B-PER L-PER O", "U-LOC"], Scheme::Bilou),
            (&["B I O O B"], Scheme::Iob2),
            (&["DET NOUN VERB", "NOUN O"], Scheme::Plain),
            (&["PER PER O LOC"], Scheme::Plain),
            (&["O O"], Scheme::Plain),
        ] {
            assert_eq!(scheme(sentences).unwrap(), expected, "{sentences:?}");
        }
        assert_eq!(Scheme::of_names(["O", "B-PER", "I-PER"]), Scheme::Iob2);
        assert_eq!(Scheme::of_names(["NOUN", "VERB", "O"]), Scheme::Plain);
        assert_eq!(Scheme::of_names(["O", "U-PER", "B-PER"]), Scheme::Bilou);
    }

    #[test]
    fn a_tag_without_a_prefix_among_others_is_an_error_with_what_was_meant() {
        let says = |sentences: &[&str]| {
            let error = scheme(sentences).unwrap_err();
            (error.to_string(), error.help().unwrap().to_string())
        };
        let (message, help) = says(&["B-PER I-PER O", "B_PER O"]);
        assert_eq!(message, "train.jsonl, line 2: the tag `B_PER` has no prefix, which most tags have");
        assert_eq!(help, "did you mean `B-PER`?");
        assert_eq!(says(&["B-PER I-PER 0"]).1, "did you mean the letter `O`?");
        assert_eq!(
            says(&["B-PER I-PER PER"]).1,
            "write `B-PER` for the first word of an entity and `I-PER` for those that follow, or give no tag a prefix"
        );
        assert_eq!(says(&["B-PER I-PER unsure O"]).1, "known: B-PER, I-PER, O");
    }
}
