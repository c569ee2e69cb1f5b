//! What a score is called and how it is read; each stands beside what computes it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::registry;

/// A score of an evaluation, as files and people know it.
#[derive(Debug)]
pub struct Score {
    /// In `metrics.jsonl`, and where `train.best` names it.
    pub key: &'static str,
    /// For people.
    pub name: &'static str,
    pub span: Span,
    pub better: Better,
    /// As the Hugging Face Hub calls it; `None`: the Hub does not know it.
    pub hub: Option<&'static str>,
}

/// The values that a score can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// 0 to 1.
    Share,
    /// 0 to 100.
    Hundred,
    /// -1 to 1.
    Correlation,
    /// No end on one side or on both.
    Open,
}

/// In which direction a score improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
}

/// The mean over all targets; every task has it.
pub static LOSS: Score = Score { key: "loss", name: "loss", span: Span::Open, better: Better::Lower, hub: None };

impl Score {
    /// The score that files call so.
    pub fn of_key(key: &str) -> Option<&'static Self> {
        registry::scores().find(|score| score.key == key)
    }

    /// The score that people call so.
    pub fn of_name(name: &str) -> Option<&'static Self> {
        registry::scores().find(|score| score.name == name)
    }

    /// What is compared to find the best, the larger the better.
    pub(super) fn merit(&self, value: f64) -> f64 {
        match self.better {
            Better::Higher => value,
            Better::Lower => -value,
        }
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

/// By what the best adapter is chosen, as `train.best` says it: by a score, or by the one that the task is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Best(&'static str);

impl Best {
    pub const AUTO: Self = Self("auto");
    /// `auto`, and the key of each score by which some task can choose.
    pub const NAMES: &[&str] = registry::BEST;

    /// The key of a score, or `auto`.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|known| **known == name).map(|known| Self(known))
    }

    /// `None`: whichever the task is judged by.
    pub fn score(self) -> Option<&'static Score> {
        Score::of_key(self.0)
    }
}

impl std::fmt::Display for Best {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl Serialize for Best {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Best {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| serde::de::Error::unknown_variant(&name, Self::NAMES))
    }
}

/// The values that the score can have which people call so.
pub fn span(name: &str) -> Span {
    Score::of_name(name).map_or(Span::Open, |score| score.span)
}
