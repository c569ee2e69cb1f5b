//! What LoRA's settings mean, whatever file they were written in. Names of fields are PEFT's where they can be;
//! reading and writing `adapter_config.json` is the room `peft`, deciding which modules are meant the room `targets`.

use indexmap::IndexMap;

/// Which biases of the base are trained and saved with the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BiasMode {
    None,
    /// Every bias of the model, those of norms included.
    All,
    /// The biases of the adapted layers.
    LoraOnly,
}

/// Modules as a configuration names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// Full paths or their last segments, without regular expressions.
    List(Vec<String>),
    /// One regular expression of Python's `re`, for the whole path.
    Pattern(String),
}

/// What is adapted. PEFT's default for an architecture is resolved to its list before it comes here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// Every linear layer except the output layer.
    AllLinear,
    Names(Names),
}

/// How A starts; B starts at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// Kaiming uniform with a = sqrt 5, that is U(-1/sqrt(in), 1/sqrt(in)).
    Default,
    /// Normal with standard deviation 1/r.
    Gaussian,
}

/// LoRA's settings, PEFT's `LoraConfig`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    pub r: usize,
    pub alpha: f64,
    pub dropout: f64,
    pub bias: BiasMode,
    pub target_modules: Targets,
    pub exclude_modules: Option<Names>,
    /// The layers that are adapted, `layers_to_transform` in PEFT; none, or an empty list, for all.
    pub layers: Option<Vec<usize>>,
    /// What stands before the layer's number in a path; empty for anything.
    pub layers_pattern: Vec<String>,
    /// Modules trained in full and saved with the adapter.
    pub modules_to_save: Vec<String>,
    /// Ranks of single modules by regular expression, in file order: the first that matches decides.
    pub rank_pattern: IndexMap<String, usize>,
    /// As `rank_pattern`.
    pub alpha_pattern: IndexMap<String, f64>,
    pub use_rslora: bool,
    pub init: Init,
}

impl LoraConfig {
    /// The factor of B·A for a module of this rank and alpha: alpha / r, or alpha / sqrt(r) with rank-stabilised LoRA
    /// (<https://arxiv.org/abs/2312.03732>).
    pub fn scaling(&self, rank: usize, alpha: f64) -> f64 {
        if self.use_rslora { alpha / (rank as f64).sqrt() } else { alpha / rank as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scaling_is_alpha_over_r_or_over_its_root() {
        let mut config = LoraConfig {
            r: 4,
            alpha: 16.0,
            dropout: 0.0,
            bias: BiasMode::None,
            target_modules: Targets::AllLinear,
            exclude_modules: None,
            layers: None,
            layers_pattern: vec![],
            modules_to_save: vec![],
            rank_pattern: IndexMap::new(),
            alpha_pattern: IndexMap::new(),
            use_rslora: false,
            init: Init::Default,
        };
        assert_eq!(config.scaling(16, 32.0), 2.0);
        config.use_rslora = true;
        assert_eq!(config.scaling(16, 32.0), 8.0);
    }
}
