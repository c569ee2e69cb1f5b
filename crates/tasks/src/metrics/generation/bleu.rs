//! Corpus BLEU (Papineni et al. 2002) as sacreBLEU computes it by default: words cut as by its tokenizer `13a`, n-grams up
//! to 4, letter case kept, smoothing `exp` (method 3 of Chen and Cherry 2014).

use std::collections::HashMap;

use super::Generated;

const ORDERS: usize = 4;

/// What the texts of a corpus add up to.
#[derive(Debug, Default)]
struct Counts {
    /// N-grams of the texts by order, each counted at most as often as the reference has it that has it most often.
    matched: [usize; ORDERS],
    /// N-grams of the texts by order.
    total: [usize; ORDERS],
    words: usize,
    /// Words of the references that are nearest to the texts in length.
    reference_words: usize,
}

/// What each text adds to its corpus, so that the score of many choices of texts costs one count of each.
pub(super) struct ByText(Vec<Counts>);

impl ByText {
    pub(super) fn new(generated: &[Generated<'_>]) -> Self {
        Self(generated.iter().map(Counts::of).collect())
    }

    /// Of the texts named by their indices.
    pub(super) fn bleu(&self, texts: &[usize]) -> f64 {
        let mut counts = Counts::default();
        texts.iter().for_each(|text| counts.join(&self.0[*text]));
        counts.bleu()
    }
}

/// From 0 to 100. A corpus without a text of four words has 0, as in sacreBLEU, even if all texts are right.
pub(super) fn corpus_bleu(generated: &[Generated<'_>]) -> f64 {
    let mut counts = Counts::default();
    generated.iter().for_each(|generated| counts.add(generated));
    counts.bleu()
}

impl Counts {
    fn of(generated: &Generated<'_>) -> Self {
        let mut counts = Self::default();
        counts.add(generated);
        counts
    }

    fn join(&mut self, other: &Self) {
        for order in 0..ORDERS {
            self.matched[order] += other.matched[order];
            self.total[order] += other.total[order];
        }
        self.words += other.words;
        self.reference_words += other.reference_words;
    }

    fn add(&mut self, generated: &Generated<'_>) {
        let tokenized = tokenize(generated.text);
        let text = words(&tokenized);
        let references: Vec<String> = generated.references.iter().map(|reference| tokenize(reference)).collect();
        let references: Vec<Vec<&str>> = references.iter().map(|reference| words(reference)).collect();

        self.words += text.len();
        let lengths = references.iter().map(Vec::len);
        // The shorter one of two that are equally near.
        self.reference_words += lengths.min_by_key(|length| (length.abs_diff(text.len()), *length)).unwrap_or(0);
        for order in 1..=ORDERS {
            let mut allowed: HashMap<&[&str], usize> = HashMap::new();
            for reference in &references {
                for (ngram, count) in ngrams(reference, order) {
                    let most = allowed.entry(ngram).or_default();
                    *most = count.max(*most);
                }
            }
            for (ngram, count) in ngrams(&text, order) {
                self.total[order - 1] += count;
                self.matched[order - 1] += count.min(allowed.get(ngram).copied().unwrap_or(0));
            }
        }
    }

    fn bleu(&self) -> f64 {
        if self.matched == [0; ORDERS] || self.total.contains(&0) {
            return 0.0;
        }
        let mut smoothing = 1.0;
        let mut logarithms = 0.0;
        for (matched, total) in self.matched.into_iter().zip(self.total) {
            let matched = if matched == 0 {
                smoothing /= 2.0;
                smoothing
            } else {
                matched as f64
            };
            logarithms += (matched / total as f64).ln();
        }
        let brevity = (1.0 - self.reference_words as f64 / self.words as f64).min(0.0).exp();
        100.0 * brevity * (logarithms / ORDERS as f64).exp()
    }
}

fn words(tokenized: &str) -> Vec<&str> {
    tokenized.split(is_space).filter(|word| !word.is_empty()).collect()
}

fn ngrams<'a>(words: &'a [&'a str], order: usize) -> HashMap<&'a [&'a str], usize> {
    let mut counts = HashMap::new();
    words.windows(order).for_each(|ngram| *counts.entry(ngram).or_default() += 1);
    counts
}

/// `text` with white space (any amount) between its words, as sacreBLEU's `13a`, which is mteval-v13a's for Western
/// languages: ASCII punctuation stands alone, but apostrophes, and points, commas and hyphens by their neighbours.
fn tokenize(text: &str) -> String {
    let mut text = text.trim_end_matches(is_space).to_string();
    let replacements = [
        ("<skipped>", ""),
        ("-\n", ""),
        ("\n", " "),
        ("&quot;", "\""),
        // Before the two below, so that what was escaped twice is unescaped twice.
        ("&amp;", "&"),
        ("&lt;", "<"),
        ("&gt;", ">"),
    ];
    for (old, new) in replacements {
        if text.contains(old) {
            text = text.replace(old, new);
        }
    }
    let mut apart = String::from(" ");
    for c in text.chars() {
        if c.is_ascii_punctuation() && !"'-.,".contains(c) {
            apart.extend([' ', c, ' ']);
        } else {
            apart.push(c);
        }
    }
    apart.push(' ');
    let is_digit = |c: char| c.is_ascii_digit();
    let is_stop = |c: char| c == '.' || c == ',';
    let apart = replace_pairs(&apart, |a, b| !is_digit(a) && is_stop(b), |a, b| [a, ' ', b, ' ']);
    let apart = replace_pairs(&apart, |a, b| is_stop(a) && !is_digit(b), |a, b| [' ', a, ' ', b]);
    replace_pairs(&apart, |a, b| is_digit(a) && b == '-', |a, b| [a, ' ', b, ' '])
}

/// Neighbours that match are written anew, from the left, no character in two pairs, as `re.sub` does in Python.
fn replace_pairs(text: &str, matches: impl Fn(char, char) -> bool, write: impl Fn(char, char) -> [char; 4]) -> String {
    let mut replaced = String::with_capacity(text.len() + text.len() / 4);
    let mut characters = text.chars().peekable();
    while let Some(first) = characters.next() {
        match characters.next_if(|second| matches(first, *second)) {
            Some(second) => replaced.extend(write(first, second)),
            None => replaced.push(first),
        }
    }
    replaced
}

/// White space for Python's `str.split`, which counts four separators of ASCII that Unicode does not.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_tokenizer_13a() {
        // sacreBLEU 2.6.0, `Tokenizer13a()(text.rstrip())`
        let cases = [
            ("Hello, world!", "Hello , world !"),
            ("U.S. price: $1,234.50, 3-4 %.", "U . S . price : $ 1,234.50 , 3 - 4 % ."),
            ("a..5 ...b 1,,2", "a . .5 . . . b 1 , , 2"),
            ("it's &quot;so&quot; &amp;lt; -\nx <skipped>y\nz", "it's \" so \" < x y z"),
            ("5-", "5 -"),
            ("-5 a-b 1-2-3", "-5 a-b 1 - 2 - 3"),
            ("{x}[y]~`^_ /@#'*", "{ x } [ y ] ~ ` ^ _ / @ # ' *"),
            ("café–bar 3.  ", "café–bar 3 ."),
            ("broken-\noff-\n", "brokenoff-"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(words(&tokenize(text)).join(" "), expected);
        }
    }

    #[test]
    fn texts_counted_one_by_one_come_to_the_score_of_the_corpus() {
        let references = [["the cat sat on the mat".to_string()], ["a quick brown fox jumps".to_string()]];
        let corpus: Vec<Generated<'_>> = ["the cat is on the mat", "a quick brown dog jumps high"]
            .iter()
            .zip(&references)
            .map(|(text, references)| Generated { text, references })
            .collect();
        let by_text = ByText::new(&corpus);
        assert_eq!(by_text.bleu(&[0, 1]), corpus_bleu(&corpus));
        assert_eq!(by_text.bleu(&[1, 1]), corpus_bleu(&[corpus[1], corpus[1]]));
    }

    #[test]
    fn the_shorter_of_two_equally_near_references_counts() {
        let references = ["a b c d e".to_string(), "a b c".to_string()];
        let mut counts = Counts::default();
        counts.add(&Generated { text: "a b c d", references: &references });
        assert_eq!((counts.words, counts.reference_words), (4, 3));
        assert_eq!((counts.matched, counts.total), ([4, 3, 2, 1], [4, 3, 2, 1]));
    }

    #[test]
    fn a_word_counts_as_often_as_the_reference_has_it_that_has_it_most_often() {
        let references = ["the cat the".to_string(), "the mat".to_string()];
        let mut counts = Counts::default();
        counts.add(&Generated { text: "the the the the", references: &references });
        assert_eq!((counts.matched[0], counts.total[0]), (2, 4));
    }
}
