//! The angles of rotary position embedding and the ways to stretch them over more positions than a model was pretrained on.
//! Reference: `modeling_rope_utils.py` in Transformers; both its `rope_parameters` and the older `rope_scaling` are read.

mod gguf;

use burn::tensor::{Device, Tensor, TensorData};
use kernels::Layout;
use serde_json::Value;

use crate::config::{Config, ConfigError};

const KINDS: &str = "default, linear, dynamic, llama3, yarn, longrope";

/// How the frequencies of a model come about.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    /// Coordinates of a head that turn.
    dimensions: usize,
    theta: f64,
    scaling: Scaling,
}

#[derive(Debug, Clone, PartialEq)]
enum Scaling {
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

/// Cosine and sine of each token's angles, `[tokens, pairs]`.
#[derive(Debug, Clone)]
pub(crate) struct Angles {
    pub(crate) cosines: Tensor<2>,
    pub(crate) sines: Tensor<2>,
}

impl Rope {
    /// As `config.json` describes it for heads of `d_head` coordinates, the same in all layers.
    pub(crate) fn read(config: &Config, d_head: usize) -> Result<Self, ConfigError> {
        let values = config.values();
        let (key, parameters) = ["rope_parameters", "rope_scaling"]
            .into_iter()
            .find_map(|key| Some((key, values.get(key).filter(|value| !value.is_null())?)))
            .unwrap_or(("rope_scaling", &Value::Null));
        Self::read_parameters(config, key, parameters, d_head)
    }

    /// As these parameters of `config.json` describe it, which messages call `key`: of a model whose layers turn differently there
    /// are several such objects.
    pub(crate) fn read_parameters(
        config: &Config,
        key: &str,
        parameters: &Value,
        d_head: usize,
    ) -> Result<Self, ConfigError> {
        let values = config.values();
        // The newer key holds everything, the older has the base and the share that turns beside it.
        let of = |name: &str| parameters.get(name).or_else(|| values.get(name)).and_then(Value::as_f64);
        let theta = of("rope_theta").unwrap_or(10_000.0);
        let share = of("partial_rotary_factor").unwrap_or(1.0);
        Self::of(config, d_head, (key, parameters), ("rope_theta", theta), share)
    }

    /// As `config.json` describes it for the layers of one `kind`: `rope_parameters` has an entry for each kind, older files have
    /// their base under a key of its own, `theta`, with the value it has where there is none.
    pub(crate) fn read_kind(
        config: &Config,
        d_head: usize,
        kind: &str,
        (older, default): (&str, f64),
    ) -> Result<Self, ConfigError> {
        let values = config.values();
        let newer = values.get("rope_parameters").and_then(|parameters| parameters.get(kind));
        let (key, parameters) = match newer.filter(|parameters| !parameters.is_null()) {
            Some(parameters) => ("rope_parameters", parameters),
            None => ("rope_scaling", values.get("rope_scaling").unwrap_or(&Value::Null)),
        };
        let theta = match (parameters.get("rope_theta").and_then(Value::as_f64), config.number(older)) {
            (Some(theta), _) => ("rope_theta", theta),
            (None, Some(theta)) => (older, theta),
            (None, None) => (older, default),
        };
        let share = parameters.get("partial_rotary_factor").and_then(Value::as_f64).unwrap_or(1.0);
        Self::of(config, d_head, (key, parameters), theta, share)
    }

    /// Of `parameters`, which stand under `key`, and a base that has a key of its own; `share` of a head's coordinates turns.
    fn of(
        config: &Config,
        d_head: usize,
        (key, parameters): (&str, &Value),
        (theta_key, theta): (&str, f64),
        share: f64,
    ) -> Result<Self, ConfigError> {
        if theta <= 1.0 {
            return Err(config.wrong(format!("`{theta_key}` is {theta}"), "a number above 1 belongs there"));
        }
        let dimensions = (d_head as f64 * share) as usize / 2 * 2;
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
        let scaling = match kind.unwrap_or("default") {
            "default" => Scaling::Default,
            "linear" => Scaling::Linear { factor: needed("factor")? },
            "dynamic" => Scaling::Dynamic { factor: needed("factor")?, positions },
            "llama3" => Scaling::Llama3 {
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
                Scaling::Yarn {
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
                Scaling::LongRope {
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
        };
        Ok(Self { dimensions, theta, scaling })
    }

    /// Whether keys that turned in a sequence of `read` tokens turn otherwise now that it has `length`, so that they have to be
    /// computed again, as `Phi3ForCausalLM.prepare_inputs_for_generation` in Transformers has it.
    pub(crate) fn turns_otherwise(&self, read: usize, length: usize) -> bool {
        match self.scaling {
            Scaling::LongRope { original, .. } => read <= original && length > original,
            _ => false,
        }
    }

    /// The angles of every token of a batch.
    pub(crate) fn angles(&self, layout: &Layout, device: &Device) -> Angles {
        let pairs = self.dimensions / 2;
        let attention = match self.scaling {
            Scaling::Yarn { attention, .. } | Scaling::LongRope { attention, .. } => attention as f32,
            _ => 1.0,
        };
        let tokens = layout.rows().len();
        let (mut cosines, mut sines) = (Vec::with_capacity(tokens * pairs), Vec::with_capacity(tokens * pairs));
        let mut rows = layout.rows().iter();
        let fixed = self.frequencies(0);
        for (sequence, keys) in layout.keys().iter().enumerate() {
            let stretched = match self.scaling {
                Scaling::Dynamic { .. } | Scaling::LongRope { .. } => Some(self.frequencies(keys.len())),
                _ => None,
            };
            let frequencies = stretched.as_ref().unwrap_or(&fixed);
            for row in rows.by_ref().take(layout.queries().length(sequence)) {
                // Row keys end in the position.
                let position = *row as u32 as f32;
                for frequency in frequencies {
                    // The product in f32, as the reference has it: at large positions its rounding matters.
                    let angle = f64::from(position * frequency);
                    cosines.push(angle.cos() as f32 * attention);
                    sines.push(angle.sin() as f32 * attention);
                }
            }
        }
        let table = |values| Tensor::from_data(TensorData::new(values, [tokens, pairs]), device);
        Angles { cosines: table(cosines), sines: table(sines) }
    }

    /// Radians per position of each pair, in a sequence of `length` tokens.
    fn frequencies(&self, length: usize) -> Vec<f32> {
        let d = self.dimensions as f64;
        let base = match self.scaling {
            Scaling::Dynamic { factor, positions } => {
                let longest = (length as f64).max(positions);
                self.theta * (factor * longest / positions - (factor - 1.0)).powf(d / (d - 2.0))
            }
            _ => self.theta,
        };
        let plain = (0..self.dimensions / 2).map(|pair| 1.0 / base.powf(2.0 * pair as f64 / d));
        let scaled = plain.enumerate().map(|(pair, frequency)| match self.scaling {
            Scaling::Default | Scaling::Dynamic { .. } => frequency,
            Scaling::LongRope { ref short, ref long, original, .. } => {
                frequency / if length > original { long[pair] } else { short[pair] }
            }
            Scaling::Linear { factor } => frequency / factor,
            Scaling::Llama3 { factor, low, high, original } => {
                let wavelength = std::f64::consts::TAU / frequency;
                let kept = ((original / wavelength - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 - kept) * frequency / factor + kept * frequency
            }
            Scaling::Yarn { factor, fast, slow, original, truncate, .. } => {
                let dimension =
                    |turns: f64| d * (original / (turns * std::f64::consts::TAU)).ln() / (2.0 * self.theta.ln());
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
        });
        scaled.map(|frequency| frequency as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn layers_that_turn_differently_have_parameters_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let local = json!({ "rope_type": "default", "rope_theta": 1e4 });
        let config = json!({
            "max_position_embeddings": 64, "rope_theta": 1e6, "rope_parameters": { "sliding_attention": local },
        });
        std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
        let config = Config::read(directory.path()).unwrap();
        let of = |parameters: Value| Rope::read_parameters(&config, "rope_parameters", &parameters, 16);
        let local = of(config.values()["rope_parameters"]["sliding_attention"].clone()).unwrap();
        assert_eq!((local.theta, local.dimensions), (1e4, 16));
        // What an object does not say is the model's.
        let global = of(json!({ "rope_type": "linear", "factor": 8.0 })).unwrap();
        assert_eq!((global.theta, global.scaling), (1e6, Scaling::Linear { factor: 8.0 }));
    }

    fn read(rope: Value) -> Result<Rope, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let config = json!({ "max_position_embeddings": 64, "rope_parameters": rope });
        std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
        Rope::read(&Config::read(directory.path()).unwrap(), 16)
    }

    /// Frequencies for heads of 16 coordinates as Transformers 5.23's `ROPE_INIT_FUNCTIONS` give them.
    #[test]
    fn frequencies_are_those_of_transformers() {
        let plain = |rope: Value| (rope, 0);
        let cases: [((Value, usize), [f32; 8]); 6] = [
            (
                plain(json!({ "rope_theta": 1e4 })),
                [1.0, 0.316_227_8, 0.1, 0.031_622_78, 0.01, 0.003_162_278, 0.001, 0.000_316_227_8],
            ),
            (
                plain(json!({ "rope_type": "linear", "factor": 4.0, "rope_theta": 1e4 })),
                [0.25, 0.079_056_94, 0.025, 0.007_905_695, 0.0025, 0.000_790_569_5, 0.00025, 7.905_695e-5],
            ),
            (
                (json!({ "rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4 }), 200),
                [
                    1.0,
                    0.249_528_5,
                    0.062_264_45,
                    0.015_536_75,
                    0.003_876_863,
                    0.000_967_387_5,
                    0.000_241_390_7,
                    6.023_386e-5,
                ],
            ),
            (
                plain(json!({
                    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 32, "rope_theta": 5e5,
                })),
                [
                    1.0,
                    0.024_240_34,
                    0.004_700_754,
                    0.000_911_583_1,
                    0.000_176_776_7,
                    3.428_102e-5,
                    6.647_87e-6,
                    1.289_173e-6,
                ],
            ),
            (
                plain(json!({
                    "rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 32,
                })),
                [1.0, 0.197_642_4, 0.025, 0.007_905_695, 0.0025, 0.000_790_569_5, 0.00025, 7.905_695e-5],
            ),
            (
                plain(json!({
                    "rope_type": "yarn", "factor": 8.0, "rope_theta": 1e4, "original_max_position_embeddings": 2048,
                    "mscale": 1.0, "mscale_all_dim": 0.5, "beta_fast": 16, "beta_slow": 2, "truncate": false,
                })),
                [1.0, 0.316_227_8, 0.1, 0.025_771_62, 0.003_305_222, 0.000_395_284_7, 0.000_125, 3.952_847e-5],
            ),
        ];
        for ((rope, length), expected) in cases {
            let found = read(rope.clone()).unwrap().frequencies(length);
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() <= 1e-6 * expected, "{rope}: {found} {expected}");
            }
        }
    }

    /// `ModernBertConfig.convert_rope_params_to_dict`
    #[test]
    fn each_kind_of_layers_has_its_own_base_in_both_styles() {
        let directory = tempfile::tempdir().unwrap();
        let read = |config: Value, kind: &str, older: (&str, f64)| {
            std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
            Rope::read_kind(&Config::read(directory.path()).unwrap(), 16, kind, older)
        };
        let newer = json!({ "rope_parameters": {
            "full_attention": { "rope_type": "linear", "factor": 4.0, "rope_theta": 1600.0 },
            "sliding_attention": { "rope_type": "default", "rope_theta": 100.0 },
        } });
        let full = read(newer.clone(), "full_attention", ("global_rope_theta", 16e4)).unwrap();
        assert_eq!((full.theta, full.scaling), (1600.0, Scaling::Linear { factor: 4.0 }));
        let sliding = read(newer, "sliding_attention", ("local_rope_theta", 1e4)).unwrap();
        assert_eq!((sliding.theta, sliding.scaling), (100.0, Scaling::Default));
        let older = json!({ "global_rope_theta": 1600.0, "rope_scaling": null });
        assert_eq!(read(older.clone(), "full_attention", ("global_rope_theta", 16e4)).unwrap().theta, 1600.0);
        assert_eq!(read(older, "sliding_attention", ("local_rope_theta", 1e4)).unwrap().theta, 1e4);
        let wrong = read(json!({ "local_rope_theta": 0.5 }), "sliding_attention", ("local_rope_theta", 1e4));
        assert!(wrong.unwrap_err().to_string().ends_with("`local_rope_theta` is 0.5"));
    }

    #[test]
    fn yarn_scales_cosines_and_sines() {
        let attention = |rope: Value| match read(rope).unwrap().scaling {
            Scaling::Yarn { attention, .. } => attention,
            other => panic!("{other:?}"),
        };
        let plain = json!({ "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32 });
        assert!((attention(plain) - 1.138_629_436).abs() < 1e-9);
        let both = json!({
            "rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 2048, "mscale": 1.0,
            "mscale_all_dim": 0.5,
        });
        assert!((attention(both) - 1.094_179_988).abs() < 1e-9);
    }

    fn longrope() -> Value {
        json!({
            "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 32, "partial_rotary_factor": 0.5,
            "short_factor": [1.0, 1.5, 2.0, 4.0], "long_factor": [1.0, 2.0, 8.0, 32.0],
        })
    }

    /// Values of Transformers 5.23's `_compute_longrope_parameters`.
    #[test]
    fn longrope_has_other_frequencies_in_sequences_longer_than_those_of_pretraining() {
        let rope = read(longrope()).unwrap();
        let short = [1.0, 0.066_666_67, 0.005, 0.000_25];
        let long = [1.0, 0.05, 0.001_25, 3.125e-5];
        for (length, expected) in [(1, short), (32, short), (33, long), (64, long)] {
            let found = rope.frequencies(length);
            assert_eq!(found.len(), 4);
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() <= 1e-6 * expected, "{length}: {found} {expected}");
            }
        }
        let Scaling::LongRope { attention, .. } = rope.scaling else { panic!("{rope:?}") };
        assert!((attention - 1.095_445_115).abs() < 1e-9, "{attention}");
        assert_eq!(
            [(32, 33), (31, 32), (33, 34)].map(|(read, length)| rope.turns_otherwise(read, length)),
            [true, false, false]
        );
    }

    #[test]
    fn longrope_in_the_styles_of_older_configurations_is_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let of = |kind: &str| {
            let mut scaling = longrope();
            let parameters = scaling.as_object_mut().unwrap();
            for newer in ["rope_type", "rope_theta", "original_max_position_embeddings", "partial_rotary_factor"] {
                parameters.remove(newer);
            }
            parameters.insert("type".to_string(), kind.into());
            let older = json!({
                "max_position_embeddings": 64, "original_max_position_embeddings": 32, "rope_theta": 1e4,
                "partial_rotary_factor": 0.5, "rope_scaling": scaling,
            });
            std::fs::write(directory.path().join("config.json"), older.to_string()).unwrap();
            Rope::read(&Config::read(directory.path()).unwrap(), 16).unwrap()
        };
        let newer = read(longrope()).unwrap();
        for kind in ["longrope", "su", "yarn"] {
            let older = of(kind);
            assert_eq!((older.dimensions, older.theta, older.scaling), (8, 1e4, newer.scaling.clone()), "{kind}");
        }
    }

    #[test]
    fn longrope_needs_a_factor_for_each_pair() {
        let mut rope = longrope();
        rope["long_factor"] = json!([1.0, 2.0]);
        let error = read(rope).unwrap_err().to_string();
        assert!(error.ends_with("`rope_parameters` needs `long_factor`, a list of 4 numbers above 0"), "{error}");
    }

    #[test]
    fn the_older_key_means_the_same_and_what_is_unknown_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let older = json!({
            "max_position_embeddings": 64, "rope_theta": 1e4, "rope_scaling": { "type": "linear", "factor": 4.0 },
        });
        std::fs::write(directory.path().join("config.json"), older.to_string()).unwrap();
        let rope = Rope::read(&Config::read(directory.path()).unwrap(), 16).unwrap();
        assert_eq!(rope.scaling, Scaling::Linear { factor: 4.0 });
        assert!(read(json!({ "rope_type": "ntk" })).is_err());
        assert!(read(json!({ "rope_type": "linear" })).is_err(), "it needs a factor");
    }
}
