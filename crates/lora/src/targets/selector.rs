//! What becomes of each module, decided while the model is built; and once it is built, whether everything that was
//! configured found a module.

use std::collections::BTreeSet;

use super::TargetError;
use super::entry::{Entry, Match};
use super::layers::Layers;
use super::overrides::Overrides;
use super::path::{lies_in, with_ancestors};
use super::seen::{Seen, TARGET_MODULES, unknown};
use super::shorten::shorten;
use crate::config::{LoraConfig, Names, Targets};

/// PEFT adds these to `modules_to_save` for every classifier, whichever of them its model has.
const STANDARD_HEADS: [&str; 2] = ["classifier", "score"];

/// What the loader is about to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Linear,
    /// `lm_head` or a classification head: left out of `all-linear`.
    OutputLinear,
    Embedding,
    Other,
}

/// What becomes of a module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Selection {
    Adapted {
        rank: usize,
        alpha: f64,
    },
    /// Trained in full and saved with the adapter.
    Saved,
    Untouched,
}

/// Decides by path; remembers what was found, for the adapter's configuration and for [`finish`](Self::finish).
#[derive(Debug)]
pub struct Selector {
    rank: usize,
    alpha: f64,
    /// `None` is `all-linear`.
    targets: Option<Vec<Entry>>,
    exclude: Vec<Entry>,
    layers: Option<Layers>,
    ranks: Overrides<usize>,
    alphas: Overrides<f64>,
    modules_to_save: Vec<Entry>,
    configured: Targets,
    seen: Vec<Seen>,
    matched: Vec<(String, usize)>,
    problem: Option<TargetError>,
}

impl Selector {
    /// # Errors
    /// Settings that are wrong whatever the model is: a bad expression, a rank of 0, an empty name, a combination that
    /// PEFT refuses.
    pub fn new(config: &LoraConfig) -> Result<Self, TargetError> {
        check_numbers(config)?;
        let targets = match &config.target_modules {
            Targets::AllLinear => None,
            Targets::Names(names) => Some(Entry::of(TARGET_MODULES, names)?),
        };
        if targets.as_ref().is_some_and(Vec::is_empty) {
            return Err(TargetError::NoTargets);
        }
        Ok(Self {
            rank: config.r,
            alpha: config.alpha,
            targets,
            exclude: config.exclude_modules.as_ref().map_or(Ok(vec![]), |names| Entry::of("exclude_modules", names))?,
            layers: Layers::new(config)?,
            ranks: Overrides::new("rank_pattern", &config.rank_pattern)?,
            alphas: Overrides::new("alpha_pattern", &config.alpha_pattern)?,
            modules_to_save: Entry::list("modules_to_save", &config.modules_to_save)?,
            configured: config.target_modules.clone(),
            seen: vec![],
            matched: vec![],
            problem: None,
        })
    }

    /// What becomes of the module at `path`, without PEFT's prefix. The loader calls this once for every module that
    /// holds parameters, while the model is built; a contradiction found here is reported by [`finish`](Self::finish).
    pub fn select(&mut self, path: &str, kind: Kind) -> Selection {
        self.decide(path, kind).unwrap_or_else(|problem| {
            self.problem.get_or_insert(problem);
            Selection::Untouched
        })
    }

    /// The adapted modules in the order in which they were built, each with its rank.
    pub fn matched(&self) -> &[(String, usize)] {
        &self.matched
    }

    /// `target_modules` for `adapter_config.json`, from which PEFT selects the same modules. `all-linear` becomes the
    /// list of full names, or from 20 names on the suffixes that single them out.
    pub fn names_written(&self) -> Names {
        let names: BTreeSet<&str> = match &self.configured {
            Targets::AllLinear => shorten(self.matched.iter().map(|(path, _)| path.as_str()).collect(), &self.seen),
            Targets::Names(Names::List(names)) => names.iter().map(String::as_str).collect(),
            Targets::Names(Names::Pattern(pattern)) => return Names::Pattern(pattern.clone()),
        };
        Names::List(names.into_iter().map(str::to_owned).collect())
    }

    /// Whether everything that was configured found a module, once the model is built.
    ///
    /// # Errors
    /// The first name, pattern or layer that found none, with the nearest ones; modules that cannot be adapted;
    /// patterns that contradict each other.
    pub fn finish(&self) -> Result<(), TargetError> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        let saved = self.modules_to_save.iter().filter(|entry| !STANDARD_HEADS.contains(&entry.text.as_str()));
        let mut named = self.targets.iter().flatten().chain(&self.exclude).chain(saved);
        if let Some(entry) = named.find(|entry| !entry.found) {
            return Err(unknown(entry, &self.seen));
        }
        self.check_adapted()?;
        self.ranks.check(&self.matched)?;
        self.alphas.check(&self.matched)
    }

    fn decide(&mut self, path: &str, kind: Kind) -> Result<Selection, TargetError> {
        let mut excluded = false;
        for entry in &mut self.exclude {
            excluded |= entry.matches(path)? != Match::No;
        }
        let (saved, whole_segments) = self.saved_by(path);
        let kept_out = excluded || whole_segments;
        self.seen.push(Seen { path: path.to_owned(), kind, kept_out });

        let targeted = self.targeted(path, kind, kept_out)?;
        match (saved, targeted) {
            (None, false) => Ok(Selection::Untouched),
            (Some(_), false) => Ok(Selection::Saved),
            // DistilBERT's `pre_classifier` ends in `classifier`. PEFT fails on it; it is meant to be saved.
            (Some(_), true) if self.targets.is_none() => Ok(Selection::Saved),
            (Some(entry), true) => Err(TargetError::AdaptedAndSaved { module: path.to_owned(), entry }),
            (None, true) => self.adapt(path, kind),
        }
    }

    /// The first `modules_to_save` entry that has this module, or one it lies in, saved, and whether one has so by
    /// whole segments. PEFT saves whatever **ends in** the entry, but keeps out of the targets only what has it as a
    /// whole segment.
    fn saved_by(&mut self, path: &str) -> (Option<String>, bool) {
        let (mut saved, mut whole_segments) = (None, false);
        for entry in &mut self.modules_to_save {
            if with_ancestors(path).any(|module| module.ends_with(&entry.text)) {
                entry.found = true;
                whole_segments |= lies_in(path, &entry.text);
                saved.get_or_insert_with(|| entry.text.clone());
            }
        }
        (saved, whole_segments)
    }

    fn targeted(&mut self, path: &str, kind: Kind, kept_out: bool) -> Result<bool, TargetError> {
        let Some(targets) = &mut self.targets else {
            return Ok(kind == Kind::Linear && !kept_out);
        };
        let matches: Vec<Match> = targets.iter_mut().map(|entry| entry.matches(path)).collect::<Result<_, _>>()?;
        if kept_out || matches.iter().all(|found| *found == Match::No) {
            return Ok(false);
        }
        let in_layers = match &mut self.layers {
            // A full name is adapted whatever its layer.
            Some(layers) if !matches.contains(&Match::Whole) => layers.admit(path)?,
            Some(_) | None => true,
        };
        for (entry, found) in targets.iter_mut().zip(matches) {
            entry.adapted |= in_layers && found != Match::No;
        }
        Ok(in_layers)
    }

    fn adapt(&mut self, path: &str, kind: Kind) -> Result<Selection, TargetError> {
        match kind {
            Kind::Linear | Kind::OutputLinear | Kind::Embedding => {}
            Kind::Other => {
                return Err(TargetError::UnsupportedModule { module: path.to_owned() });
            }
        }
        let rank = self.ranks.decide(path)?.unwrap_or(self.rank);
        let alpha = self.alphas.decide(path)?.unwrap_or(self.alpha);
        self.matched.push((path.to_owned(), rank));
        Ok(Selection::Adapted { rank, alpha })
    }

    fn check_adapted(&self) -> Result<(), TargetError> {
        let idle = self.targets.iter().flatten().find(|entry| !entry.adapted);
        // A layer that does not exist is the better explanation, unless other reasons kept the targets from it.
        if let Some(layers) = &self.layers
            && (idle.is_none() || layers.asked())
        {
            layers.check()?;
        }
        match idle {
            Some(entry) => Err(TargetError::WithoutEffect { name: entry.text.clone() }),
            None if self.matched.is_empty() => Err(TargetError::NothingAdapted),
            None => Ok(()),
        }
    }
}

fn check_numbers(config: &LoraConfig) -> Result<(), TargetError> {
    const RANK: &str = "a rank (1 or more)";
    const FINITE: &str = "a finite number";
    let number = |key: String, found: f64, expected| Err(TargetError::Number { key, found, expected });
    if config.r == 0 {
        return number("r".to_owned(), 0.0, RANK);
    }
    if !config.alpha.is_finite() {
        return number("alpha".to_owned(), config.alpha, FINITE);
    }
    if !(0.0..1.0).contains(&config.dropout) {
        return number("dropout".to_owned(), config.dropout, "a probability below 1");
    }
    if let Some((key, _)) = config.rank_pattern.iter().find(|(_, rank)| **rank == 0) {
        return number(format!("rank_pattern.\"{key}\""), 0.0, RANK);
    }
    if let Some((key, alpha)) = config.alpha_pattern.iter().find(|(_, alpha)| !alpha.is_finite()) {
        return number(format!("alpha_pattern.\"{key}\""), *alpha, FINITE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;
    use crate::targets::fixtures::*;

    #[test]
    fn rank_and_alpha_are_selected() {
        let mut selector = Selector::new(&list(&["query"])).expect("a possible configuration");
        let adapted = Selection::Adapted { rank: 4, alpha: 16.0 };
        assert_eq!(selector.select("layer.0.query", Kind::Linear), adapted);
        assert_eq!(selector.select("layer.0.key", Kind::Linear), Selection::Untouched);
        assert_eq!(selector.matched(), [("layer.0.query".to_owned(), 4)]);
    }

    #[test]
    fn excluded_modules_are_left_out_first() {
        let mut config = list(&["query", "value"]);
        config.exclude_modules = Some(Names::List(names(&["layer.1.attention.self.query", "value"])));
        config.target_modules = Targets::Names(Names::List(names(&["query"])));
        assert_eq!(adapted(&config, &bert()), ["bert.encoder.layer.0.attention.self.query"]);
        config.exclude_modules = Some(Names::Pattern(r".*layer\.0.*".to_owned()));
        assert_eq!(adapted(&config, &bert()), ["bert.encoder.layer.1.attention.self.query"]);
    }

    #[test]
    fn saved_is_what_ends_in_the_entry_and_all_below() {
        let mut config = list(&["query"]);
        config.modules_to_save = names(&["classifier"]);
        let mut selector = Selector::new(&config).expect("a possible configuration");
        for path in ["classifier", "classifier.dense", "pre_classifier", "model.classifier.out_proj"] {
            assert_eq!(selector.select(path, Kind::OutputLinear), Selection::Saved, "{path}");
        }
        for path in ["classifier_norm", "classifiers.dense"] {
            assert_eq!(selector.select(path, Kind::Other), Selection::Untouched, "{path}");
        }
    }

    #[test]
    fn a_saved_module_is_not_adapted() {
        let mut config = list(&["dense", "query"]);
        config.modules_to_save = names(&["pooler", "classifier", "score"]);
        let modules =
            few(&[("bert.pooler.dense", Kind::Linear), ("bert.query", Kind::Linear), ("a.dense", Kind::Linear)]);
        assert_eq!(adapted(&config, &modules), ["bert.query", "a.dense"]);
    }

    #[test]
    fn all_linear_leaves_the_output_out() {
        let selected = adapted(&config(Targets::AllLinear), &bert());
        assert_eq!(selected.len(), 13);
        assert!(selected.contains(&"bert.pooler.dense".to_owned()));
        assert!(!selected.contains(&"classifier".to_owned()));
    }

    #[test]
    fn all_linear_leaves_saved_modules_out() {
        let mut config = config(Targets::AllLinear);
        config.modules_to_save = names(&["classifier", "score"]);
        let modules =
            few(&[("q_lin", Kind::Linear), ("pre_classifier", Kind::Linear), ("classifier", Kind::OutputLinear)]);
        let mut selector = Selector::new(&config).expect("a possible configuration");
        let selections: Vec<_> = modules.iter().map(|(path, kind)| selector.select(path, *kind)).collect();
        let adapted = Selection::Adapted { rank: 4, alpha: 16.0 };
        assert_eq!(selections, [adapted, Selection::Saved, Selection::Saved]);
        selector.finish().expect("`score` is a standard head");
    }

    #[test]
    fn other_targets_are_written_as_they_are() {
        let written = run(&list(&["value", "query", "value"]), &bert()).names_written();
        assert_eq!(written, Names::List(names(&["query", "value"])));
        let written = run(&pattern(".*query"), &bert()).names_written();
        assert_eq!(written, Names::Pattern(".*query".to_owned()));
    }

    #[test]
    fn a_target_without_effect_is_refused() {
        let mut config = list(&["query", "value"]);
        config.exclude_modules = Some(Names::List(names(&["query"])));
        let (message, _) = refusal(&config, &bert());
        assert_eq!(message, "`adapter.target_modules`: no module that `query` stands for is adapted");
        config.layers = Some(vec![0]);
        assert_eq!(refusal(&config, &bert()).0, message);
    }

    #[test]
    fn no_adapted_module_at_all_is_refused() {
        let mut config = config(Targets::AllLinear);
        config.exclude_modules = Some(Names::Pattern(".*".to_owned()));
        assert_eq!(refusal(&config, &bert()).0, "`adapter.target_modules`: the model has no linear layer to adapt");
    }

    #[test]
    fn embeddings_are_adapted_and_norms_refused() {
        let both = adapted(&list(&["layer.0.attention.self.query", "word_embeddings"]), &bert());
        assert_eq!(both, ["bert.embeddings.word_embeddings", "bert.encoder.layer.0.attention.self.query"]);
        let norm = refusal(&pattern(".*(query|LayerNorm)"), &bert()).0;
        let module = "bert.encoder.layer.0.attention.output.LayerNorm";
        assert_eq!(
            norm,
            format!("`adapter.target_modules`: LoRA is on linear layers and embeddings: not on `{module}`")
        );
    }

    #[test]
    fn an_output_layer_that_is_named_is_adapted() {
        assert_eq!(adapted(&list(&["lm_head"]), &llama(1)), ["lm_head"]);
    }

    #[test]
    fn a_module_adapted_and_saved_is_refused() {
        let mut config = list(&["pre_classifier"]);
        config.modules_to_save = names(&["classifier"]);
        let modules = few(&[("pre_classifier", Kind::Linear), ("classifier", Kind::OutputLinear)]);
        let (message, help) = refusal(&config, &modules);
        assert_eq!(message, "`pre_classifier` is both a target and saved in full");
        assert!(help.starts_with("`classifier` of `adapter.modules_to_save` means"), "{help}");
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let refused = |change: fn(&mut LoraConfig)| {
            let mut config = list(&["query"]);
            change(&mut config);
            impossible(&config).0
        };
        assert_eq!(refused(|config| config.r = 0), "`adapter.r`: 0 is not a rank (1 or more)");
        assert_eq!(refused(|config| config.alpha = f64::NAN), "`adapter.alpha`: NaN is not a finite number");
        assert_eq!(refused(|config| config.dropout = 1.0), "`adapter.dropout`: 1 is not a probability below 1");
        assert_eq!(
            refused(|config| config.rank_pattern = IndexMap::from([("a".to_owned(), 0)])),
            "`adapter.rank_pattern.\"a\"`: 0 is not a rank (1 or more)"
        );
        assert_eq!(
            refused(|config| config.alpha_pattern = IndexMap::from([("a".to_owned(), f64::INFINITY)])),
            "`adapter.alpha_pattern.\"a\"`: inf is not a finite number"
        );
    }
}
