//! `rank_pattern` and `alpha_pattern`: values of single modules, of which the first key that matches decides, PEFT's
//! `get_pattern_key`. PEFT writes the keys sorted, so that new settings whose keys disagree about a module are refused; of
//! a finished adapter the first key of its file decides.

use indexmap::IndexMap;
use suggest::module_suggestion;

use super::entry::{Entry, Match};
use super::{Settings, TargetError};

#[derive(Debug)]
pub(crate) struct Overrides<T> {
    entries: Vec<(Entry, T)>,
}

impl<T: Copy + PartialEq> Overrides<T> {
    pub(crate) fn new(key: &'static str, patterns: &IndexMap<String, T>) -> Result<Self, TargetError> {
        let entries = Entry::of_patterns(key, patterns.keys().map(String::as_str))?;
        Ok(Self { entries: entries.into_iter().zip(patterns.values().copied()).collect() })
    }

    /// The value of the module at `path`, if any key is for it.
    pub(crate) fn decide(&self, path: &str, settings: Settings) -> Result<Option<T>, TargetError> {
        let matching = self.matching(path)?;
        let Some((first, value)) = matching.first() else { return Ok(None) };
        match matching.iter().find(|(_, other)| other != value) {
            Some((second, _)) if settings == Settings::New => Err(TargetError::Overlap {
                key: first.key,
                first: first.text.clone(),
                second: second.text.clone(),
                module: path.to_owned(),
            }),
            Some(_) | None => Ok(Some(*value)),
        }
    }

    /// Whether the order of the keys matters for one of these modules.
    pub(crate) fn overlap(&self, adapted: &[String]) -> bool {
        let disagree = |matching: Vec<(&Entry, T)>| matching.iter().any(|(_, value)| *value != matching[0].1);
        adapted.iter().any(|path| self.matching(path).is_ok_and(disagree))
    }

    /// Those that are for none of these modules.
    pub(crate) fn idle(&self, adapted: &[String]) -> Vec<TargetError> {
        let is_idle = |entry: &Entry| adapted.iter().all(|path| entry.meaning(path).is_ok_and(|it| it == Match::No));
        let idle = self.entries.iter().filter(|(entry, _)| is_idle(entry));
        idle.map(|(entry, _)| TargetError::UnusedPattern {
            key: entry.key,
            pattern: entry.text.clone(),
            suggestion: module_suggestion(&entry.text, adapted.iter().map(String::as_str)),
        })
        .collect()
    }

    fn matching(&self, path: &str) -> Result<Vec<(&Entry, T)>, TargetError> {
        let mut matching = Vec::new();
        for (entry, value) in &self.entries {
            if entry.meaning(path)? != Match::No {
                matching.push((entry, *value));
            }
        }
        Ok(matching)
    }
}
