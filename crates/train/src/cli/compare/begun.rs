//! What a comparison was begun with, which `--resume` has to ask for again. What a configuration says is compared run by run
//! ([`super::runs`]); here is what no file of a run has: which candidates there are, how their rates and lengths are found, and
//! which seeds have runs.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Arguments, Failure, damaged, write};
use crate::compare::{Candidate, Place};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// Their names, in their order: the first is what the others are compared with.
    candidates: Vec<String>,
    find_lr: bool,
    budget: Option<String>,
}

impl Begun {
    pub(super) fn with(arguments: &Arguments, candidates: &[Candidate]) -> Self {
        Self {
            candidates: candidates.iter().map(|candidate| candidate.name.clone()).collect(),
            find_lr: arguments.find_lr,
            budget: arguments.budget.map(|budget| budget.to_string()),
        }
    }

    /// # Errors
    /// A comparison that is there was begun otherwise: its runs would not compare with those that are missing.
    pub(super) fn check(&self, place: &Place) -> Result<(), Failure> {
        let file = place.begun();
        // One that begins now has none.
        let Ok(text) = std::fs::read(&file) else { return Ok(()) };
        let begun: Self = serde_json::from_slice(&text).map_err(|_| damaged(&file))?;
        let differs = |found: String, asked: String| Err(begun_otherwise(&file, &found, &asked));
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
