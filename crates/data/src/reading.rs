//! How well a tokenizer reads texts: how much of them its vocabulary does not know, and into how many tokens it cuts a
//! word. A model cannot tell apart what its tokenizer does not know, and learns little from single letters.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::columns::Example;
use crate::tokenizer::Tokenizer;

/// After so many rows that were read every second one of the following is, then every fourth, and so on; and what is read of
/// each: enough for shares to within a percent.
const ROWS: usize = 1000;
const CHARACTERS: usize = 2000;

/// Words that are named as examples.
const SHOWN: usize = 3;

/// A word has more tokens than this where a vocabulary was made for another language: one that was made for it takes one
/// or two, and for a related language three.
const MOST_TOKENS: usize = 4;

/// Of a hundred tokens, those that may be unknown.
const MOST_UNKNOWN: usize = 5;

/// What was counted over a sample of the texts of a split.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// All tokens, and words that have none at all.
    pub tokens: usize,
    /// Those that stand for something that the vocabulary lacks, and words without a token.
    pub unknown: usize,
    /// Runs of letters; of scripts that are written without spaces two characters are a word.
    pub words: f64,
    /// The tokens of these words.
    pub tokens_of_words: usize,
    /// What is unknown, the most frequent first.
    pub unknown_words: Vec<String>,
    /// Words of more than four tokens with their number, the most frequent first.
    pub long_words: Vec<(String, usize)>,
}

/// Reads rows as they come, and of many a sample.
pub struct Reader<'a> {
    tokenizer: &'a Tokenizer,
    tally: Tally,
    rows: usize,
    read: usize,
    /// One of so many rows is read.
    stride: usize,
}

impl<'a> Reader<'a> {
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, tally: Tally::default(), rows: 0, read: 0, stride: 1 }
    }

    pub fn add(&mut self, examples: &[Example]) {
        for example in examples {
            if self.rows.is_multiple_of(self.stride) {
                self.read_row(example);
            }
            self.rows += 1;
        }
    }

    fn read_row(&mut self, example: &Example) {
        let unknown = self.tokenizer.unknown_token();
        for text in [Some(example.text.as_str()), example.text_pair.as_deref()].into_iter().flatten() {
            let end = text.char_indices().nth(CHARACTERS).map_or(text.len(), |(end, _)| end);
            // What cannot be tokenised is refused where it is encoded.
            if let Ok((ids, spans)) = self.tokenizer.bare_with_spans(&text[..end]) {
                self.tally.add(&text[..end], ids.iter().map(|id| Some(*id) == unknown).zip(spans));
            }
        }
        self.read += 1;
        if self.read.is_multiple_of(ROWS) {
            self.stride *= 2;
        }
    }

    pub fn finish(self) -> Reading {
        self.tally.reading()
    }
}

impl Reading {
    /// Of the texts of these rows, a sample where there are many.
    pub fn of(tokenizer: &Tokenizer, examples: &[Example]) -> Self {
        let mut reader = Reader::new(tokenizer);
        reader.add(examples);
        reader.finish()
    }

    /// More than one token of twenty is unknown.
    pub fn is_unknown(&self) -> bool {
        self.unknown * 100 > self.tokens * MOST_UNKNOWN
    }

    /// Words have more than four tokens on average.
    pub fn is_cut_small(&self) -> bool {
        self.tokens_of_words as f64 > self.words * MOST_TOKENS as f64
    }
}

#[derive(Default)]
struct Tally {
    reading: Reading,
    unknown: BTreeMap<String, usize>,
    long: BTreeMap<String, (usize, usize)>,
}

/// A word of a text.
struct Word {
    bytes: Range<usize>,
    /// Of scripts without spaces what is left at the end of a run may be half a word.
    weight: f64,
    tokens: usize,
    is_covered: bool,
}

impl Tally {
    /// `tokens`: whether each is the unknown one, and its bytes of the text.
    fn add(&mut self, text: &str, tokens: impl Iterator<Item = (bool, Range<usize>)>) {
        let mut words = words(text);
        for (is_unknown, span) in tokens {
            self.reading.tokens += 1;
            if is_unknown {
                self.reading.unknown += 1;
                count(&mut self.unknown, text.get(span.clone()).unwrap_or_default());
            }
            let first = words.partition_point(|word| word.bytes.end <= span.start);
            let touched = words[first..].iter_mut().take_while(|word| word.bytes.start < span.end);
            for (nth, word) in touched.enumerate() {
                word.is_covered = true;
                // A token of several words counts once.
                word.tokens += usize::from(nth == 0);
            }
        }
        for word in words {
            let written = &text[word.bytes];
            self.reading.words += word.weight;
            self.reading.tokens_of_words += word.tokens;
            if !word.is_covered {
                // Vocabularies without an unknown token drop what they lack.
                self.reading.tokens += 1;
                self.reading.unknown += 1;
                count(&mut self.unknown, written);
            }
            if word.tokens > MOST_TOKENS {
                let (rows, tokens) = self.long.entry(written.to_owned()).or_default();
                (*rows, *tokens) = (*rows + 1, word.tokens);
            }
        }
    }

    fn reading(self) -> Reading {
        let mut unknown: Vec<(String, usize)> = self.unknown.into_iter().collect();
        let mut long: Vec<(String, (usize, usize))> = self.long.into_iter().collect();
        unknown.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
        long.sort_by_key(|(_, (rows, _))| std::cmp::Reverse(*rows));
        Reading {
            unknown_words: unknown.into_iter().map(|(word, _)| word).take(SHOWN).collect(),
            long_words: long.into_iter().map(|(word, (_, tokens))| (word, tokens)).take(SHOWN).collect(),
            ..self.reading
        }
    }
}

/// Different words that are remembered to be shown.
const REMEMBERED: usize = 10_000;

fn count(words: &mut BTreeMap<String, usize>, word: &str) {
    let word = word.trim();
    if word.is_empty() {
        return;
    }
    if let Some(rows) = words.get_mut(word) {
        *rows += 1;
    } else if words.len() < REMEMBERED {
        words.insert(word.to_owned(), 1);
    }
}

/// Punctuation and digits are left out: how they are cut says nothing about the language.
fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut open = false;
    for (start, character) in text.char_indices() {
        let end = start + character.len_utf8();
        if !is_letter(character) {
            open = false;
        } else if is_without_spaces(character) {
            match words.last_mut().filter(|last| last.bytes.end == start && last.weight < 1.0) {
                Some(last) => (last.bytes.end, last.weight) = (end, 1.0),
                None => words.push(Word { bytes: start..end, weight: 0.5, tokens: 0, is_covered: false }),
            }
            open = false;
        } else if open && let Some(last) = words.last_mut() {
            last.bytes.end = end;
        } else {
            words.push(Word { bytes: start..end, weight: 1.0, tokens: 0, is_covered: false });
            open = true;
        }
    }
    words
}

/// Letters, and the marks that stand above and below them.
fn is_letter(character: char) -> bool {
    character.is_alphabetic()
        || matches!(character, '\u{300}'..='\u{36f}' | '\u{93c}' | '\u{94d}' | '\u{e31}' | '\u{e34}'..='\u{e3a}' | '\u{e47}'..='\u{e4e}')
}

/// Chinese, Japanese, Thai, Lao, Khmer and Burmese.
pub(crate) fn is_without_spaces(character: char) -> bool {
    matches!(character, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::tests::{bytes, small, trained_to};

    const GREEK: &str = "Η γρήγορη καφέ αλεπού πηδά πάνω από το τεμπέλικο σκυλί.";
    const CHINESE: &str = "这家酒店的服务非常好，房间也很干净，下次还会再来。";

    fn reading(tokenizer: &Tokenizer, text: &str) -> Reading {
        let example = Example { line: 1, text: text.into(), text_pair: None, label: None };
        Reading::of(tokenizer, &[example])
    }

    #[test]
    fn words_are_runs_of_letters_or_two_characters_of_a_script_without_spaces() {
        let found = |text: &str| words(text).iter().map(|word| text[word.bytes.clone()].to_owned()).collect::<Vec<_>>();
        assert_eq!(found("don't stop 12,5 f(x)"), ["don", "t", "stop", "f", "x"]);
        assert_eq!(found("这家酒 店ok"), ["这家", "酒", "店", "ok"]);
        assert_eq!(found("पानी"), ["पानी"]);
        let halves: f64 = words("这家酒 店").iter().map(|word| word.weight).sum();
        assert_eq!(halves, 2.0);
    }

    /// Of these bytes each is a token: two for a Greek letter, three for a Chinese character.
    #[test]
    fn a_vocabulary_of_bytes_cuts_other_scripts_small() {
        let greek = reading(&bytes(), GREEK);
        let letters = GREEK.chars().filter(|c| c.is_alphabetic()).count();
        assert_eq!((greek.tokens_of_words, greek.words, greek.unknown), (2 * letters, 10.0, 0));
        assert!(greek.is_cut_small() && !greek.is_unknown());
        assert_eq!(greek.long_words[0], ("αλεπού".to_owned(), 12));
        assert!(reading(&bytes(), CHINESE).is_cut_small());
    }

    #[test]
    fn a_vocabulary_made_for_the_texts_reads_them() {
        for text in [GREEK, CHINESE, "Das ist ein schöner Tag, nicht wahr?", "โรงแรมนี้ดีมาก"]
        {
            let tokenizer = trained_to(text, 400);
            let reading = reading(&tokenizer, text);
            assert!(!reading.is_cut_small() && !reading.is_unknown(), "{text}: {reading:?}");
        }
    }

    #[test]
    fn numbers_and_code_are_no_words_of_many_tokens() {
        for text in ["4155 2023 1917 0388 91.25", "a[i]=b(c)*{d:e};", "😀😃😄 🙂"] {
            assert!(!reading(&bytes(), text).is_cut_small(), "{text}");
        }
    }

    #[test]
    fn what_the_vocabulary_lacks_is_unknown() {
        let unread = reading(&small(), "zyx zyx a wvu");
        assert!(unread.is_unknown(), "{unread:?}");
        assert_eq!(unread.unknown_words[0], "zyx");
    }

    #[test]
    fn of_many_rows_a_sample_is_read() {
        let example = |line| Example { line, text: "a b".into(), text_pair: None, label: None };
        let examples: Vec<Example> = (1..=3500).map(example).collect();
        // 1,000 of the first, every second of 2,000, every fourth of 500.
        assert_eq!(Reading::of(&bytes(), &examples).words, 2.0 * 2125.0);
        let long = reading(&bytes(), &"é ".repeat(5000));
        assert_eq!(long.words, 1000.0);
    }
}
