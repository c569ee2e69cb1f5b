//! Several adapters of one base as one.

use burn::tensor::TensorData;
use indexmap::IndexMap;

use super::{Combination, FactoredAdapter, Module, NewAdapter, Weighted};

/// How far weights may be from 1 in all, where they have to come to that.
const ROUNDING: f64 = 1e-6;

/// Why adapters cannot be combined. Numbers are those of adapters in their order, from 0.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CombineError {
    #[error("adapter {with} adapts `{module}` and adapter {without} does not")]
    Targets { module: String, with: usize, without: usize },
    #[error("`{module}` is {found:?} to adapter {n} and {first:?} to adapter 0")]
    Size { module: String, n: usize, found: [usize; 2], first: [usize; 2] },
    #[error("`{module}` has rank {found} in adapter {n} and {first} in adapter 0")]
    Ranks { module: String, n: usize, found: usize, first: usize },
    #[error("no module has a rank above {highest} together")]
    Rank { highest: usize },
    #[error("adapter {with} has `{tensor}` and adapter {without} does not")]
    Tensors { tensor: String, with: usize, without: usize },
    #[error("`{tensor}` has {found:?} in adapter {n} and {first:?} in adapter 0")]
    Shape { tensor: String, n: usize, found: Vec<usize>, first: Vec<usize> },
    #[error("`{tensor}` is a value and no difference: the weights have to sum to 1, and come to {sum}")]
    Weights { tensor: String, sum: f64 },
    #[error("the update of `{module}` has values that are not finite")]
    NotFinite { module: String },
}

/// The adapters with these weights. Heads, biases and other tensors that an adapter has in place of the base's are kept where they are the
/// same in all, and otherwise become their weighted mean (a model soup, Wortsman et al. 2022, arXiv 2203.05482), which PEFT
/// refuses to make.
///
/// # Panics
/// If there is no adapter, or another number of weights.
pub fn combined(
    adapters: &[FactoredAdapter],
    weights: &[f64],
    method: Combination,
) -> Result<NewAdapter, CombineError> {
    assert_eq!(adapters.len(), weights.len(), "a weight for each adapter");
    let first = &adapters[0];
    check_targets(adapters)?;
    check_rank(adapters, method)?;
    let others = others(adapters, weights)?;
    let factors = first.modules().iter().map(|module| {
        let of_module = adapters.iter().filter_map(|adapter| adapter.module(&module.path));
        let parts: Vec<Weighted<'_>> = of_module.zip(weights).map(|(it, weight)| it.weighted(*weight)).collect();
        method.of(&module.path, &parts).ok_or_else(|| CombineError::NotFinite { module: module.path.clone() })
    });
    Ok(first.with(factors.collect::<Result<_, _>>()?, others))
}

/// All adapt the same modules, of the same sizes.
fn check_targets(adapters: &[FactoredAdapter]) -> Result<(), CombineError> {
    let first = &adapters[0];
    for (n, adapter) in adapters.iter().enumerate().skip(1) {
        if let Some(module) = first.modules().iter().find(|module| adapter.module(&module.path).is_none()) {
            return Err(CombineError::Targets { module: module.path.clone(), with: 0, without: n });
        }
        for module in adapter.modules() {
            let Some(of_first) = first.module(&module.path) else {
                return Err(CombineError::Targets { module: module.path.clone(), with: n, without: 0 });
            };
            let (found, first) = (module.shape(), of_first.shape());
            if found != first {
                return Err(CombineError::Size { module: module.path.clone(), n, found, first });
            }
        }
    }
    Ok(())
}

fn check_rank(adapters: &[FactoredAdapter], method: Combination) -> Result<(), CombineError> {
    let first = &adapters[0];
    if method.needs_one_rank() {
        for (n, adapter) in adapters.iter().enumerate().skip(1) {
            for module in adapter.modules() {
                let (found, first) = (module.rank(), first.module(&module.path).map_or(0, Module::rank));
                if found != first {
                    return Err(CombineError::Ranks { module: module.path.clone(), n, found, first });
                }
            }
        }
    }
    if let Combination::Svd { rank } = method {
        let together = |module: &Module| {
            let ranks = adapters.iter().filter_map(|adapter| adapter.module(&module.path)).map(Module::rank);
            let [d_output, d_input] = module.shape();
            ranks.sum::<usize>().min(d_output).min(d_input)
        };
        let highest = first.modules().iter().map(together).max().unwrap_or(0);
        if rank > highest {
            return Err(CombineError::Rank { highest });
        }
    }
    Ok(())
}

/// What adapters have beside their updates.
fn others(adapters: &[FactoredAdapter], weights: &[f64]) -> Result<IndexMap<String, TensorData>, CombineError> {
    let first = &adapters[0];
    let sum: f64 = weights.iter().sum();
    for (n, adapter) in adapters.iter().enumerate().skip(1) {
        let lacks = |one: &FactoredAdapter, other: &FactoredAdapter| {
            one.others().keys().find(|name| !other.others().contains_key(*name)).cloned()
        };
        if let Some(tensor) = lacks(first, adapter) {
            return Err(CombineError::Tensors { tensor, with: 0, without: n });
        }
        if let Some(tensor) = lacks(adapter, first) {
            return Err(CombineError::Tensors { tensor, with: n, without: 0 });
        }
    }
    let mut combined = IndexMap::new();
    for (name, of_first) in first.others() {
        let all: Vec<&TensorData> = adapters.iter().map(|adapter| &adapter.others()[name]).collect();
        if let Some((n, other)) = all.iter().enumerate().find(|(_, other)| other.shape() != of_first.shape()) {
            let (found, first) = (other.shape().to_vec(), of_first.shape().to_vec());
            return Err(CombineError::Shape { tensor: name.clone(), n, found, first });
        }
        let is_same = all.iter().all(|other| other.as_bytes() == of_first.as_bytes());
        if !is_same && (sum - 1.0).abs() > ROUNDING {
            return Err(CombineError::Weights { tensor: name.clone(), sum });
        }
        combined.insert(name.clone(), if is_same { of_first.clone() } else { mean(&all, weights) });
    }
    Ok(combined)
}

fn mean(tensors: &[&TensorData], weights: &[f64]) -> TensorData {
    let mut sums = vec![0.0_f64; tensors[0].num_elements()];
    for (tensor, weight) in tensors.iter().zip(weights) {
        sums.iter_mut().zip(tensor.iter::<f64>()).for_each(|(sum, value)| *sum += weight * value);
    }
    TensorData::new(sums.into_iter().map(|sum| sum as f32).collect::<Vec<f32>>(), tensors[0].shape().clone())
}
