//! A row as a set of hashed pairs of words, and the minima of that set.

use crate::columns::Example;
use crate::lint::words::normalised;

/// With this many bands of so many minima, a pair of rows at 80 % is a candidate with a probability of 0.998, one at
/// 50 % with 0.4, one at 30 % with 0.04.
pub(super) const BANDS: usize = 16;
const MINIMA: usize = 5;

/// Texts with fewer words are alike only if they are the same.
const FEWEST_WORDS: usize = 4;

/// The text of a row, and the second one where there is one.
pub(super) struct Document {
    parts: Vec<Part>,
}

struct Part {
    /// Of all words, in their order.
    hash: u64,
    /// Of each two words that stand together: ascending, each once. Empty for short texts.
    pairs: Vec<u64>,
}

impl Document {
    pub(super) fn new(example: &Example) -> Self {
        let texts = [Some(&example.text), example.text_pair.as_ref()];
        Self { parts: texts.into_iter().flatten().map(|text| Part::new(text)).collect() }
    }

    pub(super) fn has_words(&self) -> bool {
        self.parts.iter().any(|part| part.hash != NO_WORDS)
    }

    /// The same for documents of the same words. Two of a million differing ones share it once in ten million cases.
    pub(super) fn key(&self) -> u64 {
        self.parts.iter().fold(self.parts.len() as u64, |key, part| mixed(key, part.hash))
    }

    /// Of a pair of texts each must be alike: the same passage with another question is another row.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.parts.len() == other.parts.len()
            && self.parts.iter().zip(&other.parts).all(|(one, other)| one.is_like(other))
    }

    /// `None` where no part is long enough to be like one that is not the same.
    pub(super) fn bands(&self) -> Option<[u64; BANDS]> {
        if self.parts.iter().all(|part| part.pairs.is_empty()) {
            return None;
        }
        let mut minima = [u64::MAX; BANDS * MINIMA];
        for (number, part) in self.parts.iter().enumerate() {
            for pair in &part.pairs {
                let pair = mixed(number as u64, *pair);
                for (n, minimum) in minima.iter_mut().enumerate() {
                    *minimum = (*minimum).min(permuted(pair, n as u64));
                }
            }
        }
        let mut bands = [0; BANDS];
        for (n, band) in bands.iter_mut().enumerate() {
            *band = minima[n * MINIMA..][..MINIMA].iter().fold(0, |key, minimum| mixed(key, *minimum));
        }
        Some(bands)
    }
}

impl Part {
    fn new(text: &str) -> Self {
        let words = normalised(text);
        let words: Vec<u64> = words.split_terminator(' ').map(hashed).collect();
        let hash = words.iter().fold(NO_WORDS, |hash, word| mixed(hash, *word));
        let mut pairs = Vec::new();
        if words.len() >= FEWEST_WORDS {
            pairs.extend(words.windows(2).map(|pair| mixed(pair[0], pair[1])));
            pairs.sort_unstable();
            pairs.dedup();
        }
        Self { hash, pairs }
    }

    fn is_like(&self, other: &Self) -> bool {
        if self.hash == other.hash {
            return true;
        }
        let (fewer, more) = (self.pairs.len().min(other.pairs.len()), self.pairs.len().max(other.pairs.len()));
        if fewer == 0 || fewer * 5 < more * 4 {
            return false;
        }
        let shared = shared(&self.pairs, &other.pairs);
        shared * 5 >= (fewer + more - shared) * 4
    }
}

/// The number of common elements of two ascending lists.
fn shared(one: &[u64], other: &[u64]) -> usize {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while let (Some(a), Some(b)) = (one.get(i), other.get(j)) {
        shared += usize::from(a == b);
        i += usize::from(a <= b);
        j += usize::from(b <= a);
    }
    shared
}

const NO_WORDS: u64 = 0;

/// FNV-1a: the standard library promises no hash that stays the same.
fn hashed(word: &str) -> u64 {
    word.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finaliser of SplitMix64 over both.
fn mixed(one: u64, other: u64) -> u64 {
    let mut x = one.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ other.rotate_left(29);
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// One of the orders in which the minimum is looked for. The pairs are mixed already: one multiplication is enough.
fn permuted(pair: u64, order: u64) -> u64 {
    let seed = order.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (pair ^ seed).wrapping_mul(seed | 1) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str, pair: Option<&str>) -> Document {
        Document::new(&Example { line: 1, text: text.into(), text_pair: pair.map(str::to_owned), label: None })
    }

    fn is_like(one: &str, other: &str) -> bool {
        document(one, None).is_like(&document(other, None))
    }

    #[test]
    fn four_fifths_of_the_pairs_of_words_are_alike() {
        assert!(is_like("a b c d e", "a b c d e f"), "4 of 5 pairs");
        assert!(!is_like("a b c d", "a b c d e"), "3 of 4");
        assert!(!is_like("a b c d e", "b a c e d"), "the same words in another order");
        assert!(is_like("A, b.", "a b"));
        assert!(!is_like("a b c", "a b d"), "three words are alike only if the same");
        assert!(is_like("room 12 at 9 pm is free", "Room 7 at 10 pm is free!"));
    }

    #[test]
    fn both_texts_of_a_pair_must_be_alike() {
        let long = "a b c d e f g h i j k l m n o p q r s t u v w x y z";
        let row = document(long, Some("why"));
        assert!(!row.is_like(&document(long, Some("who"))));
        assert!(!row.is_like(&document(long, None)));
        assert!(row.is_like(&document(&format!("{long} end"), Some("Why?"))));
    }

    #[test]
    fn documents_agree_in_a_band_as_often_as_their_sets_overlap() {
        let agree = |common: usize, own: usize| {
            let agrees = |n: &usize| {
                let words = |side: usize| {
                    let own = (0..own).map(move |k| word(1_000 * n + 100 * side + k));
                    (0..=common).map(|k| word(1_000 * n + k)).chain(own).collect::<Vec<_>>().join(" ")
                };
                let bands = |side: usize| document(&words(side), None).bands().unwrap();
                bands(1).iter().zip(bands(2)).any(|(one, other)| *one == other)
            };
            (0..200).filter(agrees).count()
        };
        assert!(agree(9, 1) >= 198, "9 of 11 pairs are common: {}", agree(9, 1));
        assert!((2..30).contains(&agree(5, 5)), "5 of 15: {}", agree(5, 5));
    }

    /// In letters: numbers are all one word.
    fn word(number: usize) -> String {
        number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
    }
}
