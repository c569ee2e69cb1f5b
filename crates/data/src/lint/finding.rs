//! What was found, as data and as the sentence that a person would say.

use suggest::{counted, thousands};

use crate::Place;
use crate::language::Unread;

/// Rows that a finding names.
pub(super) const SHOWN: usize = 5;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; often as it should be.
    Note,
    /// The run, or what its scores are taken for, suffers from it.
    Warning,
}

/// What is the matter, with what is particular to it. Texts are the same where they and their second texts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FindingKind {
    /// Training rows with the text of an earlier one.
    Repeated,
    /// Validation rows with the text of a training row.
    Leaked,
    /// Rows of both splits that have the text of another row, but not its label.
    Conflicting,
    /// Training rows that would be left out if of those nearly alike one were kept; exact repetitions are not counted.
    NearlyRepeated,
    /// Validation rows that are nearly like a training row, but not the same.
    NearlyLeaked,
    /// The same of rows that differ from the other in numbers alone: often what such a row is about.
    RepeatedButForNumbers,
    LeakedButForNumbers,
    /// Nothing but spaces and punctuation.
    Blank,
    /// Longer than the model is given. `tokens` is the number of all tokens of the split.
    Truncated {
        max_length: usize,
        /// The model takes no more.
        is_most: bool,
        rows: usize,
        lost: usize,
        tokens: usize,
        /// Both are lower bounds.
        at_least: bool,
    },
    /// UTF-8 read as Latin-1 or Windows-1252: the first that was seen, and what it was.
    Mojibake {
        seen: String,
        meant: String,
    },
    /// U+FFFD, which stands for what could not be read.
    Replacement,
    /// Control characters other than tabs and line breaks.
    Control,
    /// `&amp;` and the like; the first that was seen.
    Entities {
        seen: String,
    },
    /// Line breaks with cells of rows around them: rows that became one text.
    Swallowed,
    /// The largest class has at least five times the rows of the smallest.
    Imbalanced {
        largest: (String, usize),
        smallest: (String, usize),
    },
    /// Classes with fewer than five training rows.
    Small {
        classes: Vec<(String, usize)>,
    },
    /// Classes with validation rows, but without a training row.
    Unseen {
        classes: Vec<String>,
    },
    /// Rows whose label is another one but for letter case and outer spaces: such labels, and the more frequent other.
    Spelling {
        labels: Vec<(String, String)>,
    },
    /// Rows whose text is the name of their class.
    TextIsLabel,
    /// Conversations with this field in a message, which neither kindling nor the chat template reads.
    UnreadField {
        field: String,
    },
    /// Of these tokens too many are not in the vocabulary of the tokenizer; the words that are unknown most often.
    UnknownTokens {
        tokens: usize,
        words: Vec<String>,
    },
    /// The tokenizer cuts words into so many tokens that it was made for another language: tokens in a hundred words, and
    /// frequent words with their tokens.
    ManyTokens {
        of_hundred_words: usize,
        words: Vec<(String, usize)>,
    },
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub kind: FindingKind,
    /// How many rows it is about; classes for `Imbalanced`, `Small` and `Unseen`, tokens for `UnknownTokens` and
    /// `ManyTokens`.
    pub count: usize,
    /// The first rows, at most five; none where it is about classes.
    pub places: Vec<Place>,
    /// For each of these the row that it repeats or contradicts; empty for other kinds.
    pub twins: Vec<Place>,
    /// What messages call the rows it is about, and those of the training data.
    data: String,
    train: String,
}

impl Finding {
    /// A field of messages that has no effect.
    pub fn unread(unread: Unread) -> Self {
        let data = unread.places.first().map(Place::file).unwrap_or_default();
        let kind = FindingKind::UnreadField { field: unread.field };
        Self::new(kind, unread.rows, &data).at(unread.places)
    }

    pub(super) fn new(kind: FindingKind, count: usize, data: &str) -> Self {
        Self { kind, count, places: Vec::new(), twins: Vec::new(), data: data.to_owned(), train: String::new() }
    }

    pub(super) fn at(mut self, places: impl IntoIterator<Item = Place>) -> Self {
        self.places = places.into_iter().take(SHOWN).collect();
        self
    }

    pub(super) fn pairs(mut self, pairs: impl IntoIterator<Item = (Place, Place)>) -> Self {
        (self.places, self.twins) = pairs.into_iter().take(SHOWN).unzip();
        self
    }

    pub(super) fn against(mut self, train: String) -> Self {
        self.train = train;
        self
    }

    pub fn severity(&self) -> Severity {
        match self.kind {
            FindingKind::Leaked
            | FindingKind::Conflicting
            | FindingKind::NearlyLeaked
            | FindingKind::Blank
            | FindingKind::Mojibake { .. }
            | FindingKind::Replacement
            | FindingKind::Control
            | FindingKind::Swallowed
            | FindingKind::Unseen { .. }
            | FindingKind::Spelling { .. }
            | FindingKind::UnreadField { .. }
            | FindingKind::UnknownTokens { .. }
            | FindingKind::ManyTokens { .. } => Severity::Warning,
            // A few long rows are usual, many mean that the model does not see what it is asked about.
            FindingKind::Truncated { rows, .. } if self.count * 10 > rows => Severity::Warning,
            FindingKind::Truncated { .. }
            | FindingKind::Repeated
            | FindingKind::NearlyRepeated
            | FindingKind::RepeatedButForNumbers
            | FindingKind::LeakedButForNumbers
            | FindingKind::Entities { .. }
            | FindingKind::Imbalanced { .. }
            | FindingKind::Small { .. }
            | FindingKind::TextIsLabel => Severity::Note,
        }
    }

    /// The kind in one word or two, for those who read JSON.
    pub fn name(&self) -> &'static str {
        match self.kind {
            FindingKind::Repeated => "repeated",
            FindingKind::Leaked => "leaked",
            FindingKind::Conflicting => "conflicting",
            FindingKind::NearlyRepeated => "nearly_repeated",
            FindingKind::NearlyLeaked => "nearly_leaked",
            FindingKind::RepeatedButForNumbers => "repeated_but_for_numbers",
            FindingKind::LeakedButForNumbers => "leaked_but_for_numbers",
            FindingKind::Blank => "blank",
            FindingKind::Truncated { .. } => "truncated",
            FindingKind::Mojibake { .. } => "mojibake",
            FindingKind::Replacement => "replacement",
            FindingKind::Control => "control",
            FindingKind::Entities { .. } => "entities",
            FindingKind::Swallowed => "swallowed",
            FindingKind::Imbalanced { .. } => "imbalanced",
            FindingKind::Small { .. } => "small",
            FindingKind::Unseen { .. } => "unseen",
            FindingKind::Spelling { .. } => "spelling",
            FindingKind::TextIsLabel => "text_is_label",
            FindingKind::UnreadField { .. } => "unread_field",
            FindingKind::UnknownTokens { .. } => "unknown_tokens",
            FindingKind::ManyTokens { .. } => "many_tokens",
        }
    }

    /// One line: what, how often, where.
    pub fn message(&self) -> String {
        format!("{} {}{}", self.subject(), self.predicate(), self.shown())
    }

    fn subject(&self) -> String {
        let Self { count, data, .. } = self;
        match &self.kind {
            FindingKind::Conflicting => counted(*count, "row", "rows"),
            FindingKind::Truncated { rows, .. } => {
                format!("{} of {} of {data}", thousands(*count), counted(*rows, "row", "rows"))
            }
            FindingKind::Imbalanced { .. } => format!("the classes of {data}"),
            FindingKind::UnknownTokens { tokens, .. } => {
                format!("{} % of the tokens of {data}", (100 * count).div_ceil(*tokens).min(100))
            }
            FindingKind::ManyTokens { .. } => format!("the words of {data}"),
            FindingKind::Small { .. } | FindingKind::Unseen { .. } => {
                format!("{} of {data}", counted(*count, "class", "classes"))
            }
            FindingKind::Repeated
            | FindingKind::Leaked
            | FindingKind::NearlyRepeated
            | FindingKind::NearlyLeaked
            | FindingKind::RepeatedButForNumbers
            | FindingKind::LeakedButForNumbers
            | FindingKind::Blank
            | FindingKind::Mojibake { .. }
            | FindingKind::Replacement
            | FindingKind::Control
            | FindingKind::Entities { .. }
            | FindingKind::Swallowed
            | FindingKind::Spelling { .. }
            | FindingKind::TextIsLabel
            | FindingKind::UnreadField { .. } => format!("{} of {data}", counted(*count, "row", "rows")),
        }
    }

    fn predicate(&self) -> String {
        let train = &self.train;
        let say = |one: &'static str, several: &'static str| if self.count == 1 { one } else { several };
        let (has, holds, repeats) = (say("has", "have"), say("holds", "hold"), say("repeats", "repeat"));
        match &self.kind {
            FindingKind::Repeated => format!("{repeats} an earlier one"),
            FindingKind::Leaked => format!("{} in {train} too", say("stands", "stand")),
            FindingKind::Conflicting => format!("{has} the text of another, but not its label"),
            FindingKind::NearlyRepeated => format!("nearly {repeats} another"),
            FindingKind::NearlyLeaked => format!("nearly {repeats} one of {train}"),
            FindingKind::RepeatedButForNumbers => format!("{repeats} another if numbers are ignored"),
            FindingKind::LeakedButForNumbers => format!("{repeats} one of {train} if numbers are ignored"),
            FindingKind::Blank => format!("{holds} nothing but spaces and punctuation"),
            FindingKind::Truncated { max_length, lost, tokens, at_least, .. } => {
                let (is, are_cut) = (say("is", "are"), if *lost == 1 { "is" } else { "are" });
                let (lost, tokens) = (thousands(*lost), thousands(*tokens));
                let at_least = if *at_least { "at least " } else { "" };
                format!("{is} longer than {max_length} tokens: {at_least}{lost} of {tokens} tokens {are_cut} cut off")
            }
            FindingKind::Mojibake { seen, meant } => {
                format!("{holds} UTF-8 that was read as another encoding, such as `{seen}` for `{meant}`")
            }
            FindingKind::Replacement => {
                format!("{holds} the replacement character U+FFFD, which stands for a lost one")
            }
            FindingKind::Control => format!("{holds} control characters"),
            FindingKind::Entities { seen } => format!("{holds} entities of HTML, such as `{seen}`"),
            FindingKind::Swallowed => {
                format!(
                    "{holds} line breaks between cells, as if {} other rows",
                    say("it had swallowed", "they had swallowed")
                )
            }
            FindingKind::Imbalanced { largest, smallest } => {
                let ((most, rows), (least, fewest)) = (largest, smallest);
                let rows = counted(*rows, "row", "rows");
                format!("differ in size: {rows} of `{most}`, {} of `{least}`", thousands(*fewest))
            }
            FindingKind::Small { classes } => {
                format!("{has} fewer than 5 rows: {}", listed(classes, |(name, rows)| format!("`{name}` ({rows})")))
            }
            FindingKind::Unseen { classes } => {
                format!("{has} no row in {train}: {}", listed(classes, |name| format!("`{name}`")))
            }
            FindingKind::Spelling { labels } => {
                let labels = listed(labels, |(odd, usual)| format!("`{odd}` for `{usual}`"));
                format!("{has} a label that differs from another in letter case or outer spaces alone: {labels}")
            }
            FindingKind::TextIsLabel => format!("{has} the name of the class as text"),
            FindingKind::UnreadField { field } => {
                format!("{has} `{field}`, which neither kindling nor the model's chat template reads")
            }
            FindingKind::UnknownTokens { words, .. } => {
                format!("are unknown to the tokenizer: {}", listed(words, |word| format!("`{word}`")))
            }
            FindingKind::ManyTokens { of_hundred_words, words } => {
                let mean = *of_hundred_words as f64 / 100.0;
                let words = listed(words, |(word, tokens)| format!("`{word}` ({tokens})"));
                format!(
                    "have {mean:.1} tokens each, where the tokenizer of a model that reads them makes one or two: {words}"
                )
            }
        }
    }

    /// What can be done about it.
    pub fn advice(&self) -> Option<&'static str> {
        match &self.kind {
            FindingKind::Repeated | FindingKind::NearlyRepeated => {
                Some("they weigh more than other rows; remove them unless that is meant")
            }
            FindingKind::Leaked | FindingKind::NearlyLeaked => {
                Some("validation scores will flatter: remove these rows from one of the two")
            }
            FindingKind::RepeatedButForNumbers => Some("as it should be where the numbers matter"),
            FindingKind::LeakedButForNumbers => {
                Some("as it should be where the numbers matter; where they do not, validation scores will flatter")
            }
            FindingKind::Conflicting => Some("give the same text the same label, or remove it"),
            FindingKind::Blank => Some("remove them: there is nothing in them to learn from"),
            FindingKind::Truncated { is_most: false, .. } => Some("raise `data.max_length`, or shorten them"),
            FindingKind::Truncated { is_most: true, .. } => {
                Some("the model takes no more: shorten them, or make several rows of each")
            }
            FindingKind::Mojibake { .. } => Some("read the source as UTF-8 and write the file again"),
            FindingKind::Replacement => Some("write the file again from its source, in UTF-8"),
            FindingKind::Control => Some("remove these characters: a tokenizer drops them or makes odd tokens of them"),
            FindingKind::Entities { .. } => Some("unescape the texts, unless those to be classified have them too"),
            FindingKind::Swallowed => {
                Some("look for double quotes that quote nothing: double them and put their cells in double quotes")
            }
            FindingKind::Imbalanced { .. } => Some("look at the scores of each class, not at accuracy alone"),
            FindingKind::Small { .. } => Some("add rows, or join these classes with others"),
            FindingKind::Unseen { .. } => Some("add training rows of these classes: what is not shown is not learnt"),
            FindingKind::Spelling { .. } => Some("write each label one way: as they stand they are different classes"),
            FindingKind::TextIsLabel => None,
            FindingKind::UnreadField { .. } => {
                Some("the model does not see it: put what matters into the content, or remove the field")
            }
            FindingKind::UnknownTokens { .. } => Some(
                "the model cannot tell these apart: take one whose vocabulary has them, such as a multilingual one",
            ),
            FindingKind::ManyTokens { .. } => Some(
                "the model sees letters or less: take one that was trained on this language, such as a multilingual one",
            ),
        }
    }

    /// ` (first: lines 14, 87, 203)`, without the `first` where these are all.
    fn shown(&self) -> String {
        if self.places.is_empty() {
            return String::new();
        }
        let listed = if self.twins.is_empty() {
            Place::numbers(&self.places)
        } else {
            let pairs: Vec<String> =
                self.places.iter().zip(&self.twins).map(|(place, twin)| self.pair(place, twin)).collect();
            pairs.join(", ")
        };
        format!(" ({}{listed})", if self.places.len() < self.count { "first: " } else { "" })
    }

    fn pair(&self, place: &Place, twin: &Place) -> String {
        let bare = |place: &Place| format!("{} {}", place.unit(), place.number());
        match self.kind {
            // Which files these rows are in the sentence has said.
            FindingKind::NearlyRepeated
            | FindingKind::NearlyLeaked
            | FindingKind::RepeatedButForNumbers
            | FindingKind::LeakedButForNumbers => format!("{} like {}", bare(place), bare(twin)),
            _ if self.is_in_one_file() => format!("{} and {}", bare(place), bare(twin)),
            _ => format!("{} of {} and {} of {}", bare(place), place.file(), bare(twin), twin.file()),
        }
    }

    fn is_in_one_file(&self) -> bool {
        let mut places = self.places.iter().chain(&self.twins).map(Place::file);
        let first = places.next();
        places.all(|file| Some(file) == first)
    }
}

fn listed<T>(items: &[T], shown: impl Fn(&T) -> String) -> String {
    let items: Vec<String> = items.iter().map(shown).collect();
    suggest::list(items.iter().map(String::as_str))
}
