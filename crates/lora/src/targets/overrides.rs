//! `rank_pattern` and `alpha_pattern`: values of single modules, of which the first key that matches decides, PEFT's
//! `get_pattern_key`. PEFT writes the keys sorted, so that new settings whose keys disagree about a module are refused; of
//! a finished adapter the first key of its file decides.

use indexmap::IndexMap;

use super::entry::{Entry, Match};
use super::{Settings, TargetError};
use crate::suggest::suggest;

#[derive(Debug)]
pub(super) struct Overrides<T> {
    entries: Vec<(Entry, T)>,
    settings: Settings,
    /// Two keys disagreed about a module.
    overlap: bool,
}

impl<T: Copy + PartialEq> Overrides<T> {
    pub(super) fn new(
        key: &'static str,
        patterns: &IndexMap<String, T>,
        settings: Settings,
    ) -> Result<Self, TargetError> {
        // `match` in Python: from the start, and the group in front lets any leading segments pass.
        let entry = |text: &str| Entry::pattern(key, text, &format!(r"\A(?:(.*\.)?({text})$)"));
        let entries = patterns.iter().map(|(text, value)| Ok((entry(text)?, *value)));
        Ok(Self { entries: entries.collect::<Result<_, TargetError>>()?, settings, overlap: false })
    }

    pub(super) fn decide(&mut self, path: &str) -> Result<Option<T>, TargetError> {
        let mut decided: Option<(&str, T)> = None;
        for (entry, value) in &mut self.entries {
            if entry.matches(path)? == Match::No {
                continue;
            }
            match decided {
                None => decided = Some((&entry.text, *value)),
                Some((_, first)) if first == *value => {}
                Some(_) if self.settings == Settings::Finished => self.overlap = true,
                Some((first, _)) => {
                    return Err(TargetError::Overlap {
                        key: entry.key,
                        first: first.to_owned(),
                        second: entry.text.clone(),
                        module: path.to_owned(),
                    });
                }
            }
        }
        Ok(decided.map(|(_, value)| value))
    }

    /// Whether the order of the keys matters.
    pub(super) fn overlap(&self) -> bool {
        self.overlap
    }

    /// Those that found no module among the adapted ones, once the model is built.
    pub(super) fn idle(&self, adapted: &[(String, usize)]) -> impl Iterator<Item = TargetError> {
        self.entries.iter().filter(|(entry, _)| !entry.found).map(|(entry, _)| TargetError::UnusedPattern {
            key: entry.key,
            pattern: entry.text.clone(),
            suggestion: suggest(&entry.text, adapted.iter().map(|(path, _)| path.as_str())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::fixtures::*;
    use crate::targets::{Kind, Selection, Selector, Settings};

    #[test]
    fn the_first_pattern_that_matches_decides_rank_and_alpha() {
        let mut config = list(&["query", "value", "intermediate.dense"]);
        config.rank_pattern = IndexMap::from([(r"layer\.0\.attention\.self\.query".to_owned(), 8)]);
        config.alpha_pattern =
            IndexMap::from([("intermediate.dense".to_owned(), 32.0), ("^bert.*value".to_owned(), 2.0)]);
        let mut selector = Selector::new(&config, Settings::New).expect("a possible configuration");
        let mut decided = |path: &str| match selector.select(path, Kind::Linear) {
            Selection::Adapted { rank, alpha } => (rank, alpha),
            other => panic!("{path} is {other:?}"),
        };
        assert_eq!(decided("bert.encoder.layer.0.attention.self.query"), (8, 16.0));
        assert_eq!(decided("bert.encoder.layer.10.attention.self.query"), (4, 16.0));
        assert_eq!(decided("bert.encoder.layer.0.intermediate.dense"), (4, 32.0));
        assert_eq!(decided("bert.encoder.layer.0.attention.self.value"), (4, 2.0));
        assert_eq!(decided("other.value"), (4, 16.0));
        selector.finish().expect("every pattern matched");
    }

    #[test]
    fn overlapping_patterns_must_agree() {
        let mut config = list(&["query", "value"]);
        config.rank_pattern = IndexMap::from([("query".to_owned(), 8), ("layer.*".to_owned(), 8)]);
        assert_eq!(run(&config, &bert()).finish().map_err(|error| error.to_string()), Ok(()));
        config.rank_pattern = IndexMap::from([("query".to_owned(), 8), ("layer.*".to_owned(), 2)]);
        assert_eq!(
            refusal(&config, &bert()).0,
            "`adapter.rank_pattern`: `query` and `layer.*` both match `bert.encoder.layer.0.attention.self.query` and disagree"
        );
        config.rank_pattern = IndexMap::new();
        config.alpha_pattern = IndexMap::from([("query".to_owned(), 8.0), ("layer.*".to_owned(), 2.0)]);
        assert!(refusal(&config, &bert()).0.starts_with("`adapter.alpha_pattern`: `query` and `layer.*` both match"));
    }

    #[test]
    fn the_first_key_of_a_finished_adapters_file_decides_and_is_written_so_that_it_still_does() {
        let mut config = list(&["query", "value"]);
        // PEFT's rule on these keys in this order; sorted, `layer.*` would come first.
        config.rank_pattern = IndexMap::from([("query".to_owned(), 8), ("layer.*".to_owned(), 2)]);
        let mut selector = Selector::new(&config, Settings::Finished).expect("a possible configuration");
        for (path, kind) in bert() {
            selector.select(&path, kind);
        }
        selector.finish().expect("PEFT loads it");
        let ranks: Vec<usize> = selector.matched().iter().map(|(_, rank)| *rank).collect();
        assert_eq!(ranks, [8, 2, 8, 2]);
        let (written, alphas) = selector.patterns_written().expect("the order matters");
        assert!(alphas.is_empty());
        config.rank_pattern = written;
        config.rank_pattern.sort_keys();
        let again = run(&config, &bert());
        again.finish().expect("every key matches one module");
        assert_eq!(again.matched(), selector.matched());
    }
}
