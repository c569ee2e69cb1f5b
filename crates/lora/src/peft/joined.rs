//! Experts and routers, which Transformers 5 keeps as parameters and no longer as linear layers, the experts of a layer in one. PEFT
//! 0.21 still reads adapters on them as they were written for Transformers 4, module by module (`utils/transformers_weight_conversion.py`),
//! but not all of them. What it would refuse, or read as another adapter, is not trained.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use crate::{Kind, Method, TargetError};

/// The modules of a model that are parts of a parameter: an expert with its layers, or a router.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    /// Which share of the tokens goes through each.
    shares: HashMap<String, f64>,
}

/// Of the layers of this name in the experts of one block: how many there are, how many are adapted, and one that is.
#[derive(Default)]
struct Count<'a> {
    there: usize,
    adapted: usize,
    one: &'a str,
}

impl Joined {
    pub(crate) fn add(&mut self, path: &str, share: f64) {
        self.shares.insert(path.to_string(), share);
    }

    /// The part that a module or tensor belongs to, with its share of the tokens.
    fn part<'a>(&self, path: &'a str) -> Option<(&'a str, f64)> {
        if self.shares.is_empty() {
            return None;
        }
        let ends = path.match_indices('.').map(|(dot, _)| dot).chain([path.len()]);
        ends.map(|end| &path[..end]).find_map(|part| Some((part, *self.shares.get(part)?)))
    }

    /// Which share of the tokens goes through the module, or through that of the tensor; 1 where it is no part of a parameter.
    pub(crate) fn share(&self, path: &str) -> f64 {
        self.part(path).map_or(1.0, |(_, share)| share)
    }

    /// # Errors
    /// An adapter on these modules that PEFT could not read as it was trained; `asked` are all modules of the model.
    pub(crate) fn check(&self, method: &Method, adapted: &[&str], asked: &[(String, Kind)]) -> Result<(), TargetError> {
        if self.shares.is_empty() {
            return Ok(());
        }
        let is_adapted: HashSet<&str> = adapted.iter().copied().collect();
        let mut counts: IndexMap<(&str, &str), Count<'_>> = IndexMap::new();
        for (module, _) in asked {
            let Some((expert, layer)) = self.part(module).and_then(|(part, _)| split(module, part)) else { continue };
            let count = counts.entry((expert, layer)).or_default();
            count.there += 1;
            if is_adapted.contains(module.as_str()) {
                *count = Count { adapted: count.adapted + 1, one: module, ..*count };
            }
        }
        let names: HashSet<&str> = counts.keys().map(|(_, layer)| *layer).collect();
        for module in adapted {
            let name = module.rsplit_once('.').map_or(*module, |(_, name)| name);
            match self.part(module) {
                Some((part, _)) => method.check_joined(module, part != *module && joined_with(name).len() > 1)?,
                None if names.contains(name) => return Err(TargetError::TakenForExpert { module: module.to_string() }),
                None => {}
            }
        }
        for ((experts, layer), count) in &counts {
            let is_whole =
                |name: &&&str| counts.get(&(*experts, **name)).is_none_or(|other| other.adapted == other.there);
            let needed = joined_with(layer);
            let needed = if needed.is_empty() { std::slice::from_ref(layer) } else { needed };
            if count.adapted > 0
                && let Some(missing) = needed.iter().find(|name| !is_whole(name))
            {
                return Err(TargetError::ExpertsInPart { module: count.one.to_string(), missing: missing.to_string() });
            }
        }
        Ok(())
    }
}

/// Whether this is an expert's layer or a router, by its name alone, as a finished adapter has it. PEFT gives the adapters of all of them
/// the one rank and the one alpha of the configuration, whatever patterns say.
pub(crate) fn is_joined(module: &str) -> bool {
    module.contains(".experts.") || module.ends_with(".mlp.gate")
}

/// The experts that the module is of, without a number, and its name within one; `None` of a router, which is its own part.
fn split<'a>(module: &'a str, expert: &'a str) -> Option<(&'a str, &'a str)> {
    let layer = module.strip_prefix(expert)?.strip_prefix('.')?;
    Some((expert.rsplit_once('.').map_or("", |(experts, _)| experts), layer))
}

/// The layers of an expert that PEFT reads together or not at all: it joins those of gate and up, and lays the adapter on what comes
/// down around theirs.
fn joined_with(layer: &str) -> &'static [&'static str] {
    match layer {
        "gate_proj" | "up_proj" => &["gate_proj", "up_proj", "down_proj"],
        _ => &[],
    }
}
