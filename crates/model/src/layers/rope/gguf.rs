//! A rotary embedding as llama.cpp has it.

use gguf::Value;

use super::Rope;
use super::scaling::Scaling;

/// What a GGUF file says of it.
#[derive(Debug)]
pub(crate) struct GgufRope {
    /// Coordinates of a head that turn.
    pub(crate) dimensions: usize,
    pub(crate) theta: f64,
    /// Metadata below the architecture's name.
    pub(crate) settings: Vec<(&'static str, Value)>,
    /// Divisors of the frequencies, one for each pair.
    pub(crate) added: Vec<(&'static str, Vec<f32>)>,
    pub(crate) notes: Vec<String>,
}

impl Rope {
    /// # Errors
    /// What llama.cpp does not have.
    pub(crate) fn gguf(&self) -> Result<GgufRope, String> {
        let (mut settings, mut added, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        let float = |value: f64| Value::F32(value as f32);
        match &self.scaling {
            Scaling::Default => {}
            Scaling::Linear { factor } => {
                settings.push(("rope.scaling.type", Value::from("linear")));
                settings.push(("rope.scaling.factor", float(*factor)));
            }
            Scaling::Dynamic { .. } => return Err("the rotary embedding is scaled by `dynamic`".to_owned()),
            Scaling::Llama3 { .. } => {
                let plain = Self { scaling: Scaling::Default, ..self.clone() };
                let divisor = |(plain, scaled): (f32, f32)| plain / scaled;
                added.push((
                    "rope_freqs.weight",
                    plain.frequencies(0).into_iter().zip(self.frequencies(0)).map(divisor).collect(),
                ));
            }
            Scaling::Yarn { factor, attention, fast, slow, original, truncate } => {
                let usual = if *factor <= 1.0 { 1.0 } else { 0.1 * factor.ln() + 1.0 };
                if (attention - usual).abs() > 1e-6 || (*fast, *slow, *truncate) != (32.0, 1.0, true) {
                    return Err("`yarn` has settings of its own, where llama.cpp takes the usual ones".to_owned());
                }
                settings.push(("rope.scaling.type", Value::from("yarn")));
                settings.push(("rope.scaling.factor", float(*factor)));
                settings.push(("rope.scaling.original_context_length", Value::U32(*original as u32)));
            }
            Scaling::LongRope { short, long, attention, original } => {
                settings.push(("rope.scaling.type", Value::from("longrope")));
                settings.push(("rope.scaling.attn_factor", float(*attention)));
                settings.push(("rope.scaling.original_context_length", Value::U32(*original as u32)));
                let narrow = |factors: &[f64]| factors.iter().map(|factor| *factor as f32).collect();
                added.push(("rope_factors_long.weight", narrow(long)));
                added.push(("rope_factors_short.weight", narrow(short)));
                notes.push(format!(
                    "llama.cpp takes the factors for long texts wherever its context (`--ctx-size`) is larger than {original} \
                     tokens, Transformers where the text is"
                ));
            }
        }
        Ok(GgufRope { dimensions: self.dimensions, theta: self.theta, settings, added, notes })
    }
}
