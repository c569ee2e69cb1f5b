//! Randomness without state. A random number is a hash of where it is used: of the seed, the step, the site (a module),
//! the row and the column. So a value does not depend on what was drawn before it, on the number of threads, or on how
//! a step is cut into micro-batches, and a resumed run needs no generator to be restored.

use std::sync::Arc;

use rayon::prelude::*;

use crate::wide::with_wide_vectors;

/// What the random numbers of one optimiser step derive from. Absent in evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noise {
    pub seed: u64,
    pub step: u64,
}

/// Which entries of a `[rows, columns]` tensor dropout sets to zero.
#[derive(Debug, Clone)]
pub struct DropoutMask {
    key: u64,
    probability: f32,
    rows: Arc<[u64]>,
}

impl DropoutMask {
    /// `rows` holds the key of each row: see [`Layout::rows`](crate::Layout::rows).
    pub(crate) fn new(noise: Noise, site: u64, probability: f32, rows: Arc<[u64]>) -> Self {
        let key = mix(mix(mix(noise.seed) ^ noise.step) ^ site);
        Self { key, probability, rows }
    }

    /// The factors of all rows, `[rows, columns]` in row order: 0 where dropped, otherwise `1 / (1 - p)`.
    pub(crate) fn factors(&self, columns: usize) -> Vec<f32> {
        let mut factors = vec![0.0; self.rows.len() * columns];
        if columns > 0 {
            factors
                .par_chunks_mut(columns)
                .zip(self.rows.par_iter())
                .with_min_len(16)
                .for_each(|(out, row)| self.fill_row(*row, 0, out));
        }
        factors
    }

    /// The factors of `columns.len()` columns from `first` on, of the row at `index`.
    pub(crate) fn fill(&self, index: usize, first: u32, columns: &mut [f32]) {
        self.fill_row(self.rows[index], first, columns);
    }

    /// Which columns from `first` on are dropped of the row at `index`: a bit for each, the lowest of the first word first.
    pub(crate) fn dropped(&self, index: usize, first: u32, words: &mut [u32]) {
        dropped_bits(self.of_row(self.rows[index]), first, words);
    }

    /// What is kept is multiplied by.
    pub(crate) fn keep(&self) -> f32 {
        1.0 / (1.0 - self.probability)
    }

    /// The share that is dropped.
    pub(crate) fn probability(&self) -> f32 {
        self.probability
    }

    /// Multiplies values of the row at `index`, from column `first` on, by their factors.
    pub(crate) fn apply(&self, index: usize, first: u32, values: &mut [f32]) {
        drop_row(self.of_row(self.rows[index]), first, values);
    }

    fn fill_row(&self, row: u64, first: u32, columns: &mut [f32]) {
        columns.fill(1.0);
        drop_row(self.of_row(row), first, columns);
    }

    fn of_row(&self, row: u64) -> RowMask {
        RowMask {
            key: mix(self.key ^ row),
            // As an integer threshold: exact for every probability, and free of a conversion per entry.
            threshold: (f64::from(self.probability) * 4_294_967_296.0) as u32,
            keep: self.keep(),
        }
    }
}

/// What the entries of one row have in common.
struct RowMask {
    key: u64,
    threshold: u32,
    keep: f32,
}

with_wide_vectors! {
    fn drop_row(row: RowMask, first: u32, values: &mut [f32]) {
        let (low, high) = (row.key as u32, (row.key >> 32) as u32);
        for (column, value) in values.iter_mut().enumerate() {
            let bits = scramble(low.wrapping_add((first + column as u32).wrapping_mul(0x9e37_79b9))) ^ high;
            *value *= if bits < row.threshold { 0.0 } else { row.keep };
        }
    }
}

with_wide_vectors! {
    fn dropped_bits(row: RowMask, first: u32, words: &mut [u32]) {
        let (low, high) = (row.key as u32, (row.key >> 32) as u32);
        let mut first = first;
        for word in words {
            *word = (0..u32::BITS).fold(0, |word, column| {
                let bits = scramble(low.wrapping_add(first.wrapping_add(column).wrapping_mul(0x9e37_79b9))) ^ high;
                word | u32::from(bits < row.threshold) << column
            });
            first = first.wrapping_add(u32::BITS);
        }
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit of the input moves every bit of the output.
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The finaliser of MurmurHash3 for 32 bits: cheap, and it vectorises.
#[inline(always)]
fn scramble(mut h: u32) -> u32 {
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

/// FNV-1a of a text, mixed: the site of a module is the hash of its path.
pub fn hash_text(text: &str) -> u64 {
    let fnv = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    mix(fnv)
}

/// The number at `index` of the stream `key`, uniform in `(0, 1)`, with 53 random bits.
pub fn uniform(key: u64, index: u64) -> f64 {
    let bits = mix(key ^ mix(index)) >> 11;
    (bits as f64 + 0.5) / 9_007_199_254_740_992.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOISE: Noise = Noise { seed: 7, step: 3 };

    fn mask(rows: &[u64]) -> DropoutMask {
        DropoutMask::new(NOISE, hash_text("encoder.layer.0"), 0.25, rows.into())
    }

    #[test]
    fn a_row_is_dropped_alike_wherever_it_stands() {
        let together = mask(&[10, 11, 12]).factors(64);
        let alone = mask(&[11]).factors(64);
        assert_eq!(together[64..128], alone[..]);
    }

    #[test]
    fn a_part_of_a_row_equals_that_part_of_the_whole() {
        let whole = mask(&[5]).factors(40);
        let mut part = [0.0; 10];
        mask(&[5]).fill(0, 30, &mut part);
        assert_eq!(whole[30..], part);
    }

    #[test]
    fn steps_sites_and_rows_differ_and_the_share_dropped_is_the_probability() {
        let rows: Vec<u64> = (0..400).collect();
        let first = mask(&rows).factors(100);
        let other_step =
            DropoutMask::new(Noise { step: 4, ..NOISE }, hash_text("encoder.layer.0"), 0.25, rows.as_slice().into());
        let other_site = DropoutMask::new(NOISE, hash_text("encoder.layer.1"), 0.25, rows.as_slice().into());
        for other in [other_step.factors(100), other_site.factors(100)] {
            let same = first.iter().zip(&other).filter(|(a, b)| a == b).count() as f64 / 40_000.0;
            // Independent masks agree with probability 0.25² + 0.75² = 0.625; the standard deviation is 0.0024.
            assert!((same - 0.625).abs() < 0.012, "{same}");
        }
        let dropped = first.iter().filter(|f| **f == 0.0).count() as f64 / 40_000.0;
        assert!((dropped - 0.25).abs() < 0.011, "{dropped}");
        assert!(first.iter().all(|f| *f == 0.0 || *f == 1.0 / 0.75));
    }

    #[test]
    fn uniform_numbers_have_the_moments_of_the_uniform_distribution() {
        let key = hash_text("a");
        let values: Vec<f64> = (0..20_000).map(|i| uniform(key, i)).collect();
        let mean = values.iter().sum::<f64>() / 20_000.0;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!((mean - 0.5).abs() < 0.008 && (variance - 1.0 / 12.0).abs() < 0.003, "{mean} {variance}");
        assert!(values.iter().all(|v| *v > 0.0 && *v < 1.0));
    }
}
