//! What becomes of each module, decided while the model is built; and once it is built, whether everything that was
//! configured found a module.

use std::collections::BTreeSet;

use indexmap::IndexMap;

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

/// Whose settings a selector goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settings {
    /// A user's, for an adapter that is to be trained: what finds no module is a mistake.
    New,
    /// A finished adapter's, whose tensors say what was adapted: PEFT's rules decide, and what finds no module is idle.
    Finished,
}

/// Decides by path; remembers what was found, for the adapter's configuration and for [`finish`](Self::finish).
#[derive(Debug)]
pub struct Selector {
    settings: Settings,
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
    /// The alphas of the matched modules.
    matched_alphas: Vec<f64>,
    problem: Option<TargetError>,
}

impl Selector {
    /// # Errors
    /// Settings that are wrong whatever the model is: a bad expression, a rank of 0, an empty name, a combination that
    /// PEFT refuses.
    pub fn new(config: &LoraConfig, settings: Settings) -> Result<Self, TargetError> {
        check_numbers(config)?;
        let targets = match &config.target_modules {
            Targets::AllLinear => None,
            Targets::Names(names) => Some(Entry::of(TARGET_MODULES, names)?),
        };
        if targets.as_ref().is_some_and(Vec::is_empty) {
            return Err(TargetError::NoTargets);
        }
        Ok(Self {
            settings,
            rank: config.r,
            alpha: config.alpha,
            targets,
            exclude: config.exclude_modules.as_ref().map_or(Ok(vec![]), |names| Entry::of("exclude_modules", names))?,
            layers: Layers::new(config)?,
            ranks: Overrides::new("rank_pattern", &config.rank_pattern, settings)?,
            alphas: Overrides::new("alpha_pattern", &config.alpha_pattern, settings)?,
            modules_to_save: Entry::list("modules_to_save", &config.modules_to_save)?,
            configured: config.target_modules.clone(),
            seen: vec![],
            matched: vec![],
            matched_alphas: vec![],
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

    /// `rank_pattern` and `alpha_pattern` for `adapter_config.json`, where those of the settings will not do: PEFT writes
    /// the keys sorted, so that of several that disagree about a module another one would decide. Each such module is then
    /// named by its full path.
    pub fn patterns_written(&self) -> Option<(IndexMap<String, usize>, IndexMap<String, f64>)> {
        if !self.ranks.overlap() && !self.alphas.overlap() {
            return None;
        }
        let modules = || self.matched.iter().zip(&self.matched_alphas);
        // A path is taken for an expression, in which a dot must be escaped to mean itself.
        let key = |path: &str| format!("^{}", path.replace('.', r"\."));
        let ranks = modules().filter(|((_, rank), _)| *rank != self.rank).map(|((path, rank), _)| (key(path), *rank));
        let alphas = modules().filter(|(_, alpha)| **alpha != self.alpha).map(|((path, _), alpha)| (key(path), *alpha));
        Some((ranks.collect(), alphas.collect()))
    }

    /// Whether the settings can be for the model, once it is built.
    ///
    /// # Errors
    /// Modules that cannot be adapted, or none that is; of new settings also patterns that contradict each other, and the
    /// first name, pattern or layer that found no module, with the nearest ones.
    pub fn finish(&self) -> Result<(), TargetError> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        let wrong = match self.settings {
            Settings::New => {
                self.without_module().or_else(|| self.without_effect()).or_else(|| self.idle_patterns().next())
            }
            Settings::Finished if self.matched.is_empty() => self.without_module().or_else(|| self.without_effect()),
            Settings::Finished => None,
        };
        wrong.map_or(Ok(()), Err)
    }

    /// What found no module, once the model is built: a mistake in new settings, idle in those of a finished adapter.
    /// Targets that are excluded as well are not among it, for PEFT itself writes such lists.
    pub fn idle(&self) -> Vec<TargetError> {
        let named = self.named().filter(|entry| !entry.found).map(|entry| unknown(entry, &self.seen));
        let layers = self.layers.as_ref().filter(|layers| layers.asked()).and_then(|layers| layers.check().err());
        named.chain(layers).chain(self.idle_patterns()).collect()
    }

    fn named(&self) -> impl Iterator<Item = &Entry> {
        let saved = self.modules_to_save.iter().filter(|entry| !STANDARD_HEADS.contains(&entry.text.as_str()));
        self.targets.iter().flatten().chain(&self.exclude).chain(saved)
    }

    fn without_module(&self) -> Option<TargetError> {
        self.named().find(|entry| !entry.found).map(|entry| unknown(entry, &self.seen))
    }

    fn idle_patterns(&self) -> impl Iterator<Item = TargetError> {
        self.ranks.idle(&self.matched).chain(self.alphas.idle(&self.matched))
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
        self.matched_alphas.push(alpha);
        Ok(Selection::Adapted { rank, alpha })
    }

    /// The first target or layer by which nothing is adapted.
    fn without_effect(&self) -> Option<TargetError> {
        let idle = self.targets.iter().flatten().find(|entry| !entry.adapted);
        // A layer that does not exist is the better explanation, unless other reasons kept the targets from it.
        if let Some(layers) = &self.layers
            && (idle.is_none() || layers.asked())
            && let Err(error) = layers.check()
        {
            return Some(error);
        }
        match idle {
            Some(entry) => Some(TargetError::WithoutEffect { name: entry.text.clone() }),
            None => self.matched.is_empty().then_some(TargetError::NothingAdapted),
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
    use super::*;
    use crate::targets::fixtures::*;

    #[test]
    fn rank_and_alpha_are_selected() {
        let mut selector = Selector::new(&list(&["query"]), Settings::New).expect("a possible configuration");
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
        let mut selector = Selector::new(&config, Settings::New).expect("a possible configuration");
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
        let mut selector = Selector::new(&config, Settings::New).expect("a possible configuration");
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
    fn what_finds_no_module_is_idle_in_a_finished_adapter() {
        let mut config = list(&["query", "v_proj"]);
        config.exclude_modules = Some(Names::List(names(&["lm_head"])));
        config.modules_to_save = names(&["classifier", "score", "embed_tokens"]);
        config.layers = Some(vec![1, 40]);
        config.layers_pattern = names(&["layer"]);
        config.rank_pattern = IndexMap::from([("^query".to_owned(), 2), ("query".to_owned(), 8)]);
        config.alpha_pattern = IndexMap::from([("key".to_owned(), 2.0)]);
        let mut selector = Selector::new(&config, Settings::Finished).expect("a possible configuration");
        for (path, kind) in bert() {
            selector.select(&path, kind);
        }
        selector.finish().expect("PEFT loads it");
        assert_eq!(selector.matched(), [("bert.encoder.layer.1.attention.self.query".to_owned(), 8)]);
        let idle: Vec<String> = selector.idle().iter().map(TargetError::to_string).collect();
        assert_eq!(
            idle,
            [
                "`adapter.target_modules`: no module is named `v_proj`",
                "`adapter.exclude_modules`: no module is named `lm_head`",
                "`adapter.modules_to_save`: no module is named `embed_tokens`",
                "`adapter.layers`: no target is in a layer 40",
                "`adapter.rank_pattern`: `^query` matches no adapted module",
                "`adapter.alpha_pattern`: `key` matches no adapted module",
            ]
        );
    }

    #[test]
    fn a_finished_adapter_of_which_nothing_fits_is_refused() {
        let mut selector = Selector::new(&list(&["q_proj"]), Settings::Finished).expect("a possible configuration");
        for (path, kind) in bert() {
            selector.select(&path, kind);
        }
        assert_eq!(
            selector.finish().expect_err("nothing is adapted").to_string(),
            "`adapter.target_modules`: no module is named `q_proj`"
        );
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
