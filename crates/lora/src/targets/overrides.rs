//! `rank_pattern` and `alpha_pattern`: values of single modules, of which the first key that matches decides, PEFT's
//! `get_pattern_key`. PEFT writes the keys sorted, so that keys that disagree about a module are refused.

use indexmap::IndexMap;

use super::TargetError;
use super::entry::{Entry, Match};
use crate::suggest::suggest;

#[derive(Debug)]
pub(super) struct Overrides<T>(Vec<(Entry, T)>);

impl<T: Copy + PartialEq> Overrides<T> {
    pub(super) fn new(key: &'static str, patterns: &IndexMap<String, T>) -> Result<Self, TargetError> {
        // `match` in Python: from the start, and the group in front lets any leading segments pass.
        let entry = |text: &str| Entry::pattern(key, text, &format!(r"\A(?:(.*\.)?({text})$)"));
        let entries = patterns.iter().map(|(text, value)| Ok((entry(text)?, *value)));
        Ok(Self(entries.collect::<Result<_, TargetError>>()?))
    }

    pub(super) fn decide(&mut self, path: &str) -> Result<Option<T>, TargetError> {
        let mut decided: Option<(&str, T)> = None;
        for (entry, value) in &mut self.0 {
            if entry.matches(path)? == Match::No {
                continue;
            }
            match decided {
                None => decided = Some((&entry.text, *value)),
                Some((_, first)) if first == *value => {}
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

    /// Whether each found a module among the adapted ones, once the model is built.
    pub(super) fn check(&self, adapted: &[(String, usize)]) -> Result<(), TargetError> {
        match self.0.iter().find(|(entry, _)| !entry.found) {
            None => Ok(()),
            Some((entry, _)) => Err(TargetError::UnusedPattern {
                key: entry.key,
                pattern: entry.text.clone(),
                suggestion: suggest(&entry.text, adapted.iter().map(|(path, _)| path.as_str())),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::fixtures::*;
    use crate::targets::{Kind, Selection, Selector};

    #[test]
    fn the_first_pattern_that_matches_decides_rank_and_alpha() {
        let mut config = list(&["query", "value", "intermediate.dense"]);
        config.rank_pattern = IndexMap::from([(r"layer\.0\.attention\.self\.query".to_owned(), 8)]);
        config.alpha_pattern =
            IndexMap::from([("intermediate.dense".to_owned(), 32.0), ("^bert.*value".to_owned(), 2.0)]);
        let mut selector = Selector::new(&config).expect("a possible configuration");
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
}
