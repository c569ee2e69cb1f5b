//! How far apart two computations of the same sums in f32 may lie, whatever the order of each: what follows from their depth
//! and the size of what is added, not a number that happened to fit. For tests.

/// Half a unit in the last place of 1.
const UNIT: f64 = 1.0 / (1 << 24) as f64;

/// Roundings of what is no sum: an exponential (relative error 2e-7, some 4 units), a root, a quotient, a few products.
const OF_A_FUNCTION: usize = 16;

/// By how much a norm or a softmax makes of an error of its sums a larger one, for rows that are not nearly constant.
const CONDITION: f64 = 4.0;

/// The factor of the standard error analysis (Higham 2002, lemma 3.1): a sum of `depth` products differs from the exact one by at
/// most this times the sum of the products' magnitudes.
pub(crate) fn gamma(depth: usize) -> f64 {
    let roundings = depth as f64 * UNIT;
    roundings / (1.0 - roundings)
}

/// Both are sums of `depth` terms, each of which has been rounded on both sides; `magnitudes` are the sums of the terms'
/// magnitudes, computed in f32 too.
#[track_caller]
pub(crate) fn assert_same_sums(left: &[f32], right: &[f32], depth: usize, magnitudes: &[f32]) {
    assert_eq!((left.len(), right.len()), (magnitudes.len(), magnitudes.len()), "numbers of values");
    let bound = 2.0 * gamma(depth) / (1.0 - gamma(depth));
    for (at, ((left, right), magnitude)) in left.iter().zip(right).zip(magnitudes).enumerate() {
        let (apart, bound) = ((f64::from(*left) - f64::from(*right)).abs(), bound * f64::from(*magnitude));
        assert!(apart <= bound, "value {at}: {left} and {right} are {apart:e} apart, held to {bound:e}");
    }
}

/// Both are what functions, norms and softmax make of sums of `depth` terms: the error is that of the sums and of the functions,
/// relative to the largest of all or to 1, from which others come by subtraction: these tests compute with inputs of about that size.
#[track_caller]
pub(crate) fn assert_close(left: &[f32], right: &[f32], depth: usize) {
    assert_eq!(left.len(), right.len(), "numbers of values");
    let size = right.iter().fold(1.0_f32, |size, value| size.max(value.abs()));
    let bound = 2.0 * CONDITION * gamma(depth + OF_A_FUNCTION) * f64::from(size);
    for (at, (left, right)) in left.iter().zip(right).enumerate() {
        let apart = (f64::from(*left) - f64::from(*right)).abs();
        assert!(apart <= bound, "value {at}: {left} and {right} are {apart:e} apart, held to {bound:e}");
    }
}
