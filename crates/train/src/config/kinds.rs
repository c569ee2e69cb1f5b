//! The kinds of values that keys take: what fits them, and how a message calls them.

use std::ops::{Bound, RangeBounds};

use lora::SettingKind;
use toml::Value;

use super::legs::Leg;
use super::words::Balance;

/// What a key takes.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// An integer that is not negative; TOML has none above `i64::MAX`.
    Seed,
    /// An integer, at least this.
    Count(u32),
    Number(Bound<f64>, Bound<f64>),
    Flag,
    Text,
    /// A path or a pattern, or a list of one or more of them.
    Files,
    /// A text that may be empty.
    Template,
    /// One of the words.
    Word(&'static [&'static str]),
    /// The two decay rates of Adam.
    Betas,
    /// A list of names, possibly empty.
    Names,
    /// A list of one name or more.
    SomeNames,
    /// Names (possibly none), or one regular expression.
    Modules,
    /// Names (one at least), or a word or one regular expression.
    Targets,
    Layers,
    /// A rank for each pattern.
    Ranks,
    /// A number greater than 0 for each pattern.
    Alphas,
    /// `balanced`, or a number greater than 0 for each class.
    ClassWeights,
    /// How a run went on.
    Legs,
}

impl From<SettingKind> for Kind {
    fn from(kind: SettingKind) -> Self {
        match kind {
            SettingKind::Count(least) => Self::Count(least),
            SettingKind::Number(low, high) => Self::Number(low, high),
            SettingKind::Flag => Self::Flag,
            SettingKind::Word(words) => Self::Word(words),
            SettingKind::Names => Self::Names,
            SettingKind::Modules => Self::Modules,
            SettingKind::Targets => Self::Targets,
            SettingKind::Layers => Self::Layers,
            SettingKind::Ranks => Self::Ranks,
            SettingKind::Alphas => Self::Alphas,
        }
    }
}

impl Kind {
    pub(super) fn takes(self, value: &Value) -> bool {
        match self {
            Self::Seed => value.as_integer().is_some_and(|seed| seed >= 0),
            Self::Count(least) => is_count(value, least),
            Self::Number(low, high) => is_number(value, (low, high)),
            Self::Flag => value.is_bool(),
            Self::Text => is_text(value),
            Self::Template => value.is_str(),
            // A known word never comes here.
            Self::Word(..) => false,
            Self::Betas => value.as_array().is_some_and(|betas| {
                let range = (Bound::Included(0.0), Bound::Excluded(1.0));
                betas.len() == 2 && betas.iter().all(|beta| is_number(beta, range))
            }),
            Self::Names => are_names(value),
            Self::SomeNames => are_names(value) && !is_empty_list(value),
            Self::Modules => are_names(value) || is_text(value),
            Self::Files | Self::Targets => is_text(value) || (are_names(value) && !is_empty_list(value)),
            Self::Layers => match value.as_array() {
                Some(layers) => !layers.is_empty() && layers.iter().all(|layer| is_count(layer, 0)),
                None => is_count(value, 0),
            },
            Self::Ranks => is_pattern_table(value, |rank| is_count(rank, 1)),
            Self::Legs => Leg::are(value),
            Self::Alphas => is_pattern_table(value, is_positive),
            Self::ClassWeights => {
                value.as_str().is_some_and(|word| Balance::NAMES.contains(&word))
                    || is_pattern_table(value, is_positive)
            }
        }
    }

    /// Whether a value that is typed without quotes can be meant as a text.
    pub(super) fn takes_text(self) -> bool {
        match self {
            Self::Text
            | Self::Files
            | Self::Template
            | Self::Word(..)
            | Self::Modules
            | Self::Targets
            | Self::ClassWeights => true,
            Self::Seed
            | Self::Count(_)
            | Self::Number(..)
            | Self::Flag
            | Self::Betas
            | Self::Names
            | Self::SomeNames
            | Self::Layers
            | Self::Ranks
            | Self::Alphas
            | Self::Legs => false,
        }
    }

    /// Whether `value` has a type this kind is written in, whatever its range.
    pub(super) fn may_be(self, value: &Value) -> bool {
        value.is_str()
            || (matches!(self, Self::Files | Self::Modules | Self::Targets) && value.is_array())
            || (matches!(self, Self::ClassWeights) && value.is_table())
    }

    /// What it takes, in words.
    pub(super) fn expected(self) -> String {
        match self {
            Self::Seed => format!("an integer from 0 to {}", i64::MAX),
            Self::Count(least) => format!("an integer from {least} to {}", u32::MAX),
            Self::Number(low, high) => expected_number(low, high),
            Self::Flag => "true or false".to_owned(),
            Self::Text => "a string that is not empty".to_owned(),
            Self::Files => {
                "a path, a pattern such as \"data/*.csv\", or a list of one or more of them, none twice".to_owned()
            }
            Self::Template => "a string".to_owned(),
            Self::Word(words) => format!("one of the strings {}", words.join(", ")),
            Self::Betas => "two numbers of at least 0 and below 1".to_owned(),
            Self::Names => "a list of strings, none empty and none twice".to_owned(),
            Self::SomeNames => "a list of one string or more, none empty and none twice".to_owned(),
            Self::Modules => "a list of strings, none empty and none twice, or one regular expression".to_owned(),
            Self::Targets => "\"all-linear\", \"auto\", a list of one name or more, none empty and \
                none twice, or one regular expression"
                .to_owned(),
            Self::Layers => "an integer of at least 0, or a list of one or more of them".to_owned(),
            Self::Ranks => "a table from patterns to integers of at least 1".to_owned(),
            Self::Alphas => "a table from patterns to finite numbers greater than 0".to_owned(),
            Self::ClassWeights => "\"balanced\", or a table from classes to finite numbers greater than 0".to_owned(),
            Self::Legs => "the legs that a run wrote, each with `after_step` and later than the one before".to_owned(),
        }
    }
}

/// An integer from `least` to the largest `u32`, so that products of two counts do not overflow.
fn is_count(value: &Value, least: u32) -> bool {
    value.as_integer().is_some_and(|count| (least.into()..=u32::MAX.into()).contains(&count))
}

/// A number of `range` that does not become infinite as an `f32`, which is what the run computes in.
fn is_number(value: &Value, range: (Bound<f64>, Bound<f64>)) -> bool {
    let number = match value {
        Value::Float(x) => *x,
        Value::Integer(n) => *n as f64,
        _ => return false,
    };
    (number as f32).is_finite() && range.contains(&number)
}

fn is_positive(value: &Value) -> bool {
    is_number(value, (Bound::Excluded(0.0), Bound::Unbounded))
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

fn is_empty_list(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}

fn are_names(value: &Value) -> bool {
    value.as_array().is_some_and(|names| {
        let twice = |i: usize, name: &Value| names[..i].contains(name);
        names.iter().enumerate().all(|(i, name)| is_text(name) && !twice(i, name))
    })
}

fn is_pattern_table(value: &Value, takes: impl Fn(&Value) -> bool) -> bool {
    value.as_table().is_some_and(|table| table.iter().all(|(pattern, value)| !pattern.is_empty() && takes(value)))
}

fn expected_number(low: Bound<f64>, high: Bound<f64>) -> String {
    let low = match low {
        Bound::Included(low) => format!("of at least {low}"),
        Bound::Excluded(low) => format!("greater than {low}"),
        Bound::Unbounded => "of any size".to_owned(),
    };
    match high {
        Bound::Included(high) => format!("a number {low} and at most {high}"),
        Bound::Excluded(high) => format!("a number {low} and below {high}"),
        Bound::Unbounded => format!("a finite number {low}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Kind = Kind::Number(Bound::Excluded(0.0), Bound::Included(1e3));

    fn takes(kind: Kind, value: &str) -> bool {
        let document: toml::Table = format!("x = {value}").parse().expect("TOML");
        kind.takes(&document["x"])
    }

    #[test]
    fn numbers_take_integers_but_nothing_infinite() {
        for fitting in ["1", "1e-4", "1000", "0.5"] {
            assert!(takes(RATE, fitting), "{fitting}");
        }
        for outside in ["0", "-0.0", "-1e-4", "1000.1", "nan", "inf", "-inf", "true", "\"1\""] {
            assert!(!takes(RATE, outside), "{outside}");
        }
        let any = Kind::Number(Bound::Included(0.0), Bound::Unbounded);
        assert!(takes(any, "3e38") && !takes(any, "1e39"), "1e39 is infinite as f32");
    }

    #[test]
    fn counts_are_integers_from_their_least_to_u32() {
        assert!(takes(Kind::Count(1), "1") && takes(Kind::Count(0), "0"));
        assert!(takes(Kind::Count(1), "4294967295"));
        for outside in ["0", "-1", "4294967296", "1.0", "\"1\""] {
            assert!(!takes(Kind::Count(1), outside), "{outside}");
        }
    }

    #[test]
    fn names_are_neither_empty_nor_repeated() {
        assert!(takes(Kind::Names, "[]") && !takes(Kind::SomeNames, "[]"));
        for kind in [Kind::Names, Kind::SomeNames, Kind::Modules, Kind::Targets] {
            assert!(takes(kind, "['a', 'b']"));
            assert!(!takes(kind, "['a', '']"));
            assert!(!takes(kind, "['a', 'a']"));
            assert!(!takes(kind, "['a', 1]"));
        }
        assert!(takes(Kind::Targets, "'.*query'") && !takes(Kind::Names, "'.*query'"));
        assert!(!takes(Kind::Targets, "''") && !takes(Kind::Targets, "[]"));
        assert!(takes(Kind::Modules, "[]"));
    }

    #[test]
    fn layers_and_patterns_are_checked_inside() {
        for layers in ["0", "[0, 11]"] {
            assert!(takes(Kind::Layers, layers), "{layers}");
        }
        for layers in ["-1", "[]", "[0, -1]", "1.5", "['1']"] {
            assert!(!takes(Kind::Layers, layers), "{layers}");
        }
        assert!(takes(Kind::Ranks, "{}") && takes(Kind::Ranks, "{ q = 4 }"));
        assert!(!takes(Kind::Ranks, "{ q = 0 }") && !takes(Kind::Ranks, "{ '' = 1 }"));
        assert!(takes(Kind::Alphas, "{ q = 4 }") && !takes(Kind::Alphas, "{ q = nan }"));
    }

    #[test]
    fn betas_are_two_below_one() {
        assert!(takes(Kind::Betas, "[0, 0.999]"));
        for betas in ["[0.9]", "[0.9, 0.9, 0.9]", "[0.9, 1.0]", "[-0.1, 0.9]", "0.9"] {
            assert!(!takes(Kind::Betas, betas), "{betas}");
        }
    }

    #[test]
    fn ranges_read_as_sentences() {
        assert_eq!(RATE.expected(), "a number greater than 0 and at most 1000");
        let below = Kind::Number(Bound::Included(0.0), Bound::Excluded(1.0));
        assert_eq!(below.expected(), "a number of at least 0 and below 1");
        assert_eq!(Kind::Count(1).expected(), "an integer from 1 to 4294967295");
    }
}
