//! How two adapters of one base lie to one another.

use std::path::Path;

use lora::{Angles, FactoredAdapter, principal_angles};
use serde_json::{Value, json};

use super::adapter::Inspected;
use crate::cli::Failure;
use crate::cli::adapters::not_factored;
use crate::output::{Output, counted};
use crate::report::ModulePair;

/// Two adapters that were compared.
pub(super) struct Pair {
    pub(super) names: [String; 2],
    pub(super) modules: Vec<ModulePair>,
    /// Of all their updates together; `None` where one of them changes nothing.
    pub(super) cosine: Option<f64>,
    /// Modules that one of them alone adapts.
    pub(super) alone: [Vec<String>; 2],
}

impl Pair {
    pub(super) fn read(paths: [&Path; 2], model: Option<&Path>, output: &Output) -> Result<Self, Failure> {
        let [left, right] = paths.map(|path| factored(path, model, output));
        let (left, right) = (left?, right?);
        let names = paths.map(|path| path.display().to_string());
        let mut modules = Vec::new();
        let (mut dot, mut squares) = (0.0, [0.0, 0.0]);
        for module in left.modules() {
            let Some(other) = right.module(&module.path) else { continue };
            if module.shape() != other.shape() {
                let (left, right) = (module.shape(), other.shape());
                return Err(Failure::usage(
                    format!("`{}` is {left:?} in {} and {right:?} in {}", module.path, names[0], names[1]),
                    "they are adapters of different bases: compare those of one",
                ));
            }
            let (one, two) = (module.factors(), other.factors());
            dot += one.dot(&two);
            squares = [squares[0] + one.norm().powi(2), squares[1] + two.norm().powi(2)];
            let angles = one.svd().zip(two.svd()).and_then(|(one, two)| principal_angles(&one, &two));
            modules.push(ModulePair { module: module.path.clone(), cosine: one.cosine(&two), angles });
        }
        let lacks = |one: &FactoredAdapter, other: &FactoredAdapter| -> Vec<String> {
            let paths = one.modules().iter().map(|module| module.path.clone());
            paths.filter(|path| other.module(path).is_none()).collect()
        };
        let alone = [lacks(&left, &right), lacks(&right, &left)];
        // To the other they are updates of nothing.
        for (square, (adapter, alone)) in squares.iter_mut().zip([&left, &right].into_iter().zip(&alone)) {
            let of_alone = alone.iter().filter_map(|path| adapter.module(path));
            *square += of_alone.map(|module| module.factors().norm().powi(2)).sum::<f64>();
        }
        if modules.is_empty() {
            return Err(Failure::usage(
                format!(
                    "no module is adapted by both {} and {}: {} by the one, {} by the other",
                    names[0],
                    names[1],
                    some(&alone[0]),
                    some(&alone[1])
                ),
                "compare adapters of one base with the same target modules",
            ));
        }
        let norms = (squares[0] * squares[1]).sqrt();
        let cosine = (norms > 0.0).then(|| (dot / norms).clamp(-1.0, 1.0));
        Ok(Self { names, modules, cosine, alone })
    }

    pub(super) fn document(&self) -> Value {
        let degrees = |angles: &[f64]| angles.iter().map(|angle| angle.to_degrees()).collect::<Vec<_>>();
        let module = |of: &ModulePair| {
            let sides = of.angles.as_ref().map(|Angles { outputs, inputs }| (degrees(outputs), degrees(inputs)));
            json!({
                "module": of.module, "cosine": of.cosine,
                "output_angles": sides.as_ref().map(|(outputs, _)| outputs),
                "input_angles": sides.as_ref().map(|(_, inputs)| inputs),
            })
        };
        json!({
            "adapters": self.names, "cosine": self.cosine, "modules": self.modules.iter().map(module).collect::<Vec<_>>(),
            "only_first": self.alone[0], "only_second": self.alone[1],
        })
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let number = |value: Option<f64>| value.map_or("-".to_string(), |value| format!("{value:.4}"));
        let mut lines = vec![
            format!("{:22}{}", "cosine of all updates", number(self.cosine)),
            "by module: cosine, smallest and mean principal angle of outputs and of inputs, in degrees".to_string(),
        ];
        for of in &self.modules {
            let side = |angles: Option<&Vec<f64>>| match angles {
                Some(angles) if !angles.is_empty() => {
                    let mean = angles.iter().sum::<f64>() / angles.len() as f64;
                    format!("{:5.1} {:5.1}", angles[0].to_degrees(), mean.to_degrees())
                }
                _ => "    -     -".to_string(),
            };
            let angles = of.angles.as_ref();
            let (outputs, inputs) = (side(angles.map(|it| &it.outputs)), side(angles.map(|it| &it.inputs)));
            lines.push(format!("  {:>8}   {outputs}   {inputs}   {}", number(of.cosine), of.module));
        }
        for (name, alone) in self.names.iter().zip(&self.alone).filter(|(_, alone)| !alone.is_empty()) {
            lines.push(format!("{} of {name} alone: {}", counted(alone.len(), "module", "modules"), first(alone)));
        }
        lines
    }
}

fn factored(path: &Path, model: Option<&Path>, output: &Output) -> Result<FactoredAdapter, Failure> {
    let inspected = Inspected::read(path, model, output)?;
    if inspected.adapter.method.changes_base() {
        let message = format!("what {} changes is known on its base alone, which is not there", path.display());
        return Err(Failure::usage(message, "name its base with --model"));
    }
    let found = FactoredAdapter::new(&inspected.adapter.method, &inspected.adapter.tensors);
    found.map_err(|error| not_factored(&inspected.directory, &inspected.adapter.method, error, "compare"))
}

/// A line of them.
fn first(modules: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = modules.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match modules.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The first of them.
fn some(modules: &[String]) -> String {
    match modules {
        [] => "none".to_string(),
        [one] => format!("`{one}`"),
        [first, rest @ ..] => format!("`{first}` and {} more", rest.len()),
    }
}
