//! What an adapter learned, seen from its factors alone.

use std::collections::HashMap;

use burn::tensor::TensorData;

use crate::{Factors, Spectrum, Update};

/// The spectra of all low-rank updates, without forming one.
pub fn spectra(tensors: &HashMap<String, TensorData>, updates: &[Update]) -> Vec<Spectrum> {
    let spectrum = |update: &Update| {
        let factors = Factors::of(update, tensors)?;
        let mut singular_values = factors.svd()?.singular_values().to_vec();
        singular_values.resize(factors.rank(), 0.0);
        Some(Spectrum { module: update.module.clone(), singular_values })
    };
    updates.iter().filter_map(spectrum).collect()
}

/// How far a module is moved.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateSize {
    pub module: String,
    /// Of an addition its Frobenius norm, also where lengths are set after it, whose share only the weight tells; of a scaling
    /// the root of the mean square of its values less one.
    pub norm: f64,
    /// Whether it is that of a scaling.
    pub is_relative: bool,
}

/// The sizes of all updates, without forming one.
pub fn update_sizes(tensors: &HashMap<String, TensorData>, updates: &[Update]) -> Vec<UpdateSize> {
    let size = |update: &Update| {
        let (module, is_relative) = (update.module.clone(), update.form.is_relative());
        Some(UpdateSize { module, norm: update.form.norm(tensors)?, is_relative })
    };
    updates.iter().filter_map(size).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{AdapterMethod, LoraConfig};

    fn tensors(a: Vec<f32>, b: Vec<f32>, rank: usize) -> HashMap<String, TensorData> {
        let (d_input, d_output) = (a.len() / rank, b.len() / rank);
        HashMap::from([
            (A.to_string(), TensorData::new(a, [rank, d_input])),
            (B.to_string(), TensorData::new(b, [d_output, rank])),
        ])
    }

    const A: &str = "q.lora_A.weight";
    const B: &str = "q.lora_B.weight";

    /// Of LoRA with this scale.
    fn updates(scale: f64) -> Vec<Update> {
        LoraConfig { alpha: scale, ..LoraConfig::default() }.update(A, &[1]).into_iter().collect()
    }

    #[test]
    fn the_norm_is_that_of_the_product() {
        // B·A = [[1, 4.5, 3], [1, -0.5, -3]], whose squared norm is 40.5.
        let tensors = tensors(vec![1.0, 2.0, 0.0, -1.0, 0.5, 3.0], vec![2.0, 1.0, 0.0, -1.0], 2);
        let norms = update_sizes(&tensors, &updates(2.0));
        assert!((norms[0].norm - 2.0 * 40.5_f64.sqrt()).abs() < 1e-12, "{norms:?}");
    }

    #[test]
    fn singular_values_are_those_of_numpy() {
        // B·A as above, of which `numpy.linalg.svd` gives 5.879626 and 2.435158.
        let tensors = tensors(vec![1.0, 2.0, 0.0, -1.0, 0.5, 3.0], vec![2.0, 1.0, 0.0, -1.0], 2);
        let spectrum = &spectra(&tensors, &updates(2.0))[0];
        for (found, expected) in spectrum.singular_values.iter().zip([2.0 * 5.879_626, 2.0 * 2.435_158]) {
            assert!((found - expected).abs() < 1e-5, "{spectrum:?}");
        }
        assert!((spectrum.frobenius() - 2.0 * 40.5_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_rank_beyond_the_size_of_the_update_asks_for_no_more_memory_than_the_factors() {
        // Squares of the rank would be 2^34 numbers. B·A is one number.
        const RANK: usize = 1 << 17;
        let tensors = tensors(vec![0.5; RANK], vec![0.25; RANK], RANK);
        let expected = 0.125 * RANK as f64;
        let spectrum = &spectra(&tensors, &updates(1.0))[0];
        assert_eq!((spectrum.singular_values.len(), spectrum.singular_values[1]), (RANK, 0.0));
        assert!((spectrum.frobenius() - expected).abs() < 1e-6 * expected, "{}", spectrum.frobenius());
        assert!((update_sizes(&tensors, &updates(1.0))[0].norm - expected).abs() < 1e-6 * expected);
    }

    #[test]
    fn factors_that_do_not_belong_together_have_no_spectrum() {
        let mut tensors = tensors(vec![1.0; 6], vec![1.0; 4], 2);
        tensors.insert(B.to_string(), TensorData::new(vec![1.0_f32; 3], [3, 1]));
        assert!(spectra(&tensors, &updates(1.0)).is_empty());
        tensors.insert(A.to_string(), TensorData::new(vec![1.0_f32; 6], [6]));
        assert!(update_sizes(&tensors, &updates(1.0)).is_empty());
    }

    proptest! {
        #[test]
        fn squares_add_up_to_the_squared_norm_and_there_are_as_many_as_the_rank(
            rank in 1..9_usize, d_input in 1..12_usize, d_output in 1..12_usize, seed in 0..1000_u64,
        ) {
            let values = |count: usize, key: u64| -> Vec<f32> {
                (0..count as u64).map(|i| kernels::uniform(key, i) as f32 - 0.5).collect()
            };
            let tensors = tensors(values(rank * d_input, seed), values(d_output * rank, seed + 7), rank);
            let (spectrum, norm) = (&spectra(&tensors, &updates(1.5))[0], update_sizes(&tensors, &updates(1.5))[0].norm);
            prop_assert_eq!(spectrum.singular_values.len(), rank);
            prop_assert!((spectrum.frobenius() - norm).abs() <= 1e-9 * norm.max(1e-3));
            let possible = rank.min(d_input).min(d_output);
            let noise = spectrum.singular_values[0] * 1e-6;
            prop_assert!(spectrum.singular_values.iter().skip(possible).all(|value| *value <= noise));
        }
    }
}
