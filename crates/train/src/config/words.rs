//! The values of the configuration that are a choice between words, as enums.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An enum of the words that a key takes, with their list for messages.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub(crate) enum $name {
            $(#[serde(rename = $word)] $variant),+
        }

        impl $name {
            pub(crate) const NAMES: &[&str] = &[$($word),+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $word),+
                })
            }
        }
    };
}

words!(
    /// Where the values of the base come from; `random`: from the seed, for training from nothing.
    Weights { Pretrained = "pretrained", Random = "random" }
);
words!(
    /// How frozen weights are kept; `auto`: as stored.
    Dtype { Auto = "auto", F32 = "f32", Bf16 = "bf16", F16 = "f16" }
);
words!(
    /// Of a full checkpoint.
    SaveDtype { F32 = "f32", Bf16 = "bf16", F16 = "f16" }
);
words!(Method { Lora = "lora", Full = "full", None = "none" });
words!(
    /// Which biases are trained.
    Bias { None = "none", All = "all", LoraOnly = "lora_only" }
);
words!(Init { Default = "default", Gaussian = "gaussian" });
words!(
    /// Which tokens a causal language model learns to say; `completion`: of a text all of them.
    LossOn { Completion = "completion", All = "all" }
);
words!(
    /// Of products with frozen weights; `auto`: f32.
    Compute { Auto = "auto", F32 = "f32", Bf16 = "bf16" }
);
words!(Optimizer { Adamw = "adamw" });
words!(Schedule { Constant = "constant", Linear = "linear", Cosine = "cosine" });
impl Method {
    /// Whether `[adapter]` has the key `name` under this method.
    pub(crate) fn has(self, name: &str) -> bool {
        match self {
            Self::Lora => true,
            Self::Full | Self::None => name == "method",
        }
    }
}

/// Modules by name or by one regular expression over whole paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Modules {
    Names(Vec<String>),
    Pattern(String),
}

/// The modules that carry an adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Modules", into = "Modules")]
pub(crate) enum Targets {
    AllLinear,
    /// PEFT's default for the architecture.
    Auto,
    Names(Vec<String>),
    Pattern(String),
}

impl From<Modules> for Targets {
    fn from(modules: Modules) -> Self {
        match modules {
            Modules::Names(names) => Self::Names(names),
            // PEFT takes `all-linear` in any case.
            Modules::Pattern(text) if text.eq_ignore_ascii_case("all-linear") => Self::AllLinear,
            Modules::Pattern(text) if text == "auto" => Self::Auto,
            Modules::Pattern(text) => Self::Pattern(text),
        }
    }
}

impl From<Targets> for Modules {
    fn from(targets: Targets) -> Self {
        match targets {
            Targets::AllLinear => Self::Pattern("all-linear".to_owned()),
            Targets::Auto => Self::Pattern("auto".to_owned()),
            Targets::Names(names) => Self::Names(names),
            Targets::Pattern(text) => Self::Pattern(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_print_as_they_are_written() {
        assert_eq!(Method::Lora.to_string(), Method::NAMES[0]);
    }
}
