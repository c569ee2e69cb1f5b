//! Tags and the spans of words that they mark, in both directions.

use std::collections::{BTreeMap, BTreeSet};

use super::scheme::{self, OUTSIDE, Position, Scheme};

/// An entity as a range of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first word, and the one after the last.
    pub start: usize,
    pub end: usize,
    /// The number of its type among [`TagSet::types`].
    pub entity_type: usize,
}

/// The tags of a model, which are its classes, and the types of entities that they name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagSet {
    scheme: Scheme,
    /// Of each class.
    tags: Vec<Tag>,
    /// The number of the class with each name.
    numbers: BTreeMap<String, usize>,
    types: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag {
    position: Position,
    entity_type: usize,
}

impl TagSet {
    /// `names` are the tags in the order of their classes. In a scheme with prefixes a name without one is inside an
    /// entity of its name.
    pub fn new(names: &[String], scheme: Scheme) -> Self {
        let parsed = |name: &str| match scheme {
            Scheme::Plain if name != OUTSIDE => None,
            _ => scheme::parse(name).map(|(position, entity_type)| (position, entity_type.to_owned())),
        };
        let all: Vec<(Position, String)> =
            names.iter().map(|name| parsed(name).unwrap_or((Position::Inside, name.clone()))).collect();
        let is_inside = |position: &Position| *position != Position::Outside;
        let types: BTreeSet<&String> =
            all.iter().filter(|(position, _)| is_inside(position)).map(|(_, entity_type)| entity_type).collect();
        let types: Vec<String> = types.into_iter().cloned().collect();
        // That of the outside is never looked at.
        let number = |entity_type: &String| types.binary_search(entity_type).unwrap_or(0);
        let tags = all.iter().map(|(position, it)| Tag { position: *position, entity_type: number(it) }).collect();
        let numbers = names.iter().cloned().zip(0..).collect();
        Self { scheme, tags, numbers, types }
    }

    /// The types of entities, in the order of their code points. The type of bare tags (`B`, `I`) is `_`.
    pub fn types(&self) -> &[String] {
        &self.types
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The class of a word outside of entities.
    pub fn outside(&self) -> Option<usize> {
        self.numbers.get(OUTSIDE).copied()
    }

    /// The entities that the classes of a sentence's words mark, in their order.
    ///
    /// As `get_entities` of seqeval 1.2 in its default mode, which repairs what no scheme allows: an `I-` or `E-` that
    /// follows nothing of its type begins an entity. BILOU is read as the IOBES that it stands for, which that mode does
    /// not know. Without prefixes, a run of the same type is an entity.
    ///
    /// # Panics
    /// If a class has no tag.
    pub fn spans(&self, classes: &[usize]) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut open: Option<Span> = None;
        let mut before = Tag { position: Position::Outside, entity_type: 0 };
        for (n, class) in classes.iter().enumerate() {
            let tag = self.tags[*class];
            if tag.position == Position::Outside || begins(before, tag) {
                spans.extend(open.take());
            }
            if tag.position != Position::Outside {
                let start = open.map_or(n, |span| span.start);
                open = Some(Span { start, end: n + 1, entity_type: tag.entity_type });
            }
            before = tag;
        }
        spans.extend(open);
        spans
    }

    /// The classes of `words` words with these entities: ascending, apart from each other. The error is the name of a tag
    /// that is no class.
    ///
    /// # Panics
    /// If an entity has a type that there is not, or ends after the last word.
    pub fn classes(&self, spans: &[Span], words: usize) -> Result<Vec<usize>, String> {
        let number = |name: String| self.numbers.get(&name).copied().ok_or(name);
        let mut classes = Vec::with_capacity(words);
        let mut before: Option<&Span> = None;
        for span in spans {
            while classes.len() < span.start {
                classes.push(number(OUTSIDE.to_owned())?);
            }
            let follows =
                before.is_some_and(|before| before.end == span.start && before.entity_type == span.entity_type);
            let length = span.end - span.start;
            for nth in 0..length {
                classes.push(number(self.scheme.tag(&self.types[span.entity_type], nth, length, follows))?);
            }
            before = Some(span);
        }
        while classes.len() < words {
            classes.push(number(OUTSIDE.to_owned())?);
        }
        Ok(classes)
    }
}

/// Whether a tag that is not outside begins an entity: `start_of_chunk` of seqeval.
fn begins(before: Tag, tag: Tag) -> bool {
    matches!(tag.position, Position::Begin | Position::Single)
        || matches!(before.position, Position::Outside | Position::End | Position::Single)
        || before.entity_type != tag.entity_type
}

/// The tags of a model that is to find entities of these types in texts: IOB2, in the order of their code points.
pub(super) fn names_of_types(types: &BTreeSet<String>) -> Vec<String> {
    let prefixed = |entity_type: &String| {
        let of = |nth| Scheme::Iob2.tag(entity_type, nth, 2, false);
        [of(0), of(1)]
    };
    let mut names: Vec<String> = types.iter().flat_map(prefixed).chain([OUTSIDE.to_owned()]).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SCHEMES: [Scheme; 5] = [Scheme::Iob1, Scheme::Iob2, Scheme::Iobes, Scheme::Bilou, Scheme::Plain];

    fn names(scheme: Scheme) -> Vec<String> {
        let letters = match scheme {
            Scheme::Iob1 | Scheme::Iob2 => "BI",
            Scheme::Iobes => "BIES",
            Scheme::Bilou => "BILU",
            Scheme::Plain => return ["LOC", "O", "PER"].map(str::to_owned).into(),
        };
        let of_type =
            |entity_type: &str| letters.chars().map(move |it| format!("{it}-{entity_type}")).collect::<Vec<_>>();
        let mut names = [of_type("PER"), of_type("LOC")].concat();
        names.push("O".to_owned());
        names
    }

    fn spans(sentence: &str) -> Vec<(String, usize, usize)> {
        let tags: Vec<String> = sentence.split(' ').map(str::to_owned).collect();
        let distinct: Vec<String> = tags.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        let set = TagSet::new(&distinct, Scheme::of_names(distinct.iter().map(String::as_str)));
        let classes: Vec<usize> = tags.iter().map(|tag| distinct.binary_search(tag).unwrap()).collect();
        set.spans(&classes).into_iter().map(|it| (set.types[it.entity_type].clone(), it.start, it.end - 1)).collect()
    }

    #[test]
    fn spans_are_those_of_seqeval() {
        // seqeval 1.2.2: get_entities(sentence.split())
        for (sentence, expected) in SEQEVAL {
            let expected: Vec<_> = expected.iter().map(|(it, start, end)| ((*it).to_owned(), *start, *end)).collect();
            assert_eq!(spans(sentence), expected, "{sentence}");
        }
    }

    type Expected = &'static [(&'static str, usize, usize)];
    const SEQEVAL: &[(&str, Expected)] = &[
        ("I-PER I-PER O", &[("PER", 0, 1)]),
        ("B-PER I-LOC I-LOC O", &[("PER", 0, 0), ("LOC", 1, 2)]),
        ("B-A-B I-A-B I-B", &[("A-B", 0, 1), ("B", 2, 2)]),
        ("B I O I B", &[("_", 0, 1), ("_", 3, 3), ("_", 4, 4)]),
        ("E-PER E-PER I-PER", &[("PER", 0, 0), ("PER", 1, 1), ("PER", 2, 2)]),
        ("S-PER I-PER E-PER B-PER E-LOC", &[("PER", 0, 0), ("PER", 1, 2), ("PER", 3, 3), ("LOC", 4, 4)]),
        (
            "B-LOC B-PER I-LOC B-PER S-PER S-PER S-PER E-LOC",
            &[
                ("LOC", 0, 0),
                ("PER", 1, 1),
                ("LOC", 2, 2),
                ("PER", 3, 3),
                ("PER", 4, 4),
                ("PER", 5, 5),
                ("PER", 6, 6),
                ("LOC", 7, 7),
            ],
        ),
        (
            "I-PER B-PER S-PER O E-LOC E-LOC O S-PER",
            &[("PER", 0, 0), ("PER", 1, 1), ("PER", 2, 2), ("LOC", 4, 4), ("LOC", 5, 5), ("PER", 7, 7)],
        ),
        ("I-LOC I-PER B-PER E-PER O O O S-LOC", &[("LOC", 0, 0), ("PER", 1, 1), ("PER", 2, 3), ("LOC", 7, 7)]),
        (
            "O E-LOC I-PER E-LOC O S-LOC I-PER S-PER",
            &[("LOC", 1, 1), ("PER", 2, 2), ("LOC", 3, 3), ("LOC", 5, 5), ("PER", 6, 6), ("PER", 7, 7)],
        ),
        (
            "S-PER S-LOC I-PER E-PER I-PER I-PER S-PER I-LOC",
            &[("PER", 0, 0), ("LOC", 1, 1), ("PER", 2, 3), ("PER", 4, 5), ("PER", 6, 6), ("LOC", 7, 7)],
        ),
        (
            "O E-LOC S-LOC B-PER B-LOC I-LOC B-PER E-PER",
            &[("LOC", 1, 1), ("LOC", 2, 2), ("PER", 3, 3), ("LOC", 4, 5), ("PER", 6, 7)],
        ),
        (
            "S-LOC E-LOC S-LOC I-PER I-LOC I-LOC S-PER S-LOC",
            &[("LOC", 0, 0), ("LOC", 1, 1), ("LOC", 2, 2), ("PER", 3, 3), ("LOC", 4, 5), ("PER", 6, 6), ("LOC", 7, 7)],
        ),
        (
            "E-LOC O S-PER I-PER E-LOC E-LOC B-LOC E-PER",
            &[("LOC", 0, 0), ("PER", 2, 2), ("PER", 3, 3), ("LOC", 4, 4), ("LOC", 5, 5), ("LOC", 6, 6), ("PER", 7, 7)],
        ),
        (
            "S-LOC E-PER B-PER S-PER S-LOC B-PER B-LOC S-LOC",
            &[
                ("LOC", 0, 0),
                ("PER", 1, 1),
                ("PER", 2, 2),
                ("PER", 3, 3),
                ("LOC", 4, 4),
                ("PER", 5, 5),
                ("LOC", 6, 6),
                ("LOC", 7, 7),
            ],
        ),
        (
            "E-LOC E-PER S-PER O S-PER O I-LOC E-LOC",
            &[("LOC", 0, 0), ("PER", 1, 1), ("PER", 2, 2), ("PER", 4, 4), ("LOC", 6, 7)],
        ),
        (
            "B-LOC B-LOC S-LOC I-PER O I-PER S-LOC S-LOC",
            &[("LOC", 0, 0), ("LOC", 1, 1), ("LOC", 2, 2), ("PER", 3, 3), ("PER", 5, 5), ("LOC", 6, 6), ("LOC", 7, 7)],
        ),
        (
            "I-PER E-LOC S-LOC E-PER E-PER S-PER I-LOC S-LOC",
            &[
                ("PER", 0, 0),
                ("LOC", 1, 1),
                ("LOC", 2, 2),
                ("PER", 3, 3),
                ("PER", 4, 4),
                ("PER", 5, 5),
                ("LOC", 6, 6),
                ("LOC", 7, 7),
            ],
        ),
    ];

    #[test]
    fn bilou_counts_as_iobes_and_plain_tags_as_runs() {
        assert_eq!(
            spans("U-PER U-PER B-LOC I-LOC L-LOC O"),
            [("PER".to_owned(), 0, 0), ("PER".to_owned(), 1, 1), ("LOC".to_owned(), 2, 4)]
        );
        assert_eq!(
            spans("PER PER O LOC PER"),
            [("PER".to_owned(), 0, 1), ("LOC".to_owned(), 3, 3), ("PER".to_owned(), 4, 4)]
        );
    }

    #[test]
    fn a_tag_that_is_no_class_is_named() {
        let set = TagSet::new(&["B-PER".to_owned(), "O".to_owned()], Scheme::Iob2);
        let span = |end| Span { start: 1, end, entity_type: 0 };
        assert_eq!(set.classes(&[span(2)], 3), Ok(vec![1, 0, 1]));
        assert_eq!(set.classes(&[span(3)], 3), Err("I-PER".to_owned()));
    }

    #[test]
    fn types_of_texts_become_tags_in_code_point_order() {
        let types = ["b".to_owned(), "A".to_owned()].into();
        assert_eq!(names_of_types(&types), ["B-A", "B-b", "I-A", "I-b", "O"]);
    }

    prop_compose! {
        /// Gap before, length and type of each entity, and the words after the last.
        fn entities()(parts in prop::collection::vec((0..3_usize, 1..4_usize, 0..2_usize), 0..6), rest in 0..3_usize)
        -> (Vec<Span>, usize) {
            let mut end = 0;
            let mut spans = Vec::new();
            for (gap, length, entity_type) in parts {
                spans.push(Span { start: end + gap, end: end + gap + length, entity_type });
                end += gap + length;
            }
            (spans, end + rest)
        }
    }

    proptest! {
        #[test]
        fn spans_come_back_from_the_tags_they_become((spans, words) in entities()) {
            for scheme in SCHEMES {
                let set = TagSet::new(&names(scheme), scheme);
                let touching = spans.windows(2)
                    .any(|pair| pair[0].end == pair[1].start && pair[0].entity_type == pair[1].entity_type);
                if scheme == Scheme::Plain && touching {
                    continue;
                }
                let classes = set.classes(&spans, words).unwrap();
                prop_assert_eq!(classes.len(), words);
                prop_assert_eq!(&set.spans(&classes), &spans, "{:?}", scheme);
            }
        }

        #[test]
        fn any_tags_give_spans_that_ascend_apart_and_cover_all_that_is_inside(
            classes in prop::collection::vec(0..9_usize, 0..12),
        ) {
            let set = TagSet::new(&names(Scheme::Iobes), Scheme::Iobes);
            let spans = set.spans(&classes);
            prop_assert!(spans.iter().all(|span| span.start < span.end));
            prop_assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start));
            let covered: usize = spans.iter().map(|span| span.end - span.start).sum();
            prop_assert_eq!(covered, classes.iter().filter(|class| **class != 8).count());
        }
    }
}
