//! A row as a set of hashed pairs of words, and the minima of that set.

use crate::columns::Example;
use crate::lint::words::normalised;

/// With this many bands of so many minima, a pair of rows at 80 % is a candidate with a probability of 0.998, one at
/// 50 % with 0.4, one at 30 % with 0.04.
pub(super) const BANDS: usize = 16;
const MINIMA: usize = 5;

/// Texts with fewer words are alike only if they are the same.
const FEWEST_WORDS: usize = 4;

/// Texts with more pairs are compared by a sample of them: those whose hashes are multiples of a power of two, the same in
/// every text. With so many at least half are left, and the share of common ones is known to some three hundredths.
const WHOLE: usize = 512;

/// The text of a row, and the second one where there is one.
pub(in crate::lint) struct Document {
    parts: Vec<Part>,
}

struct Part {
    /// Of all words, in their order.
    hash: u64,
    /// Of each two words that stand together: ascending, each once. Empty for short texts.
    pairs: Vec<u32>,
    /// How often the pairs were halved.
    level: u8,
    /// The bands of a text whose pairs are not all there.
    bands: Option<Box<[u64; BANDS]>>,
}

impl Document {
    pub(in crate::lint) fn new(example: &Example) -> Self {
        let texts = [Some(&example.text), example.text_pair.as_ref()];
        let parts: Vec<Part> = texts.into_iter().flatten().map(|text| Part::new(text)).collect();
        let mut document = Self { parts };
        if document.parts.iter().any(|part| part.pairs.len() > WHOLE) {
            let bands = document.view().all_bands();
            document.parts.iter_mut().for_each(Part::sample);
            document.parts[0].bands = Some(Box::new(bands));
        }
        document
    }

    fn view(&self) -> View<'_> {
        let [one, other] = [0, 1].map(|n| self.parts.get(n));
        View {
            parts: [one, other].map(|part| part.map(Part::view)),
            bands: self.parts.first().and_then(|part| part.bands.as_deref()),
        }
    }
}

impl Part {
    fn new(text: &str) -> Self {
        let words = normalised(text);
        let words: Vec<u64> = words.split_terminator(' ').map(hashed).collect();
        let hash = words.iter().fold(NO_WORDS, |hash, word| mixed(hash, *word));
        let mut pairs = Vec::new();
        if words.len() >= FEWEST_WORDS {
            pairs.extend(words.windows(2).map(|pair| (mixed(pair[0], pair[1]) >> 32) as u32));
            pairs.sort_unstable();
            pairs.dedup();
        }
        Self { hash, pairs, level: 0, bands: None }
    }

    fn sample(&mut self) {
        while self.pairs.len() > WHOLE {
            self.level += 1;
            let level = self.level;
            self.pairs.retain(|pair| is_of_level(*pair, level));
        }
        self.pairs.shrink_to_fit();
    }

    fn view(&self) -> PartView<'_> {
        PartView { hash: self.hash, pairs: &self.pairs, level: self.level }
    }
}

fn is_of_level(pair: u32, level: u8) -> bool {
    pair.trailing_zeros() >= u32::from(level)
}

/// The documents of many rows, end to end in blocks.
#[derive(Debug, Default)]
pub(in crate::lint) struct Documents {
    blocks: Vec<Block>,
    /// The first row of each block.
    starts: Vec<usize>,
    len: usize,
}

#[derive(Debug)]
struct Block {
    /// The first part of each row, and the end of the last.
    rows: Vec<u32>,
    hashes: Vec<u64>,
    levels: Vec<u8>,
    /// Where the pairs of each part end.
    ends: Vec<u32>,
    pairs: Vec<u32>,
    /// By row, of long texts alone.
    bands: Vec<(u32, Box<[u64; BANDS]>)>,
}

impl Documents {
    /// Adds the documents of rows that follow, as a block.
    pub(in crate::lint) fn add<'a>(&mut self, documents: impl ExactSizeIterator<Item = &'a Document> + Clone) {
        let rows = documents.len();
        if rows == 0 {
            return;
        }
        let parts = || documents.clone().flat_map(|document| &document.parts);
        let (count, pairs) = parts().fold((0, 0), |(count, pairs), part| (count + 1, pairs + part.pairs.len()));
        // Without room to spare: these are the most that a look at the data takes.
        let mut block = Block {
            rows: Vec::with_capacity(rows + 1),
            hashes: Vec::with_capacity(count),
            levels: Vec::with_capacity(count),
            ends: Vec::with_capacity(count),
            pairs: Vec::with_capacity(pairs),
            bands: Vec::new(),
        };
        block.rows.push(0);
        for (row, document) in documents.enumerate() {
            for part in &document.parts {
                block.hashes.push(part.hash);
                block.levels.push(part.level);
                block.pairs.extend_from_slice(&part.pairs);
                block.ends.push(block.pairs.len() as u32);
            }
            let bands = document.parts.first().and_then(|part| part.bands.clone());
            block.bands.extend(bands.map(|bands| (row as u32, bands)));
            block.rows.push(block.ends.len() as u32);
        }
        self.starts.push(self.len);
        self.len += rows;
        self.blocks.push(block);
    }

    /// # Panics
    /// Beyond the last row.
    pub(in crate::lint) fn get(&self, row: u32) -> View<'_> {
        let at = self.starts.partition_point(|start| *start <= row as usize) - 1;
        let (block, row) = (&self.blocks[at], row as usize - self.starts[at]);
        let parts = block.rows[row] as usize..block.rows[row + 1] as usize;
        let part = |n: usize| parts.clone().nth(n).map(|part| block.part(part));
        let bands = block.bands.binary_search_by_key(&(row as u32), |(row, _)| *row);
        View { parts: [part(0), part(1)], bands: bands.ok().map(|at| &*block.bands[at].1) }
    }

    /// Of memory.
    pub(in crate::lint) fn bytes(&self) -> usize {
        let of_block = |block: &Block| {
            4 * (block.rows.len() + block.ends.len() + block.pairs.len())
                + 9 * block.hashes.len()
                + block.bands.len() * size_of::<[u64; BANDS + 2]>()
        };
        self.blocks.iter().map(of_block).sum()
    }
}

impl Block {
    fn part(&self, part: usize) -> PartView<'_> {
        let start = if part == 0 { 0 } else { self.ends[part - 1] as usize };
        let pairs = &self.pairs[start..self.ends[part] as usize];
        PartView { hash: self.hashes[part], pairs, level: self.levels[part] }
    }
}

/// A document that lies somewhere.
#[derive(Debug, Clone, Copy)]
pub(in crate::lint) struct View<'a> {
    parts: [Option<PartView<'a>>; 2],
    bands: Option<&'a [u64; BANDS]>,
}

#[derive(Debug, Clone, Copy)]
struct PartView<'a> {
    hash: u64,
    pairs: &'a [u32],
    level: u8,
}

impl<'a> View<'a> {
    fn parts(&self) -> impl Iterator<Item = PartView<'a>> + use<'a> {
        self.parts.into_iter().flatten()
    }

    pub(super) fn has_words(&self) -> bool {
        self.parts().any(|part| part.hash != NO_WORDS)
    }

    /// The same for documents of the same words. Two of a million differing ones share it once in ten million cases.
    pub(super) fn key(&self) -> u64 {
        self.parts().fold(self.parts().count() as u64, |key, part| mixed(key, part.hash))
    }

    /// Of a pair of texts each must be alike: the same passage with another question is another row.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.parts().count() == other.parts().count()
            && self.parts().zip(other.parts()).all(|(one, other)| one.is_like(&other))
    }

    /// `None` where no part is long enough to be like one that is not the same.
    pub(super) fn band(&self, band: usize) -> Option<u64> {
        match self.bands {
            Some(bands) => Some(bands[band]),
            None if self.parts().all(|part| part.pairs.is_empty()) => None,
            None => Some(self.minima(band)),
        }
    }

    fn all_bands(&self) -> [u64; BANDS] {
        std::array::from_fn(|band| self.minima(band))
    }

    /// What the minima of a band come to.
    fn minima(&self, band: usize) -> u64 {
        let mut minima = [u64::MAX; MINIMA];
        for (number, part) in self.parts().enumerate() {
            for pair in part.pairs {
                let pair = mixed(number as u64, u64::from(*pair));
                for (n, minimum) in minima.iter_mut().enumerate() {
                    *minimum = (*minimum).min(permuted(pair, (band * MINIMA + n) as u64));
                }
            }
        }
        minima.iter().fold(0, |key, minimum| mixed(key, *minimum))
    }
}

impl PartView<'_> {
    fn is_like(&self, other: &Self) -> bool {
        if self.hash == other.hash {
            return true;
        }
        let level = self.level.max(other.level);
        let count = |part: &Self| match part.level == level {
            true => part.pairs.len(),
            false => part.pairs.iter().filter(|pair| is_of_level(**pair, level)).count(),
        };
        let (one, two) = (count(self), count(other));
        let (fewer, more) = (one.min(two), one.max(two));
        if fewer == 0 || fewer * 5 < more * 4 {
            return false;
        }
        let shared = shared(self.pairs, other.pairs, level);
        shared * 5 >= (fewer + more - shared) * 4
    }
}

/// The number of common elements of two ascending lists that are of a level.
fn shared(one: &[u32], other: &[u32], level: u8) -> usize {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while let (Some(a), Some(b)) = (one.get(i), other.get(j)) {
        shared += usize::from(a == b && is_of_level(*a, level));
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
        document(one, None).view().is_like(&document(other, None).view())
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
        assert!(!row.view().is_like(&document(long, Some("who")).view()));
        assert!(!row.view().is_like(&document(long, None).view()));
        assert!(row.view().is_like(&document(&format!("{long} end"), Some("Why?")).view()));
    }

    #[test]
    fn documents_agree_in_a_band_as_often_as_their_sets_overlap() {
        let agree = |common: usize, own: usize| {
            let agrees = |n: &usize| {
                let words = |side: usize| {
                    let own = (0..own).map(move |k| word(1_000 * n + 100 * side + k));
                    (0..=common).map(|k| word(1_000 * n + k)).chain(own).collect::<Vec<_>>().join(" ")
                };
                let bands = |side: usize| document(&words(side), None).view().all_bands();
                bands(1).iter().zip(bands(2)).any(|(one, other)| *one == other)
            };
            (0..200).filter(agrees).count()
        };
        assert!(agree(9, 1) >= 198, "9 of 11 pairs are common: {}", agree(9, 1));
        assert!((2..30).contains(&agree(5, 5)), "5 of 15: {}", agree(5, 5));
    }

    #[test]
    fn long_texts_are_alike_by_their_sample_as_by_all_their_pairs() {
        let text = |changed: usize| -> String {
            (0..3_000).map(|n| word(if n % 1_000 < changed { 9_000 + n } else { n }) + " ").collect()
        };
        let whole = text(0);
        assert!(document(&whole, None).parts[0].pairs.len() <= WHOLE);
        // A changed word changes two pairs, a stretch of them one more than it has words: 3 x 51 of 3,000 pairs, 90 % in
        // common; 3 x 151 of them, 74 %.
        assert!(is_like(&whole, &text(50)));
        assert!(!is_like(&whole, &text(150)));
        let longer = format!("{} and so on", text(0));
        assert!(
            document(&whole, None)
                .view()
                .bands
                .unwrap()
                .iter()
                .zip(document(&longer, None).view().bands.unwrap())
                .any(|(a, b)| a == b)
        );
    }

    /// In letters: numbers are all one word.
    fn word(number: usize) -> String {
        number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
    }
}
