//! The thin factors' algebra against that of dense matrices.

use proptest::prelude::*;

use super::*;

/// A and B with values of a fixed pattern, and their scaled product.
fn random([rank, d_input, d_output]: [usize; 3], scale: f64, seed: u64) -> (Factors, Mat<f64>) {
    let values = |count: usize, key: u64| -> Vec<f32> {
        (0..count as u64).map(|i| kernels::uniform(key, i) as f32 - 0.5).collect()
    };
    let a = TensorData::new(values(rank * d_input, seed), [rank, d_input]);
    let b = TensorData::new(values(d_output * rank, seed + 7), [d_output, rank]);
    let dense = matrix(&b, [d_output, rank], scale) * matrix(&a, [rank, d_input], 1.0);
    (Factors::new(&a, &b, scale).expect("factors of one update"), dense)
}

fn product(factors: &Factors) -> Mat<f64> {
    &factors.b * &factors.a
}

fn norm(matrix: &Mat<f64>) -> f64 {
    matrix.norm_l2()
}

#[test]
fn factors_of_different_updates_are_none() {
    let data = |shape: [usize; 2]| TensorData::zeros::<f32, _>(shape);
    assert!(Factors::new(&data([2, 3]), &data([4, 3]), 1.0).is_none());
    assert!(Factors::new(&data([0, 3]), &data([4, 0]), 1.0).is_none());
    assert!(Factors::new(&TensorData::zeros::<f32, _>([6]), &data([4, 2]), 1.0).is_none());
}

#[test]
fn angles_between_lines_and_planes_are_those_of_geometry() {
    let of = |a: &[f32], b: &[f32], rank: usize| {
        let (a, b) =
            (TensorData::new(a.to_vec(), [rank, a.len() / rank]), TensorData::new(b.to_vec(), [b.len() / rank, rank]));
        Factors::new(&a, &b, 2.0).expect("factors").svd().expect("finite")
    };
    let close = |found: &[f64], expected: &[f64]| {
        found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| (f.to_degrees() - e).abs() < 1e-5)
    };
    // Two lines: inputs along (1, 0) and (1, 1), outputs along (0, 1, 0) and (0, 0, 1).
    let angles = principal_angles(&of(&[1.0, 0.0], &[0.0, 1.0, 0.0], 1), &of(&[3.0, 3.0], &[0.0, 0.0, -1.0], 1));
    let angles = angles.expect("both are something");
    assert!(close(&angles.inputs, &[45.0]) && close(&angles.outputs, &[90.0]), "{angles:?}");
    // Two planes of outputs that share a line, x and y against x and z; both read all of the inputs.
    let all = [1.0, 0.0, 0.0, 1.0];
    let (left, right) = (of(&all, &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0], 2), of(&all, &[1.0, 0.0, 0.0, 0.0, 0.0, 1.0], 2));
    let angles = principal_angles(&left, &right).expect("both are something");
    assert!(close(&angles.outputs, &[0.0, 90.0]) && close(&angles.inputs, &[0.0, 0.0]), "{angles:?}");
    assert!(principal_angles(&left, &of(&all, &[0.0; 6], 2)).is_none());
}

#[test]
fn a_matrix_of_low_rank_is_found_again_and_one_of_full_rank_as_nearly_as_can_be() {
    for (shape, rank) in [([40, 60], 3), ([60, 40], 3), ([5, 9], 4)] {
        let [d_output, d_input] = shape;
        let (_, dense) = random([rank, d_input, d_output], 1.0, 5);
        let values = |matrix: &Mat<f64>| -> Vec<f32> {
            (0..d_output).flat_map(|i| (0..d_input).map(move |j| matrix[(i, j)] as f32)).collect()
        };
        let found = approximated(&values(&dense), shape, rank, 1).expect("finite");
        let [a, b] = &found.factors;
        let again = product(&Factors::new(a, b, 1.0).expect("factors"));
        assert!(norm(&(&again - &dense)) < 1e-5 * norm(&dense), "{shape:?}");
        assert!(found.kept > 1.0 - 1e-5 && (found.norm - norm(&dense)).abs() < 1e-4, "{found:?}");
        // As a matrix of noise is hardest.
        let (_, noise) = random([d_output.min(d_input), d_input, d_output], 1.0, 9);
        let singular_values = noise.singular_values().expect("finite");
        let energy = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
        let best = energy(&singular_values[..rank]) / energy(&singular_values);
        let found = approximated(&values(&noise), shape, rank, 1).expect("finite");
        assert!(found.kept <= best + 1e-5 && found.kept > 0.99 * best, "{shape:?}: {} of {best}", found.kept);
    }
    let nothing = approximated(&[0.0; 6], [2, 3], 1, 0).expect("finite");
    assert_eq!((nothing.kept, nothing.norm), (1.0, 0.0));
}

proptest! {
    #[test]
    fn the_thin_svd_is_the_dense_one(
        rank in 1..7_usize, d_input in 1..12_usize, d_output in 1..12_usize, cut in 1..7_usize, seed in 0..1000_u64,
    ) {
        let (factors, dense) = random([rank, d_input, d_output], 1.5, seed);
        let expected = dense.singular_values().expect("finite");
        let svd = factors.svd().expect("finite");
        let largest = expected[0];
        prop_assert!(svd.s.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() <= 1e-12 * largest));
        prop_assert!(expected.iter().skip(svd.s.len()).all(|rest| *rest <= 1e-12 * largest));
        for share in [0.5, 1.0] {
            let nearest = product(&svd.factors(cut, share));
            let rest: f64 = expected.iter().skip(cut).map(|value| value * value).sum();
            let lost = norm(&(&nearest - &dense));
            prop_assert!((lost - rest.sqrt()).abs() <= 1e-7 * largest, "{} {}", lost, rest.sqrt());
        }
    }

    #[test]
    fn products_sums_and_norms_are_those_of_dense_matrices(
        ranks in (1..7_usize, 1..14_usize), d_input in 1..12_usize, d_output in 1..12_usize, seed in 0..1000_u64,
    ) {
        let (left, dense_left) = random([ranks.0, d_input, d_output], 1.5, seed);
        let (right, dense_right) = random([ranks.1, d_input, d_output], -0.5, seed + 50);
        let size = 1.0 + norm(&dense_left) * norm(&dense_right);
        let entries = |i: usize| (0..d_input).map(move |j| (i, j));
        let dot: f64 = (0..d_output).flat_map(entries).map(|at| dense_left[at] * dense_right[at]).sum();
        prop_assert!((left.dot(&right) - dot).abs() <= 1e-12 * size);
        prop_assert!((left.norm() - norm(&dense_left)).abs() <= 1e-12 * size);
        let cosine = left.cosine(&right).expect("both are something");
        prop_assert!((cosine - dot / (norm(&dense_left) * norm(&dense_right))).abs() <= 1e-9);
        let sum = Factors::sum(&[(2.0, left), (-1.0, right)]);
        let dense = &dense_left * faer::Scale(2.0) - &dense_right;
        prop_assert!(norm(&(product(&sum) - &dense)) <= 1e-12 * size);
        prop_assert_eq!(sum.rank(), ranks.0.min(d_input).min(d_output) + ranks.1.min(d_input).min(d_output));
    }
}
