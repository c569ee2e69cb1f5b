//! `layers` and `layers_pattern`: targets given by their last segments are adapted in these layers only. The layer is
//! the number in the path, found as PEFT finds it.

use std::collections::BTreeSet;

use super::entry::Entry;
use super::{LayersOfTargets, TargetError};
use crate::config::{Names, TargetConfig, Targets};

const LAYERS_PATTERN: &str = "layers_pattern";

#[derive(Debug)]
pub(super) struct Layers {
    wanted: BTreeSet<usize>,
    patterns: Vec<Entry>,
    /// The layers of all modules that the targets name.
    found: BTreeSet<usize>,
    /// A target in which no layer was found.
    unnumbered: Option<String>,
}

impl Layers {
    /// None if every layer is adapted.
    pub(super) fn new(config: &TargetConfig) -> Result<Option<Self>, TargetError> {
        let wanted: BTreeSet<usize> = config.layers.iter().flatten().copied().collect();
        let by_name = matches!(config.target_modules, Targets::Names(Names::List(_)));
        if !by_name && !wanted.is_empty() {
            return Err(TargetError::LayersWithoutNames { key: "layers" });
        }
        if !by_name && !config.layers_pattern.is_empty() {
            return Err(TargetError::LayersWithoutNames { key: LAYERS_PATTERN });
        }
        if wanted.is_empty() && !config.layers_pattern.is_empty() {
            return Err(TargetError::LayersPatternAlone);
        }
        let patterns = config
            .layers_pattern
            .iter()
            .map(|text| Entry::pattern(LAYERS_PATTERN, text, &format!(r"\A(?:(?:^|.*?\.){text}\.(?P<layer>\d+)\.)")))
            .collect::<Result<_, _>>()?;
        Ok((!wanted.is_empty()).then_some(Self { wanted, patterns, found: BTreeSet::new(), unnumbered: None }))
    }

    /// Whether the target at `path` is in one of the layers.
    pub(super) fn admit(&mut self, path: &str) -> Result<bool, TargetError> {
        let layer = if self.patterns.is_empty() { layer_of(path) } else { self.number_by_pattern(path)? };
        match layer {
            Some(layer) => {
                self.found.insert(layer);
                Ok(self.wanted.contains(&layer))
            }
            None => {
                self.unnumbered.get_or_insert_with(|| path.to_owned());
                Ok(false)
            }
        }
    }

    /// The number behind the first pattern that matches; the others are still asked, to know that they can match.
    fn number_by_pattern(&mut self, path: &str) -> Result<Option<usize>, TargetError> {
        let mut decided = None;
        for entry in &mut self.patterns {
            if let Some(captures) = entry.captures(path)? {
                decided.get_or_insert(captures.name("layer").and_then(|number| number.as_str().parse().ok()));
            }
        }
        Ok(decided.flatten())
    }

    /// Whether any target was named by its last segments, which is when the layer matters.
    pub(super) fn asked(&self) -> bool {
        !self.found.is_empty() || self.unnumbered.is_some()
    }

    /// Whether every layer and every pattern found a target, once the model is built.
    pub(super) fn check(&self) -> Result<(), TargetError> {
        if let Some(entry) = self.patterns.iter().find(|entry| !entry.found) {
            return Err(TargetError::UnusedPattern {
                key: LAYERS_PATTERN,
                pattern: entry.text.clone(),
                suggestion: "it is what stands before the layer's number, `layer` in `encoder.layer.0.`".to_owned(),
            });
        }
        match self.wanted.difference(&self.found).next() {
            None => Ok(()),
            Some(layer) => Err(TargetError::UnknownLayer { layer: *layer, targets: self.of_targets() }),
        }
    }

    fn of_targets(&self) -> LayersOfTargets {
        match &self.unnumbered {
            _ if !self.found.is_empty() => LayersOfTargets::Known(self.found.iter().copied().collect()),
            Some(path) => LayersOfTargets::Unnumbered(path.clone()),
            None => LayersOfTargets::Any,
        }
    }
}

/// The number of the layer that a module lies in: the first in the form `<something>.<segment>.<number>.`: two segments stand before it, and one behind.
pub(crate) fn layer_of(path: &str) -> Option<usize> {
    let segments: Vec<&str> = path.split('.').collect();
    let inner = segments.get(2..segments.len().saturating_sub(1))?;
    let number = inner.iter().find(|segment| segment.bytes().all(|byte| byte.is_ascii_digit()))?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::Kind;
    use crate::targets::fixtures::*;

    #[test]
    fn the_layer_is_the_first_number_behind_two_segments() {
        let mut config = list(&["query"]);
        config.layers = Some(vec![1]);
        let modules = few(&[
            ("bert.layer.0.query", Kind::Linear),
            ("bert.layer.1.query", Kind::Linear),
            ("bert.layer.0.experts.1.query", Kind::Linear),
            ("h.1.query", Kind::Linear),
            ("query", Kind::Linear),
        ]);
        assert_eq!(adapted(&config, &modules), ["bert.layer.1.query", "query"]);
    }

    #[test]
    fn a_layers_pattern_stands_before_the_number() {
        // parity/cases/bert-layers
        let mut config = list(&["query", "value"]);
        config.layers = Some(vec![1]);
        config.layers_pattern = names(&["layer"]);
        let expected = ["bert.encoder.layer.1.attention.self.query", "bert.encoder.layer.1.attention.self.value"];
        assert_eq!(adapted(&config, &bert()), expected);

        config.layers_pattern = names(&["h", "experts"]);
        config.target_modules = Targets::Names(Names::List(names(&["query"])));
        let modules = few(&[("h.1.experts.0.query", Kind::Linear), ("h.0.experts.1.query", Kind::Linear)]);
        assert_eq!(adapted(&config, &modules), ["h.1.experts.0.query"]);
    }

    #[test]
    fn a_full_path_is_adapted_whatever_its_layer() {
        let mut config = list(&["bert.encoder.layer.0.attention.self.query", "value"]);
        config.layers = Some(vec![1]);
        assert_eq!(
            adapted(&config, &bert()),
            ["bert.encoder.layer.0.attention.self.query", "bert.encoder.layer.1.attention.self.value"]
        );
    }

    #[test]
    fn layers_that_do_not_exist_are_refused() {
        let mut config = list(&["query"]);
        config.layers = Some(vec![1, 7]);
        let (message, help) = refusal(&config, &bert());
        assert_eq!(message, "`layers`: no target is in a layer 7");
        assert_eq!(help, "known: 0, 1");
        config.layers = Some(vec![7]);
        assert_eq!(refusal(&config, &bert()).0, message);
    }

    #[test]
    fn layers_of_paths_without_a_number_are_refused() {
        let mut config = list(&["c_attn"]);
        config.layers = Some(vec![0]);
        let modules = few(&[("h.0.attn.c_attn", Kind::Linear)]);
        assert_eq!(
            refusal(&config, &modules).1,
            "no layer number was found in `h.0.attn.c_attn`: set `layers_pattern` to what stands before it"
        );
        config.layers_pattern = names(&["h"]);
        assert_eq!(adapted(&config, &modules), ["h.0.attn.c_attn"]);
        config.layers_pattern = names(&["h", "layer"]);
        assert_eq!(refusal(&config, &modules).0, "`layers_pattern`: `layer` matches no adapted module");
        config.layers_pattern = vec![];
        config.target_modules = Targets::Names(Names::List(names(&["h.0.attn.c_attn"])));
        assert_eq!(refusal(&config, &modules).1, "targets written as full paths are adapted whatever their layer");
    }

    #[test]
    fn combinations_that_peft_refuses_are_refused() {
        for mut config in [pattern(".*query"), config(Targets::AllLinear)] {
            config.layers = Some(vec![0]);
            assert_eq!(impossible(&config).0, "`layers`: layers are chosen of targets in a list of names");
            config.layers = None;
            config.layers_pattern = names(&["layer"]);
            assert_eq!(impossible(&config).0, "`layers_pattern`: layers are chosen of targets in a list of names");
        }
        let mut config = list(&["query"]);
        config.layers_pattern = names(&["layer"]);
        assert_eq!(impossible(&config).0, "`layers_pattern`: no layers are chosen");
    }
}
