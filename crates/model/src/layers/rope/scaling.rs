//! The ways to stretch rotary angles over more positions than a model was pretrained on, by the names of Transformers'
//! `ROPE_INIT_FUNCTIONS`.

use std::f64::consts::TAU;

use serde_json::Value;

use crate::config::{Config, ConfigError};

const KINDS: &str = "default, linear, dynamic, llama3, yarn, longrope";

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scaling {
    Default,
    /// All angles divided by a factor.
    Linear {
        factor: f64,
    },
    /// The base of the frequencies grows with the sequence, beyond `positions` tokens.
    Dynamic {
        factor: f64,
        positions: f64,
    },
    /// Llama 3.1: low frequencies divided, high ones kept, those between mixed.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original: f64,
    },
    /// Peng et al. 2023, arXiv 2309.00071.
    Yarn {
        factor: f64,
        /// Of cosines and sines.
        attention: f64,
        fast: f64,
        slow: f64,
        original: f64,
        truncate: bool,
    },
    /// Ding et al. 2024, arXiv 2402.13753: each pair has a divisor of its own, another one in sequences that are longer than those
    /// of pretraining.
    LongRope {
        short: Vec<f64>,
        long: Vec<f64>,
        /// Of cosines and sines.
        attention: f64,
        original: usize,
    },
}

impl Scaling {
    /// Of `parameters`, which stand under `key` of `config.json`, for heads of which so many coordinates turn.
    pub(super) fn read(
        config: &Config,
        (key, parameters): (&str, &Value),
        dimensions: usize,
    ) -> Result<Self, ConfigError> {
        let positions = config.number("max_position_embeddings").unwrap_or(2048.0);
        let kind = ["rope_type", "type"].into_iter().find_map(|name| parameters.get(name)?.as_str());

        let own = |name: &str| parameters.get(name).and_then(Value::as_f64);
        let needed = |name: &str| {
            own(name).filter(|value| *value > 0.0).ok_or_else(|| {
                let message = format!("`{key}` lacks `{name}`, which its type needs");
                config.wrong(message, "a number above 0 belongs there: copy the model's config.json again")
            })
        };
        // The older names of longrope, in Phi-3's configurations alone.
        let kind = match kind {
            Some("su") => Some("longrope"),
            Some("yarn") if parameters.get("short_factor").is_some() => Some("longrope"),
            kind => kind,
        };
        let factors = |name: &str| {
            let list = parameters.get(name).and_then(Value::as_array);
            let list: Option<Vec<f64>> = list.and_then(|list| list.iter().map(Value::as_f64).collect());
            list.filter(|list| list.len() == dimensions / 2 && list.iter().all(|factor| *factor > 0.0)).ok_or_else(
                || {
                    let pairs = dimensions / 2;
                    let message = format!("`{key}` needs `{name}`, a list of {pairs} numbers above 0");
                    config.wrong(
                        message,
                        "one for each pair of coordinates that turns: copy the model's config.json again",
                    )
                },
            )
        };
        Ok(match kind.unwrap_or("default") {
            "default" => Self::Default,
            "linear" => Self::Linear { factor: needed("factor")? },
            "dynamic" => Self::Dynamic { factor: needed("factor")?, positions },
            "llama3" => Self::Llama3 {
                factor: needed("factor")?,
                low: needed("low_freq_factor")?,
                high: needed("high_freq_factor")?,
                original: needed("original_max_position_embeddings")?,
            },
            "yarn" => {
                let original = own("original_max_position_embeddings").unwrap_or(positions);
                let factor = own("factor").unwrap_or(positions / original);
                let scale = |by: f64| if factor <= 1.0 { 1.0 } else { 0.1 * by * factor.ln() + 1.0 };
                let nonzero = |name: &str| own(name).filter(|value| *value != 0.0);
                let inferred = match (nonzero("mscale"), nonzero("mscale_all_dim")) {
                    (Some(one), Some(all)) => scale(one) / scale(all),
                    _ => scale(1.0),
                };
                Self::Yarn {
                    factor,
                    attention: own("attention_factor").unwrap_or(inferred),
                    fast: nonzero("beta_fast").unwrap_or(32.0),
                    slow: nonzero("beta_slow").unwrap_or(1.0),
                    original,
                    truncate: parameters.get("truncate").and_then(Value::as_bool).unwrap_or(true),
                }
            }
            "longrope" => {
                // Phi-3 has it beside its parameters, which then counts.
                let beside = config.number("original_max_position_embeddings");
                let original = beside.or_else(|| own("original_max_position_embeddings")).unwrap_or(positions);
                if original < 2.0 {
                    let message = format!("`original_max_position_embeddings` is {original}");
                    return Err(config.wrong(message, "copy the model's config.json again"));
                }
                let factor = own("factor").unwrap_or(positions / original);
                let inferred = if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original.ln()).sqrt() };
                Self::LongRope {
                    short: factors("short_factor")?,
                    long: factors("long_factor")?,
                    attention: own("attention_factor").unwrap_or(inferred),
                    original: original as usize,
                }
            }
            other => {
                let message = format!("`{key}` has the type `{other}`, which this version does not support");
                return Err(config.wrong(message, &format!("supported: {KINDS}")));
            }
        })
    }

    /// What cosines and sines are multiplied by.
    pub(super) fn attention(&self) -> f32 {
        match self {
            Self::Yarn { attention, .. } | Self::LongRope { attention, .. } => *attention as f32,
            Self::Default | Self::Linear { .. } | Self::Dynamic { .. } | Self::Llama3 { .. } => 1.0,
        }
    }

    /// Whether each length of a sequence has frequencies of its own.
    pub(super) fn depends_on_length(&self) -> bool {
        match self {
            Self::Dynamic { .. } | Self::LongRope { .. } => true,
            Self::Default | Self::Linear { .. } | Self::Llama3 { .. } | Self::Yarn { .. } => false,
        }
    }

    /// Whether keys that turned in a sequence of `read` tokens have to turn again now that it has `length`.
    pub(super) fn turns_otherwise(&self, read: usize, length: usize) -> bool {
        match self {
            Self::LongRope { original, .. } => read <= *original && length > *original,
            Self::Default | Self::Linear { .. } | Self::Dynamic { .. } | Self::Llama3 { .. } | Self::Yarn { .. } => {
                false
            }
        }
    }

    /// The length of the shortest sequence with the frequencies of one of `length` tokens.
    pub(super) fn turns_as(&self, length: usize) -> usize {
        match self {
            Self::LongRope { original, .. } if length > *original => original + 1,
            Self::Dynamic { positions, .. } if length as f64 > *positions => length,
            Self::LongRope { .. } | Self::Dynamic { .. } => 1,
            Self::Default | Self::Linear { .. } | Self::Llama3 { .. } | Self::Yarn { .. } => 1,
        }
    }

    /// The base of the frequencies in a sequence of `length` tokens, for `d` coordinates.
    pub(super) fn base(&self, theta: f64, d: f64, length: usize) -> f64 {
        match self {
            Self::Dynamic { factor, positions } => {
                let longest = (length as f64).max(*positions);
                theta * (factor * longest / positions - (factor - 1.0)).powf(d / (d - 2.0))
            }
            Self::Default | Self::Linear { .. } | Self::Llama3 { .. } | Self::Yarn { .. } | Self::LongRope { .. } => {
                theta
            }
        }
    }

    /// The frequency of a pair, which would be `frequency` without scaling, for `d` coordinates and the base `theta`.
    pub(super) fn frequency(&self, (pair, frequency): (usize, f64), (theta, d): (f64, f64), length: usize) -> f64 {
        match *self {
            Self::Default | Self::Dynamic { .. } => frequency,
            Self::LongRope { ref short, ref long, original, .. } => {
                frequency / if length > original { long[pair] } else { short[pair] }
            }
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 { factor, low, high, original } => {
                let wavelength = TAU / frequency;
                let kept = ((original / wavelength - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 - kept) * frequency / factor + kept * frequency
            }
            Self::Yarn { factor, fast, slow, original, truncate, .. } => {
                let dimension = |turns: f64| d * (original / (turns * TAU)).ln() / (2.0 * theta.ln());
                let (mut start, mut end) = (dimension(fast), dimension(slow));
                if truncate {
                    (start, end) = (start.floor(), end.ceil());
                }
                let (start, mut end) = (start.max(0.0), end.min(d - 1.0));
                if start == end {
                    end += 0.001;
                }
                let divided = ((pair as f64 - start) / (end - start)).clamp(0.0, 1.0);
                divided * frequency / factor + (1.0 - divided) * frequency
            }
        }
    }
}
