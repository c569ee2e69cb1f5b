//! Ranks and alphas of single modules, as PEFT reads them from `rank_pattern` and `alpha_pattern`.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::{Init, LoraConfig};
use crate::Settings;
use crate::peft::is_joined;

/// The pattern of one module. A path is taken for an expression, in which a dot must be escaped to mean itself.
fn key(path: &str) -> String {
    format!("^{}", path.replace('.', r"\."))
}

impl LoraConfig {
    /// The same for modules of these ranks, with `alpha` as large as the rank for each: then their scaling is 1, also for
    /// programs that know no patterns, and numbers are whole. The most frequent rank is `r`, or that of experts, for which there are
    /// no patterns.
    pub(super) fn of_ranks(&self, ranks: &[(String, usize)]) -> Self {
        let mut frequencies: BTreeMap<usize, usize> = BTreeMap::new();
        ranks.iter().for_each(|(_, rank)| *frequencies.entry(*rank).or_default() += 1);
        let most_frequent = frequencies.into_iter().max_by_key(|(_, times)| *times).map(|(rank, _)| rank);
        let of_experts = ranks.iter().find(|(path, _)| is_joined(path)).map(|(_, rank)| *rank);
        let r = of_experts.or(most_frequent).unwrap_or(self.r);
        let others = || ranks.iter().filter(|(_, rank)| *rank != r);
        Self {
            r,
            alpha: r as f64,
            rank_pattern: others().map(|(path, rank)| (key(path), *rank)).collect(),
            alpha_pattern: others().map(|(path, rank)| (key(path), *rank as f64)).collect(),
            use_rslora: false,
            init: Init::Default,
            ..self.clone()
        }
    }

    /// `rank_pattern` and `alpha_pattern` for `adapter_config.json`, where those of the settings will not do: PEFT writes
    /// the keys sorted, so that of several that disagree about a module another one would decide. Each such module is then
    /// named by its full path.
    pub(super) fn patterns_written(
        &self,
        adapted: &[String],
    ) -> Option<(IndexMap<String, usize>, IndexMap<String, f64>)> {
        let (ranks, alphas) = (self.ranks().ok()?, self.alphas().ok()?);
        if !ranks.overlap(adapted) && !alphas.overlap(adapted) {
            return None;
        }
        let numbers = |path: &String| Some((key(path), self.rank_and_alpha(path, Settings::Finished).ok()?));
        let numbers: Vec<(String, (usize, f64))> = adapted.iter().filter_map(numbers).collect();
        let ranks =
            numbers.iter().filter(|(_, (rank, _))| *rank != self.r).map(|(key, (rank, _))| (key.clone(), *rank));
        let alphas =
            numbers.iter().filter(|(_, (_, it))| *it != self.alpha).map(|(key, (_, alpha))| (key.clone(), *alpha));
        Some((ranks.collect(), alphas.collect()))
    }
}
