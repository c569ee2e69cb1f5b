//! An adapter all of whose updates are products of thin factors, taken apart and put together again with others.

use burn::tensor::TensorData;
use indexmap::IndexMap;

use super::{Factors, Spectrum, Weighted};
use crate::peft::{AdapterTensors, PREFIX, is_joined};
use crate::{Method, TargetConfig, ThinFactors};

/// The factors of a module as the adapter's files have them.
#[derive(Debug, Clone)]
pub struct Module {
    pub path: String,
    /// The names of A and B.
    names: [String; 2],
    /// `[rank, d_input]`
    pub a: TensorData,
    /// `[d_output, rank]`
    pub b: TensorData,
    /// Of their product.
    pub scale: f64,
}

impl Module {
    pub fn rank(&self) -> usize {
        self.a.shape()[0]
    }

    /// `[d_output, d_input]`
    pub fn shape(&self) -> [usize; 2] {
        [self.b.shape()[0], self.a.shape()[1]]
    }

    pub fn weighted(&self, weight: f64) -> Weighted<'_> {
        Weighted { a: &self.a, b: &self.b, scale: self.scale, weight }
    }

    pub fn factors(&self) -> Factors {
        Factors::new(&self.a, &self.b, self.scale).expect("the two are of one rank")
    }
}

/// Why an adapter is not the factors of its modules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactorsError {
    /// See [`with_ranks`](crate::AdapterMethod::with_ranks).
    #[error("the adapter is {0}")]
    Method(&'static str),
    #[error("`{PREFIX}{tensor}` has no counterpart")]
    Alone { tensor: String },
    #[error("the adapter has no update")]
    Nothing,
}

#[derive(Debug, Clone)]
pub struct FactoredAdapter {
    method: Method,
    modules: Vec<Module>,
    /// What it has beside its updates: heads, biases, other modules that were trained in full.
    others: IndexMap<String, TensorData>,
}

/// An adapter as it is to be written.
#[derive(Debug, Clone)]
pub struct NewAdapter {
    pub method: Method,
    /// By their names in the model.
    pub tensors: Vec<(String, TensorData)>,
}

impl FactoredAdapter {
    /// `method` and `tensors` are those of an adapter on its base as that is stored.
    pub fn new(method: &Method, tensors: &AdapterTensors) -> Result<Self, FactorsError> {
        method.with_ranks(&[], None).map_err(FactorsError::Method)?;
        let data = |(name, shape): (&str, &[usize])| {
            let values = tensors.values(name).unwrap_or_default().to_vec();
            (name.to_owned(), TensorData::new(values, shape.to_vec()))
        };
        let mut others: IndexMap<String, TensorData> = tensors.names().map(data).collect();
        let mut modules = Vec::new();
        for update in tensors.updates() {
            let Some(ThinFactors { a, b, scale, .. }) = update.form.thin_factors() else { continue };
            let (a, b) = (a.to_owned(), b.to_owned());
            let Some(of_b) = others.get(&b).cloned() else { return Err(FactorsError::Alone { tensor: a }) };
            // The shapes were compared when they were read.
            let of_a = others.shift_remove(&a).expect("it is the tensor that the update was found by");
            others.shift_remove(&b);
            modules.push(Module { path: update.module, names: [a, b], a: of_a, b: of_b, scale });
        }
        if let Some(tensor) = others.keys().find(|name| method.module_of(name).is_some()) {
            return Err(FactorsError::Alone { tensor: tensor.clone() });
        }
        match modules.is_empty() {
            true => Err(FactorsError::Nothing),
            false => Ok(Self { method: method.clone(), modules, others }),
        }
    }

    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    pub fn module(&self, path: &str) -> Option<&Module> {
        self.modules.iter().find(|module| module.path == path)
    }

    /// By name.
    pub fn others(&self) -> &IndexMap<String, TensorData> {
        &self.others
    }

    pub(super) fn targets(&self) -> Option<&TargetConfig> {
        self.method.targets()
    }

    /// The same with these A and B in place of those of its modules, in their order, to be added as they are.
    ///
    /// # Panics
    /// If there are not as many as modules.
    pub fn with(&self, factors: Vec<[TensorData; 2]>) -> NewAdapter {
        let modules: Vec<&Module> = self.modules.iter().collect();
        self.with_modules(&modules, None, factors, self.others.clone())
    }

    /// The same with these modules, which `targets` mean if they are not its own, their A and B, and these tensors beside them. Experts
    /// and routers get the highest rank of theirs, with zeros.
    ///
    /// # Panics
    /// If there are not as many factors as modules.
    pub(super) fn with_modules(
        &self,
        modules: &[&Module],
        targets: Option<TargetConfig>,
        mut factors: Vec<[TensorData; 2]>,
        others: IndexMap<String, TensorData>,
    ) -> NewAdapter {
        assert_eq!(factors.len(), modules.len(), "factors for each module");
        fill_up_experts(&modules.iter().map(|module| module.path.as_str()).collect::<Vec<_>>(), &mut factors);
        let ranks: Vec<(String, usize)> =
            modules.iter().zip(&factors).map(|(it, [a, _])| (it.path.clone(), a.shape()[0])).collect();
        let method = self.method.with_ranks(&ranks, targets).expect("it was asked before");
        let own =
            modules.iter().zip(factors).flat_map(|(module, factors)| module.names.clone().into_iter().zip(factors));
        NewAdapter { method, tensors: own.chain(others).collect() }
    }
}

/// Gives the experts and routers among these modules the highest rank of theirs, with zeros: PEFT has one for all of them. The factors
/// are A and B of each module.
pub fn fill_up_experts(paths: &[&str], factors: &mut [[TensorData; 2]]) {
    let joined = |n: &usize| is_joined(paths[*n]);
    let highest = (0..factors.len()).filter(joined).map(|n| factors[n][0].shape()[0]).max();
    for n in (0..factors.len()).filter(joined) {
        factors[n] = filled_up(&factors[n], highest.unwrap_or(0));
    }
}

/// A and B of this rank or a higher one, filled up with zeros.
fn filled_up([a, b]: &[TensorData; 2], rank: usize) -> [TensorData; 2] {
    let ([before, d_input], d_output) = ([a.shape()[0], a.shape()[1]], b.shape()[0]);
    let more = rank.saturating_sub(before);
    if more == 0 {
        return [a.clone(), b.clone()];
    }
    let rows = a.iter::<f32>().chain(std::iter::repeat_n(0.0, more * d_input)).collect::<Vec<f32>>();
    let values: Vec<f32> = b.iter::<f32>().collect();
    let columns = values.chunks(before).flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(0.0, more)));
    [TensorData::new(rows, [rank, d_input]), TensorData::new(columns.collect::<Vec<f32>>(), [d_output, rank])]
}

/// How far an adapter is cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cut {
    /// To this rank; a module of a lower one stays as it is.
    Rank(usize),
    /// Each module to the lowest rank that keeps this share of its energy, the sum of the squares of its singular values.
    Energy(f64),
}

/// What a cut left of a module.
#[derive(Debug, Clone, PartialEq)]
pub struct Resized {
    pub module: String,
    pub rank_before: usize,
    pub rank: usize,
    /// The share of its energy.
    pub kept: f64,
    /// Its energy before.
    pub energy: f64,
}

impl FactoredAdapter {
    /// The highest rank of a module, 0 without one.
    pub fn highest_rank(&self) -> usize {
        self.modules.iter().map(Module::rank).max().unwrap_or(0)
    }

    /// Each update cut to its largest singular triplets, which is the nearest one of that rank; at least one stays. Experts and routers
    /// keep one rank, the highest that one of them needs. `None` for values that are not finite.
    pub fn resized(&self, cut: Cut) -> Option<(NewAdapter, Vec<Resized>)> {
        let mut parts = Vec::new();
        for module in &self.modules {
            let svd = module.factors().svd()?;
            let spectrum = Spectrum { module: module.path.clone(), singular_values: svd.singular_values().to_vec() };
            let rank = match cut {
                Cut::Rank(rank) => rank.min(module.rank()),
                Cut::Energy(share) => spectrum.rank_of_energy(share),
            };
            parts.push((module, svd, spectrum, rank.max(1)));
        }
        let of_experts = parts.iter().filter(|(module, ..)| is_joined(&module.path)).map(|(.., rank)| *rank).max();
        let (mut factors, mut resized) = (Vec::new(), Vec::new());
        for (module, svd, spectrum, rank) in parts {
            let shared = of_experts.filter(|_| is_joined(&module.path));
            let rank = shared.unwrap_or(rank);
            let cut = svd.factors(rank, 0.5);
            resized.push(Resized {
                module: module.path.clone(),
                rank_before: module.rank(),
                rank: shared.unwrap_or(cut.rank()),
                kept: spectrum.kept(rank),
                energy: spectrum.frobenius().powi(2),
            });
            factors.push(cut.tensors());
        }
        Some((self.with(factors), resized))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LoraConfig;
    use crate::peft::{LAYOUT, PeftConfig, TENSOR_FILE, to_bytes};

    /// An adapter of q, of rank 3 and scale 2, and v, of rank 2 and scale 4, with a head.
    fn adapter() -> FactoredAdapter {
        let values = |count: usize, key: u64| -> Vec<f32> {
            (0..count as u64).map(|i| kernels::uniform(key, i) as f32 - 0.5).collect()
        };
        let data = |name: &str, shape: [usize; 2], key| {
            (name.to_owned(), TensorData::new(values(shape[0] * shape[1], key), shape))
        };
        let tensors = [
            data("l.0.q.lora_A.weight", [3, 5], 1),
            data("l.0.q.lora_B.weight", [6, 3], 2),
            data("l.0.v.lora_A.weight", [2, 5], 3),
            data("l.0.v.lora_B.weight", [4, 2], 4),
            data("classifier.weight", [3, 4], 5),
        ];
        let method: Method = Method::Lora(Box::new(LoraConfig {
            r: 3,
            alpha: 6.0,
            rank_pattern: IndexMap::from([("v".to_owned(), 2)]),
            alpha_pattern: IndexMap::from([("v".to_owned(), 8.0)]),
            ..LoraConfig::default()
        }));
        read(&method, &tensors)
    }

    fn read(method: &Method, tensors: &[(String, TensorData)]) -> FactoredAdapter {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(TENSOR_FILE), to_bytes(tensors.iter(), &LAYOUT).unwrap()).unwrap();
        FactoredAdapter::new(method, &AdapterTensors::read(directory.path(), method).unwrap()).unwrap()
    }

    /// As PEFT's two files bring it back.
    fn written_and_read(new: &NewAdapter) -> FactoredAdapter {
        let config = serde_json::Value::Object(new.method.to_peft(false)).to_string();
        let config = PeftConfig::from_json(std::path::Path::new("adapter_config.json"), &config).unwrap();
        read(&config.method, &new.tensors)
    }

    #[test]
    fn a_cut_to_the_whole_rank_changes_no_update_and_no_head() {
        let adapter = adapter();
        assert_eq!(adapter.modules().iter().map(|module| module.scale).collect::<Vec<_>>(), [2.0, 4.0]);
        for cut in [Cut::Rank(3), Cut::Energy(1.0)] {
            let (new, resized) = adapter.resized(cut).unwrap();
            assert!(
                resized.iter().all(|module| module.rank == module.rank_before && module.kept == 1.0),
                "{resized:?}"
            );
            let again = written_and_read(&new);
            assert_eq!(again.others(), adapter.others());
            for module in adapter.modules() {
                let [before, after] = [module, again.module(&module.path).unwrap()].map(Module::factors);
                assert!((before.cosine(&after).unwrap() - 1.0).abs() < 1e-12);
                assert!((before.norm() - after.norm()).abs() < 1e-6 * before.norm(), "{}", module.path);
            }
        }
    }

    #[test]
    fn uneven_ranks_are_read_again_with_one_scaling() {
        let adapter = adapter();
        let (new, resized) = adapter.resized(Cut::Rank(2)).unwrap();
        assert_eq!(resized.iter().map(|module| module.rank).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(new.method.to_peft(false)["rank_pattern"], serde_json::json!({}));
        let first = adapter.modules()[0].factors();
        let kept = resized[0].kept.sqrt();
        let again = written_and_read(&new);
        assert!((again.modules()[0].factors().norm() - kept * first.norm()).abs() < 1e-6 * first.norm());

        let factors = adapter.modules().iter().map(|module| module.factors().svd().unwrap());
        let factors: Vec<_> = factors.zip([1, 2]).map(|(svd, rank)| svd.factors(rank, 0.5).tensors()).collect();
        let new = adapter.with(factors);
        let (keys, pattern) = (new.method.to_peft(false), serde_json::json!({ r"^l\.0\.q": 1 }));
        assert_eq!((&keys["r"], &keys["lora_alpha"]), (&2.into(), &2.into()));
        assert_eq!((&keys["rank_pattern"], &keys["alpha_pattern"]), (&pattern, &pattern));
        let again = written_and_read(&new);
        assert_eq!(
            again.modules().iter().map(|module| (module.rank(), module.scale)).collect::<Vec<_>>(),
            [(1, 1.0), (2, 1.0)]
        );
    }

    #[test]
    fn experts_and_routers_keep_one_rank() {
        let of_layers = [
            ("l.0.q", [6, 5], 3, 1.0),
            ("l.0.mlp.experts.0.down_proj", [6, 5], 3, 1.0),
            ("l.0.mlp.experts.1.down_proj", [6, 5], 3, 0.0),
            // A router of two experts.
            ("l.0.mlp.gate", [2, 5], 3, 1.0),
        ];
        let tensors: Vec<(String, TensorData)> = of_layers
            .iter()
            .enumerate()
            .flat_map(|(n, (path, [d_output, d_input], rank, size))| {
                let data = |factor: &str, shape: [usize; 2], key: u64| {
                    let values =
                        (0..(shape[0] * shape[1]) as u64).map(|i| size * (kernels::uniform(key, i) as f32 - 0.5));
                    (format!("{path}.lora_{factor}.weight"), TensorData::new(values.collect::<Vec<f32>>(), shape))
                };
                [data("A", [*rank, *d_input], n as u64), data("B", [*d_output, *rank], 10 + n as u64)]
            })
            .collect();
        let adapter = read(&Method::Lora(Box::new(LoraConfig { r: 3, alpha: 3.0, ..LoraConfig::default() })), &tensors);
        let alone: Vec<usize> = adapter
            .modules()
            .iter()
            .map(|module| {
                let singular_values = module.factors().svd().unwrap().singular_values().to_vec();
                Spectrum { module: String::new(), singular_values }.rank_of_energy(0.999)
            })
            .collect();
        let joined = |module: &&Module| is_joined(&module.path);
        assert!(alone.contains(&0) && alone.iter().any(|rank| *rank > 1), "{alone:?}");
        for (cut, expected) in [(Cut::Energy(0.999), 3), (Cut::Rank(3), 3), (Cut::Rank(1), 1)] {
            let (new, _) = adapter.resized(cut).unwrap();
            assert_eq!(new.method.to_peft(false)["r"], expected, "{cut:?}");
            let again = written_and_read(&new);
            let ranks: Vec<usize> = again.modules().iter().filter(joined).map(Module::rank).collect();
            assert_eq!(ranks, [expected; 3], "{cut:?}");
            for (before, after) in adapter.modules().iter().zip(again.modules()).filter(|_| cut != Cut::Rank(1)) {
                assert_eq!(before.path, after.path);
                let (before, after) = (before.factors(), after.factors());
                assert!((before.norm() - after.norm()).abs() <= 1e-3 * before.norm());
            }
        }
    }

    #[test]
    fn methods_without_thin_factors_are_refused_by_name() {
        let dora = Method::Lora(Box::new(LoraConfig { use_dora: true, ..LoraConfig::default() }));
        let ia3 = Method::named("ia3").unwrap();
        let bitfit = Method::named("bitfit").unwrap();
        for (method, name) in [(dora, "DoRA"), (ia3, "(IA)3"), (bitfit, "BitFit"), (Method::frozen(), "a head alone")] {
            let refused = method.with_ranks(&[("q".to_owned(), 2)], None).unwrap_err();
            assert!(refused.starts_with(name), "{refused}");
        }
    }
}
