//! What an adapter learned, seen from its factors alone.

use std::collections::HashMap;

use burn::tensor::TensorData;

use crate::Update;

/// The Frobenius norm of `scale * B·A` for each module, without forming the product: the squared norm is the sum over the
/// entries of `BᵀB` times those of `A·Aᵀ`, two `r x r` matrices.
pub fn update_norms(tensors: &[(String, TensorData)], updates: &[Update]) -> Vec<(String, f64)> {
    let by_name: HashMap<&str, &TensorData> = tensors.iter().map(|(name, data)| (name.as_str(), data)).collect();
    let norm = |update: &Update| {
        let [a, b] = update.factors.each_ref().map(|name| by_name.get(name.as_str()));
        let (a, b) = (a?, b?);
        let (rank, d_input) = (a.shape()[0], a.shape()[1]);
        let a: Vec<f64> = a.iter::<f64>().collect();
        let b: Vec<f64> = b.iter::<f64>().collect();
        let mut squared = 0.0;
        for i in 0..rank {
            for j in 0..rank {
                let of_a: f64 = (0..d_input).map(|k| a[i * d_input + k] * a[j * d_input + k]).sum();
                let of_b: f64 = b.chunks(rank).map(|row| row[i] * row[j]).sum();
                squared += of_a * of_b;
            }
        }
        Some((update.module.clone(), update.scale * squared.max(0.0).sqrt()))
    };
    updates.iter().filter_map(norm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_norm_is_that_of_the_product() {
        let a = TensorData::new(vec![1.0_f32, 2.0, 0.0, -1.0, 0.5, 3.0], [2, 3]);
        let b = TensorData::new(vec![2.0_f32, 1.0, 0.0, -1.0], [2, 2]);
        // B·A = [[1, 4.5, 3], [1, -0.5, -3]], whose squared norm is 40.5.
        let tensors = [("q.lora_A.weight".to_string(), a), ("q.lora_B.weight".to_string(), b)];
        let norms = update_norms(&tensors, &[Update::of_linear("q", 2.0, crate::Orientation::OutIn)]);
        assert!((norms[0].1 - 2.0 * 40.5_f64.sqrt()).abs() < 1e-12, "{norms:?}");
    }
}
