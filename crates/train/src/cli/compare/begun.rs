//! What a comparison was begun with, which `--resume` has to ask for again. What a configuration says is compared run by run
//! ([`super::runs`]); here is what no file of a run has: which candidates there are, how their rates and lengths are found, which
//! seeds have runs, and of what data and base they are.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Arguments, Failure, Planned, damaged, write};
use crate::compare::{Candidate, Place};
use crate::run::Identity;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Begun {
    /// Their names, in their order: the first is what the others are compared with.
    candidates: Vec<String>,
    find_lr: bool,
    budget: Option<String>,
    /// The first one, at which rates and lengths are found. An earlier version did not write it.
    seed: Option<u64>,
    /// Of each candidate, at the first seed: what `train --resume` asks of a run. An earlier version did not write it.
    #[serde(default)]
    inputs: Vec<Identity>,
}

impl Begun {
    /// Without its inputs, for which the candidates have to be planned.
    pub(super) fn with(arguments: &Arguments, candidates: &[Candidate], seed: u64) -> Self {
        Self {
            candidates: candidates.iter().map(|candidate| candidate.name.clone()).collect(),
            find_lr: arguments.find_lr,
            budget: arguments.budget.map(|budget| budget.to_string()),
            seed: Some(seed),
            inputs: Vec::new(),
        }
    }

    pub(super) fn of(self, planned: &[Planned]) -> Self {
        Self { inputs: planned.iter().map(|planned| planned.identity.clone()).collect(), ..self }
    }

    /// `None`: none was begun there.
    fn read(place: &Place) -> Result<Option<Self>, Failure> {
        let file = place.begun();
        match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|_| damaged(&file)),
            Err(_) => Ok(None),
        }
    }

    /// # Errors
    /// A comparison that is there was begun otherwise: its runs would not compare with those that are missing.
    pub(super) fn check(&self, place: &Place) -> Result<(), Failure> {
        let Some(begun) = Self::read(place)? else { return Ok(()) };
        let differs = |found: String, asked: String| Err(begun_otherwise(&place.begun(), &found, &asked));
        if begun.candidates != self.candidates {
            return differs(names(&begun.candidates), names(&self.candidates));
        }
        if begun.find_lr != self.find_lr {
            let [given, not_given] = ["`--find-lr`", "no `--find-lr`"].map(str::to_string);
            return if begun.find_lr { differs(given, not_given) } else { differs(not_given, given) };
        }
        if begun.budget != self.budget {
            let option = |budget: &Option<String>| match budget {
                Some(budget) => format!("`--budget {budget}`"),
                None => "no `--budget`".to_string(),
            };
            return differs(option(&begun.budget), option(&self.budget));
        }
        match (begun.seed, self.seed) {
            (Some(found), Some(asked)) if found != asked => {
                differs(format!("`seed = {found}`"), format!("`seed = {asked}`"))
            }
            _ => Ok(()),
        }
    }

    /// # Errors
    /// The runs that are there are of other data or of another base than those that are missing would be.
    pub(super) fn check_inputs(&self, place: &Place) -> Result<(), Failure> {
        let Some(begun) = Self::read(place)? else { return Ok(()) };
        for (name, (then, now)) in self.candidates.iter().zip(begun.inputs.iter().zip(&self.inputs)) {
            let (what, files) = if then.base != now.base {
                ("the base model", "the files of `model.path`")
            } else if then.data != now.data {
                ("the data", "the files of `data.train` and `data.valid` and the tokenizer")
            } else {
                continue;
            };
            return Err(Failure::usage(
                format!(
                    "{what} of candidate `{name}` changed since the comparison in {} was begun: its runs would not compare",
                    place.root.display()
                ),
                format!("put {files} back as they were, or name another directory with `--output-dir DIR`"),
            ));
        }
        Ok(())
    }

    /// Writes it, where it is not yet.
    pub(super) fn remember(&self, place: &Place) -> Result<(), Failure> {
        let file = place.begun();
        match file.exists() {
            true => Ok(()),
            false => write(&file, &serde_json::to_vec(self)?),
        }
    }
}

fn names(candidates: &[String]) -> String {
    candidates.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Seeds may be added to a comparison; runs that are there are not left out of it.
pub(super) fn check_seeds(place: &Place, candidates: &[Candidate], seeds: &[u64]) -> Result<(), Failure> {
    let begun: BTreeSet<u64> = candidates.iter().flat_map(|candidate| place.seeds(candidate)).collect();
    let left_out: Vec<u64> = begun.iter().copied().filter(|seed| !seeds.contains(seed)).collect();
    let (Some(first), Some(last)) = (seeds.first(), begun.last()) else { return Ok(()) };
    let Some(least) = left_out.first() else { return Ok(()) };
    let listed = left_out.iter().map(u64::to_string).collect::<Vec<_>>();
    let listed = suggest::list(listed.iter().map(String::as_str));
    let (seed, root) = (if left_out.len() == 1 { "the seed" } else { "the seeds" }, place.root.display());
    let help = match begun.contains(first) && least > first {
        true => format!("`--seeds {}` goes on with all of them", last - first + 1),
        false => "resume it with the `seed` it was begun with".to_string(),
    };
    Err(Failure::usage(
        format!("{root} has runs with {seed} {listed}, which would be left out"),
        format!("{help}; `--output-dir DIR` makes another comparison elsewhere"),
    ))
}

/// A comparison is resumed as it was begun: its runs would not compare otherwise.
pub(super) fn begun_otherwise(file: &Path, found: &str, asked: &str) -> Failure {
    Failure::usage(
        format!("the comparison was begun otherwise: {} has {found}, now it would have {asked}", file.display()),
        "resume it with the configuration and the options it was begun with, or name another directory with `--output-dir DIR`",
    )
}
