//! Several adapters of one base as one.

use burn::tensor::TensorData;
use indexmap::IndexMap;

use super::{Combination, FactoredAdapter, Module, NewAdapter, Weighted};
use crate::TargetConfig;

/// How far weights may be from 1 in all, where they have to come to that.
const ROUNDING: f64 = 1e-6;

/// Why adapters cannot be combined. Numbers are those of adapters in their order, from 0.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CombineError {
    #[error("`{module}` is {found:?} to adapter {n} and {first:?} to adapter {of}")]
    Size { module: String, n: usize, found: [usize; 2], of: usize, first: [usize; 2] },
    /// Of a module, or the highest ranks of the two.
    #[error("the rank is {found} in adapter {n} and {first} in adapter {of}")]
    Ranks { module: Option<String>, n: usize, found: usize, of: usize, first: usize },
    #[error("no module has a rank above {highest} together")]
    Rank { highest: usize },
    #[error("adapter {with} has `{tensor}` and adapter {without} does not")]
    Tensors { tensor: String, with: usize, without: usize },
    #[error("`{tensor}` has {found:?} in adapter {n} and {first:?} in adapter 0")]
    Shape { tensor: String, n: usize, found: Vec<usize>, first: Vec<usize> },
    #[error("`{tensor}` is a value and no difference: the weights have to sum to 1, and come to {sum}")]
    Weights { tensor: String, sum: f64 },
    /// Those of the adapters are: the weights are too large.
    #[error("the update of `{module}` has values that are not finite")]
    NotFinite { module: String },
}

/// The adapters with these weights, of all modules that any of them adapts: one that does not adapt a module adds nothing to it. Heads,
/// biases and other tensors that an adapter has in place of the base's are kept where they are the same in all, and otherwise become
/// their weighted mean (a model soup, Wortsman et al. 2022, arXiv 2203.05482), which PEFT refuses to make.
///
/// # Panics
/// If there is no adapter, or another number of weights.
pub fn combined(
    adapters: &[FactoredAdapter],
    weights: &[f64],
    method: Combination,
) -> Result<NewAdapter, CombineError> {
    assert_eq!(adapters.len(), weights.len(), "a weight for each adapter");
    let modules = modules(adapters)?;
    check_rank(adapters, &modules, method)?;
    let others = others(adapters, weights)?;
    let is_finite = |factors: &[TensorData; 2]| factors.iter().all(|factor| factor.iter::<f32>().all(f32::is_finite));
    let factors = modules.iter().map(|(path, of_module)| {
        let parts: Vec<Weighted<'_>> = of_module.iter().map(|(n, module)| module.weighted(weights[*n])).collect();
        let combined = method.of(path, &parts).filter(is_finite);
        combined.ok_or_else(|| CombineError::NotFinite { module: (*path).to_owned() })
    });
    let factors = factors.collect::<Result<_, _>>()?;
    let of_any: Vec<&Module> = modules.values().map(|of_module| of_module[0].1).collect();
    Ok(adapters[0].with_modules(&of_any, targets(adapters, &modules), factors, others))
}

/// By its path the module of each adapter that has it, with the adapter's number.
type Modules<'a> = IndexMap<&'a str, Vec<(usize, &'a Module)>>;

/// The modules of all adapters, each of one size.
fn modules(adapters: &[FactoredAdapter]) -> Result<Modules<'_>, CombineError> {
    let mut modules = Modules::new();
    for (n, adapter) in adapters.iter().enumerate() {
        for module in adapter.modules() {
            modules.entry(&module.path).or_default().push((n, module));
        }
    }
    for (path, of_module) in &modules {
        let (of, first) = of_module[0];
        if let Some((n, other)) = of_module.iter().find(|(_, other)| other.shape() != first.shape()) {
            let (module, found, first) = ((*path).to_owned(), other.shape(), first.shape());
            return Err(CombineError::Size { module, n: *n, found, of, first });
        }
    }
    Ok(modules)
}

/// What the combined adapter targets, where that is not what the first does.
fn targets(adapters: &[FactoredAdapter], modules: &Modules<'_>) -> Option<TargetConfig> {
    let of_each: Vec<&TargetConfig> = adapters.iter().map(FactoredAdapter::targets).collect::<Option<_>>()?;
    let is_same = of_each.iter().all(|targets| targets == &of_each[0]) && modules.len() == adapters[0].modules().len();
    (!is_same).then(|| TargetConfig::union(&of_each, modules.keys().copied()))
}

/// As PEFT has it: where entries of factors are taken together, the adapters have one rank.
fn check_rank(adapters: &[FactoredAdapter], modules: &Modules<'_>, method: Combination) -> Result<(), CombineError> {
    if method.needs_one_rank() {
        for (path, of_module) in modules {
            let (of, first) = of_module[0];
            if let Some((n, other)) = of_module.iter().find(|(_, other)| other.rank() != first.rank()) {
                let (module, found, first) = (Some((*path).to_owned()), other.rank(), first.rank());
                return Err(CombineError::Ranks { module, n: *n, found, of, first });
            }
        }
        let first = adapters[0].highest_rank();
        if let Some((n, other)) = adapters.iter().enumerate().find(|(_, other)| other.highest_rank() != first) {
            return Err(CombineError::Ranks { module: None, n, found: other.highest_rank(), of: 0, first });
        }
    }
    if let Combination::Svd { rank } = method {
        let together = |of_module: &Vec<(usize, &Module)>| {
            let [d_output, d_input] = of_module[0].1.shape();
            of_module.iter().map(|(_, module)| module.rank()).sum::<usize>().min(d_output).min(d_input)
        };
        let highest = modules.values().map(together).max().unwrap_or(0);
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
