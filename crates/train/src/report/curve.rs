//! A curve of thousands of steps made fit for a plot: a running mean to see the trend by, and fewer points with the same
//! outline.

pub(super) type Point = (f64, f64);

/// Those points that can be drawn.
pub(super) fn finite(points: impl IntoIterator<Item = Point>) -> Vec<Point> {
    points.into_iter().filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
}

/// The number of points on either side that [`running_mean`] takes in: a twentieth of the curve altogether, at most 101
/// points; 0 where a curve is too short to be smoothed.
pub(super) fn reach(points: usize) -> usize {
    if points < 20 { 0 } else { (points / 40).clamp(1, 50) }
}

/// The mean over each point and `reach` points on either side, or as many as there are: a mean over the past alone would
/// show every fall late, beside validation scores that are not late.
pub(super) fn running_mean(points: &[Point], reach: usize) -> Vec<Point> {
    let mut sums = vec![0.0];
    for (_, y) in points {
        sums.push(sums[sums.len() - 1] + y);
    }
    let mean = |(i, (x, _)): (usize, &Point)| {
        let (from, to) = (i.saturating_sub(reach), (i + reach + 1).min(points.len()));
        (*x, (sums[to] - sums[from]) / (to - from) as f64)
    };
    points.iter().enumerate().map(mean).collect()
}

/// At most about `limit` points: from each of equally many neighbours the lowest and the highest, so that no spike is
/// lost, and both ends.
pub(super) fn thin(points: &[Point], limit: usize) -> Vec<Point> {
    if points.len() <= limit.max(4) {
        return points.to_vec();
    }
    let (first, last) = (points[0], points[points.len() - 1]);
    let buckets = (limit.max(4) - 2) / 2;
    let size = points.len().div_ceil(buckets);
    let mut thinned = vec![first];
    for bucket in points.chunks(size) {
        let by_height = |a: &&Point, b: &&Point| a.1.total_cmp(&b.1);
        let (Some(low), Some(high)) = (bucket.iter().min_by(by_height), bucket.iter().max_by(by_height)) else {
            continue;
        };
        let (left, right) = if low.0 <= high.0 { (*low, *high) } else { (*high, *low) };
        thinned.extend([left, right]);
    }
    thinned.push(last);
    thinned.dedup();
    thinned
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn curve(heights: &[f64]) -> Vec<Point> {
        heights.iter().enumerate().map(|(i, y)| (i as f64, *y)).collect()
    }

    #[test]
    fn a_running_mean_looks_as_far_ahead_as_back() {
        let means = running_mean(&curve(&[0.0, 3.0, 6.0, 0.0, 5.0]), 1);
        assert_eq!(means, [(0.0, 1.5), (1.0, 3.0), (2.0, 3.0), (3.0, 11.0 / 3.0), (4.0, 2.5)]);
        assert_eq!(running_mean(&[], 3), []);
    }

    #[test]
    fn short_curves_are_not_smoothed() {
        assert_eq!([3, 19, 20, 400, 5000].map(reach), [0, 0, 1, 10, 50]);
    }

    #[test]
    fn a_single_spike_among_thousands_survives() {
        let mut heights: Vec<f64> = (0..5000).map(|i| (f64::from(i) / 50.0).sin()).collect();
        heights[3217] = 40.0;
        heights[1400] = -40.0;
        let thinned = thin(&curve(&heights), 600);
        assert!(thinned.contains(&(3217.0, 40.0)) && thinned.contains(&(1400.0, -40.0)));
        assert!(thinned.len() <= 600, "{}", thinned.len());
    }

    proptest! {
        #[test]
        fn thinning_keeps_ends_extremes_and_order(
            heights in prop::collection::vec(-1e6_f64..1e6, 1..2000), limit in 4_usize..200
        ) {
            let points = curve(&heights);
            let thinned = thin(&points, limit);
            prop_assert!(thinned.len() <= limit);
            prop_assert_eq!(thinned[0], points[0]);
            prop_assert_eq!(thinned[thinned.len() - 1], points[points.len() - 1]);
            prop_assert!(thinned.windows(2).all(|pair| pair[0].0 < pair[1].0));
            let range = |points: &[Point]| points.iter().fold((f64::MAX, f64::MIN), |r, p| (r.0.min(p.1), r.1.max(p.1)));
            prop_assert_eq!(range(&thinned), range(&points));
        }
    }
}
