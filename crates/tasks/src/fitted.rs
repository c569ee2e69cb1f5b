//! What is fitted to the outputs on the validation data, after the weights are trained, and kept beside them.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::{Deserialize, Deserializer, Serialize};

use crate::HostOutput;

/// Values that belong to trained weights as much as their numbers do; `kindling.json` keeps them. What was not fitted is
/// absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fitted {
    /// Calibrated probabilities are those of the logits divided by it (Guo et al. 2017).
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "positive")]
    pub temperature: Option<f64>,
    /// Of labels of which a text may have several, by their names: a text has those whose probability is at least this.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub thresholds: BTreeMap<String, f64>,
}

impl Fitted {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let temperature = Option::<f64>::deserialize(deserializer)?;
    // Logits are f32.
    let divides = |temperature: &f64| (*temperature as f32).is_finite() && *temperature as f32 > 0.0;
    match temperature.filter(|temperature| !divides(temperature)) {
        Some(wrong) => Err(serde::de::Error::custom(format!("a temperature is greater than 0, found {wrong}"))),
        None => Ok(temperature),
    }
}

/// Gathers the outputs of an evaluation that something is fitted to.
pub trait Fitter: Debug {
    /// One more batch.
    fn add(&mut self, output: &HostOutput);

    fn fit(&self) -> Fitted;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_fitted_is_read_back_and_nothing_is_written_of_what_was_not() {
        let fitted = Fitted { temperature: Some(1.7320508075688772), ..Fitted::default() };
        let text = serde_json::to_string(&fitted).unwrap();
        assert_eq!(text, r#"{"temperature":1.7320508075688772}"#);
        assert_eq!(serde_json::from_str::<Fitted>(&text).unwrap(), fitted);
        assert_eq!(serde_json::to_string(&Fitted::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<Fitted>("{}").unwrap(), Fitted::default());
    }

    #[test]
    fn logits_are_never_divided_by_nothing() {
        for wrong in ["0.0", "-1.5", "1e-60"] {
            let error = serde_json::from_str::<Fitted>(&format!("{{\"temperature\": {wrong}}}")).unwrap_err();
            assert!(error.to_string().starts_with("a temperature is greater than 0"), "{error}");
        }
    }
}
