//! Distances of tokens as DeBERTa-v2 sees them: exact where tokens are close, in logarithmic buckets where they are not (He et al.
//! 2020, arXiv 2006.03654). Reference: `make_log_bucket_position` in Transformers' `modeling_deberta_v2`.

use std::ops::Range;

/// Which row of a table of relative positions stands for a distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelativePositions {
    /// `position_buckets`: buckets in each direction, or `None` for a row for each distance.
    pub buckets: Option<usize>,
    /// `max_relative_positions`, or `max_position_embeddings` where that is not positive.
    pub largest: usize,
}

impl RelativePositions {
    /// Rows in each direction: a table has twice as many.
    pub fn span(&self) -> usize {
        self.buckets.unwrap_or(self.largest)
    }

    /// The row for a query `distance` tokens after its key.
    pub(crate) fn row(&self, distance: isize) -> usize {
        let span = self.span() as isize;
        (self.bucket(distance) + span).clamp(0, 2 * span - 1) as usize
    }

    /// The rows for these distances.
    pub(crate) fn rows(&self, distances: Range<isize>) -> Vec<i32> {
        distances.map(|distance| self.row(distance) as i32).collect()
    }

    fn bucket(&self, distance: isize) -> isize {
        let Some(buckets) = self.buckets else { return distance };
        let middle = buckets / 2;
        let away = distance.unsigned_abs();
        if away <= middle {
            return distance;
        }
        // In f32 and in this order, as the reference: whether a quotient is rounded up is a matter of its last bit.
        let most = ((self.largest as f64 - 1.0) / middle as f64) as f32;
        let share = (away as f32 / middle as f32).ln() / most.ln();
        let bucket = (share * (middle as f32 - 1.0)).ceil() as isize + middle as isize;
        bucket * distance.signum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_distances_have_rows_of_their_own_and_far_ones_share_them() {
        let positions = RelativePositions { buckets: Some(256), largest: 512 };
        // From `make_log_bucket_position(torch.tensor(distance), 256, 512)`.
        for (distance, bucket) in [(0, 0), (3, 3), (9, 9), (128, 128), (130, 130), (200, 169), (511, 255), (600, 270)] {
            assert_eq!(positions.bucket(distance), bucket);
            assert_eq!(positions.bucket(-distance), -bucket);
        }
        assert_eq!([positions.row(0), positions.row(600), positions.row(-600)], [256, 511, 0]);
        let small = RelativePositions { buckets: Some(6), largest: 20 };
        assert_eq!([3, 9, 130, 600].map(|distance| small.bucket(distance)), [3, 5, 8, 9]);
        let exact = RelativePositions { buckets: None, largest: 4 };
        assert_eq!(exact.rows(-6..6), [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 7]);
    }
}
