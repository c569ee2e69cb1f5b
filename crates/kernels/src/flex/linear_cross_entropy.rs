//! Cross-entropy of a linear layer's logits, some classes at a time, as attention goes over keys (Dao et al. 2022, arXiv
//! 2205.14135): sums over the classes so far are kept in terms of the largest logit so far. Both products read the same part of
//! the weight, and the logits stay in the processor's cache.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;
use half::bf16;
use rayon::prelude::*;

use super::logits::{slope, transform_values};
use super::matrix::{Factor, Matrix, Stored};
use super::product::{Term, add_product, product};
use super::vector::{exp_of_negative, fold, largest};
use super::{tensor, vector_of, with_rows};
use crate::linear_cross_entropy::{Layer, composed, composed_with_gradient};
use crate::wide::with_wide_vectors;
use crate::{LogitsTransform, Precision};

/// Classes whose logits are held: whole panels of a product, and whole depths of the next.
const CLASSES: usize = 3 * 768;

/// Rows whose logits are held: 9 MiB of them.
const ROWS: usize = 1024;

/// A row, as far as its classes have been seen.
#[derive(Clone, Copy)]
struct Seen {
    largest: f32,
    /// Of `e^(logit - largest)`.
    sum: f32,
    of_target: f32,
}

pub(crate) fn forward(layer: Layer<'_, Flex>) -> (FlexTensor, FlexTensor) {
    let layer = Layer { x: with_rows(layer.x), ..layer };
    match Operands::of(&layer, |operands| operands.all(None)) {
        Some(seen) => losses_and_margins(&seen),
        None => composed(layer),
    }
}

pub(crate) fn with_gradient(layer: Layer<'_, Flex>) -> (FlexTensor, FlexTensor, FlexTensor) {
    let layer = Layer { x: with_rows(layer.x), ..layer };
    let shape = layer.x.layout().shape().clone();
    let mut gradient = vec![0.0; shape.num_elements()];
    match Operands::of(&layer, |operands| operands.all(Some(&mut gradient))) {
        Some(seen) => {
            let (losses, margins) = losses_and_margins(&seen);
            (losses, margins, tensor(gradient, shape))
        }
        None => composed_with_gradient(layer),
    }
}

fn losses_and_margins(seen: &[Seen]) -> (FlexTensor, FlexTensor) {
    let losses = seen.iter().map(|row| row.largest + row.sum.ln() - row.of_target).collect();
    let margins = seen.iter().map(|row| row.of_target - row.largest).collect();
    let shape = Shape::new([seen.len()]);
    (tensor(losses, shape.clone()), tensor(margins, shape))
}

/// The layer as the products read it.
struct Operands<'a> {
    x: Matrix<'a>,
    weight: Stored<'a>,
    bias: Option<&'a [f32]>,
    targets: &'a [u32],
    transform: LogitsTransform,
    precision: Precision,
}

impl Operands<'_> {
    /// `None` where the tensors lie otherwise than the products read them.
    fn of<T>(layer: &Layer<'_, Flex>, read: impl FnOnce(Operands<'_>) -> T) -> Option<T> {
        let (Some(x), Some(Factor::Plain(weight))) = (Matrix::of(&layer.x), Factor::of_frozen(&layer.weight)) else {
            return None;
        };
        let bias = layer.bias.clone().map(vector_of);
        let bias = bias.as_ref().and_then(|bias| bias.as_slice());
        let Layer { targets, transform, precision, .. } = *layer;
        Some(read(Operands { x, weight, bias, targets, transform, precision }))
    }

    /// What is seen of each row. `gradient`, from zeros, becomes that of `x`.
    fn all(&self, mut gradient: Option<&mut [f32]>) -> Vec<Seen> {
        let (rows, width) = (self.x.rows(), self.x.columns());
        // Equal parts: of a few rows that are left over the products would be thin.
        let size = rows.div_ceil(rows.div_ceil(ROWS));
        (0..rows)
            .step_by(size)
            .flat_map(|start| {
                let part = start..rows.min(start + size);
                let gradient = gradient.as_deref_mut().map(|all| &mut all[part.start * width..part.end * width]);
                let of_part =
                    Operands { x: self.x.part(part.clone(), 0..width), targets: &self.targets[part], ..*self };
                of_part.of_rows(gradient)
            })
            .collect()
    }

    fn of_rows(&self, mut gradient: Option<&mut [f32]>) -> Vec<Seen> {
        let (rows, classes, width) = (self.x.rows(), self.weight.rows(), self.x.columns());
        let mut seen = vec![Seen { largest: f32::NEG_INFINITY, sum: 0.0, of_target: f32::NEG_INFINITY }; rows];
        let mut factors = vec![0.0; rows];
        let with_gradient = gradient.is_some();
        for first in (0..classes).step_by(CLASSES) {
            let part = first..classes.min(first + CLASSES);
            let weight = Factor::Plain(self.weight.part(part.clone()));
            let left = Factor::Plain(self.x);
            let term = Term { left, right: weight.transposed(), factor: 1.0, precision: self.precision };
            let mut logits = product(&[term], self.bias.map(|bias| &bias[part.clone()]));
            let of_rows = seen.par_iter_mut().zip(&mut factors).zip(self.targets);
            let of_rows = logits.par_chunks_exact_mut(part.len()).zip(of_rows);
            of_rows.for_each_init(Vec::new, |capped, (logits, ((seen, factor), target))| {
                if !self.transform.is_identity() {
                    transform_values(logits, self.transform);
                }
                if let Some(of_target) = (*target as usize).checked_sub(first).and_then(|index| logits.get(index)) {
                    seen.of_target = *of_target;
                }
                match self.transform.soft_cap {
                    Some(cap) if with_gradient => {
                        capped.clear();
                        capped.extend_from_slice(logits);
                        go_on(logits, seen, factor);
                        through_soft_cap(logits, capped, cap);
                    }
                    _ => go_on(logits, seen, factor),
                }
            });
            let Some(gradient) = gradient.as_deref_mut() else { continue };
            gradient.par_chunks_exact_mut(width).zip(&factors).for_each(|(row, factor)| {
                if *factor != 1.0 {
                    row.iter_mut().for_each(|value| *value *= factor);
                }
            });
            let left = Factor::Plain(Matrix::new(&logits, rows, part.len(), part.len()));
            add_product(&[Term { left, right: weight, factor: 1.0, precision: self.precision }], gradient);
        }
        if let Some(gradient) = gradient {
            let is_rounded = self.precision == Precision::Bf16 && Precision::has_bf16();
            let of_rows = seen.par_iter().zip(self.targets);
            gradient.par_chunks_exact_mut(width).zip(of_rows).for_each_init(
                || vec![0.0; width],
                |wide, (row, (seen, target))| {
                    // As the product took it: what a sure prediction leaves of the gradient is the difference of the two.
                    let slope = slope(seen.of_target, self.transform.soft_cap);
                    let (of_target, slope) = match is_rounded {
                        true => (self.weight.rounded_row(*target as usize, wide), bf16::from_f32(slope).to_f32()),
                        false => (self.weight.row(*target as usize, 0..width, wide), slope),
                    };
                    subtract(row, 1.0 / seen.sum, of_target, slope, self.transform.scale);
                },
            );
        }
        seen
    }
}

with_wide_vectors! {
    /// Makes `e^(logit - largest)` of logits. What was summed of the classes before is to be multiplied by `factor`.
    fn go_on(logits: &mut [f32], seen: &mut Seen, factor: &mut f32) {
        let most = seen.largest.max(largest(logits));
        for logit in logits.iter_mut() {
            *logit = exp_of_negative(*logit - most);
        }
        *factor = if most == seen.largest { 1.0 } else { exp_of_negative(seen.largest - most) };
        let sum = fold(logits, 0.0, |sum, value| sum + value).iter().sum::<f32>();
        *seen = Seen { largest: most, sum: seen.sum * *factor + sum, ..*seen };
    }
}

with_wide_vectors! {
    /// `scale * (factor * row - slope * other)`
    fn subtract(row: &mut [f32], factor: f32, other: &[f32], slope: f32, scale: f32) {
        for (value, other) in row.iter_mut().zip(other) {
            *value = scale * (factor * *value - slope * other);
        }
    }
}

with_wide_vectors! {
    fn through_soft_cap(gradient: &mut [f32], capped: &[f32], cap: f32) {
        for (gradient, capped) in gradient.iter_mut().zip(capped) {
            *gradient *= slope(*capped, Some(cap));
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::ops::FloatTensorOps;
    use burn::tensor::DType;

    use super::*;
    use crate::FrozenPrimitive;
    use crate::flex::tests::{close, within};

    const SHAPES: [[usize; 3]; 5] = [[1, 1, 1], [3, 5, 7], [31, CLASSES, 16], [7, 2 * CLASSES + 1, 3], [1500, 70, 9]];

    fn layer(rows: usize, classes: usize, width: usize, dtype: DType, targets: &[u32]) -> Layer<'_, Flex> {
        let cast = |tensor| <Flex as FloatTensorOps<Flex>>::float_cast(tensor, dtype.into());
        Layer {
            x: within(2.0, &[rows, width], 1),
            weight: FrozenPrimitive::Float(cast(within(1.0, &[classes, width], 2))),
            bias: (rows % 2 == 1).then(|| within(1.0, &[classes], 3)),
            targets,
            transform: LogitsTransform::default(),
            precision: Precision::F32,
        }
    }

    const TRANSFORMS: [LogitsTransform; 3] = [
        LogitsTransform { scale: 1.0, soft_cap: None },
        LogitsTransform { scale: 0.125, soft_cap: None },
        LogitsTransform { scale: 1.5, soft_cap: Some(3.0) },
    ];

    fn targets(rows: usize, classes: usize) -> Vec<u32> {
        (0..rows).map(|row| (row * 1009 % classes) as u32).collect()
    }

    #[test]
    fn losses_margins_and_gradients_equal_the_composed_form_in_every_type() {
        for [rows, classes, width] in SHAPES {
            let targets = targets(rows, classes);
            let types = [DType::F32, DType::F16, DType::BF16];
            for (dtype, transform) in types.into_iter().flat_map(|dtype| TRANSFORMS.map(|transform| (dtype, transform)))
            {
                let layer = || Layer { transform, ..layer(rows, classes, width, dtype, &targets) };
                let (ours, expected) = (with_gradient(layer()), composed_with_gradient(layer()));
                // Logits of `width` products, then sums over the classes.
                let close = |left, right| close(left, right, width + classes);
                close(ours.0.clone(), expected.0);
                close(ours.1.clone(), expected.1);
                close(ours.2, expected.2);
                let alone = forward(layer());
                assert_eq!(alone.0.into_data(), ours.0.into_data(), "the gradient changes no loss");
                assert_eq!(alone.1.into_data(), ours.1.into_data());
            }
        }
    }

    #[test]
    fn in_bf16_a_sure_prediction_has_no_gradient_left() {
        // Each row points at its class, by as much as it takes.
        let targets = targets(9, 40);
        let types = [DType::F32, DType::F16, DType::BF16];
        for (dtype, soft_cap) in types.into_iter().flat_map(|dtype| [None, Some(50.0)].map(|cap| (dtype, cap))) {
            let transform = LogitsTransform { scale: 1.0, soft_cap };
            let layer = layer(9, 40, 64, dtype, &targets);
            let mut layer = Layer { bias: None, precision: Precision::Bf16, transform, ..layer };
            let weight = crate::flex::quantised::widened(layer.weight.clone());
            let values = weight.storage::<f32>();
            let rows =
                targets.iter().flat_map(|target| &values[*target as usize * 64..][..64]).map(|value| 3.0 * value);
            layer.x = FlexTensor::from_data(burn::tensor::TensorData::new(rows.collect::<Vec<f32>>(), [9, 64]));
            let (losses, _, gradient) = with_gradient(layer);
            assert!(losses.storage::<f32>().iter().all(|loss| *loss < 1e-3));
            let left = gradient.storage::<f32>().iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            assert!(left < 1e-3, "{dtype:?}: {left}");
        }
    }

    #[test]
    fn a_margin_is_zero_where_the_target_is_the_likeliest() {
        let targets = targets(40, 5000);
        let layer = Layer { bias: None, ..layer(40, 5000, 4, DType::F32, &targets) };
        let logits = crate::linear::composed::<Flex>(layer.x.clone(), layer.weight.clone(), None);
        let likeliest: Vec<u32> = logits
            .storage::<f32>()
            .chunks(5000)
            .map(|row| (0..5000).max_by(|a, b| row[*a].total_cmp(&row[*b])).map_or(0, |index| index as u32))
            .collect();
        let (_, margins) = forward(Layer { targets: &likeliest, ..layer });
        assert_eq!(margins.storage::<f32>(), [0.0; 40]);
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let targets = targets(150, 5000);
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (losses, _, gradient) = pool.install(|| with_gradient(layer(150, 5000, 33, DType::F32, &targets)));
            [losses, gradient].map(FlexTensor::into_data)
        };
        let one = with(1);
        assert_eq!(one, with(2));
        assert_eq!(one, with(7));
    }

    #[test]
    fn what_is_no_number_makes_a_loss_that_is_none() {
        let targets = [1];
        let mut layer = layer(1, 5, 7, DType::F32, &targets);
        layer.x = FlexTensor::from_data(burn::tensor::TensorData::new(vec![f32::NAN; 7], [1, 7]));
        assert!(forward(layer).0.storage::<f32>()[0].is_nan());
    }
}
