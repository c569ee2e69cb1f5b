//! The angles of rotary position embedding. Reference: `modeling_rope_utils.py` in Transformers; both its `rope_parameters` and
//! the older `rope_scaling` are read. How angles are stretched over more positions than those of pretraining is in `scaling.rs`.

mod gguf;
mod scaling;

use burn::tensor::{Device, Tensor, TensorData};
use kernels::Layout;
use serde_json::Value;

use crate::config::{Config, ConfigError};
use scaling::Scaling;

/// How the frequencies of a model come about.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    /// Coordinates of a head that turn.
    dimensions: usize,
    theta: f64,
    scaling: Scaling,
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
        if !(0.0..=1.0).contains(&share) {
            let found = format!("`partial_rotary_factor` is {share}");
            return Err(config.wrong(found, "a share between 0 and 1 belongs there"));
        }
        let dimensions = (d_head as f64 * share) as usize / 2 * 2;
        let scaling = Scaling::read(config, (key, parameters), dimensions)?;
        Ok(Self { dimensions, theta, scaling })
    }

    /// Whether keys that turned in a sequence of `read` tokens turn otherwise now that it has `length`, so that they have to be
    /// computed again, as `Phi3ForCausalLM.prepare_inputs_for_generation` in Transformers has it.
    pub(crate) fn turns_otherwise(&self, read: usize, length: usize) -> bool {
        self.scaling.turns_otherwise(read, length)
    }

    /// The length of the shortest sequence in which positions turn as in one of `length` tokens.
    pub(crate) fn turns_as(&self, length: usize) -> usize {
        self.scaling.turns_as(length)
    }

    /// The angles of every token of a batch.
    pub(crate) fn angles(&self, layout: &Layout, device: &Device) -> Angles {
        let pairs = self.dimensions / 2;
        let attention = self.scaling.attention();
        let tokens = layout.rows().len();
        let (mut cosines, mut sines) = (Vec::with_capacity(tokens * pairs), Vec::with_capacity(tokens * pairs));
        let mut rows = layout.rows().iter();
        let fixed = self.frequencies(0);
        for (sequence, keys) in layout.keys().iter().enumerate() {
            let stretched = self.scaling.depends_on_length().then(|| self.frequencies(keys.len()));
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
        let base = self.scaling.base(self.theta, d, length);
        let plain = (0..self.dimensions / 2).map(|pair| 1.0 / base.powf(2.0 * pair as f64 / d));
        let scaled = plain.enumerate().map(|pair| self.scaling.frequency(pair, (self.theta, d), length));
        scaled.map(|frequency| frequency as f32).collect()
    }
}

#[cfg(test)]
mod tests;
