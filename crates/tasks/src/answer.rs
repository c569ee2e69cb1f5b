//! What a trained model answers to a row.

use serde_json::{Map, Value};

use crate::{ClassAnswer, EntityAnswer, LabelsAnswer};

/// An answer, of the kind that the task gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Class(ClassAnswer),
    /// A number.
    Value(f32),
    Entities(EntityAnswer),
    Labels(LabelsAnswer),
}

impl Answer {
    /// For people, in a few words.
    pub fn describe(&self) -> String {
        match self {
            Self::Class(answer) => answer.describe(),
            Self::Value(value) => number(*value).to_string(),
            Self::Entities(answer) => answer.describe(),
            Self::Labels(answer) => answer.describe(),
        }
    }

    /// With probabilities of logits that are divided by a temperature.
    pub fn calibrated(self, temperature: f64) -> Self {
        match self {
            Self::Class(answer) => Self::Class(answer.calibrated(temperature)),
            Self::Value(_) | Self::Entities(_) | Self::Labels(_) => self,
        }
    }

    /// Without a class where the most probable one has less than this probability.
    pub fn abstaining_below(self, min_confidence: f64) -> Self {
        match self {
            Self::Class(answer) => Self::Class(answer.abstaining_below(min_confidence)),
            Self::Value(_) | Self::Entities(_) | Self::Labels(_) => self,
        }
    }

    /// As an object; with `named` what is said of each class stands under its name.
    pub fn object(&self, named: bool) -> Map<String, Value> {
        match self {
            Self::Class(answer) => answer.object(named),
            Self::Value(value) => of_value(*value),
            Self::Entities(answer) => answer.object(),
            Self::Labels(answer) => answer.object(named),
        }
    }

    /// As cells of a table.
    pub fn cells(&self) -> Map<String, Value> {
        match self {
            Self::Class(answer) => answer.cells(),
            Self::Value(value) => of_value(*value),
            Self::Entities(answer) => answer.object(),
            Self::Labels(answer) => answer.cells(),
        }
    }
}

fn of_value(value: f32) -> Map<String, Value> {
    Map::from_iter([("value".to_string(), number(value))])
}

/// A number as its own digits say it: an `f32` of 0.1 is 0.1, and not 0.10000000149011612. No number is null.
pub fn number(value: f32) -> Value {
    let digits = value.to_string().parse().ok();
    digits.and_then(serde_json::Number::from_f64).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_the_digits_of_an_f32() {
        for value in [0.1, 1e-10, 123_456.79, -3.402_823_5e38, 0.0] {
            assert_eq!(number(value).to_string(), serde_json::to_string(&value).unwrap());
        }
        assert_eq!(number(f32::NAN), Value::Null);
    }
}
