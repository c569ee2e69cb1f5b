//! The values of the configuration that are a choice between words, as enums.

use std::fmt;

use burn::tensor::DType;
use model::{Frozen, Quantisation};
use serde::{Deserialize, Serialize};
pub(crate) use tasks::TaskName as Task;
pub(crate) use tasks::metrics::Best;

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
    /// How frozen weights are kept; `auto`: as stored. In int8 and nf4 the matrices of linear layers alone.
    Dtype { Auto = "auto", F32 = "f32", Bf16 = "bf16", F16 = "f16", Int8 = "int8", Nf4 = "nf4" }
);

impl Dtype {
    /// By the word that it is written as.
    pub(crate) fn named(word: &str) -> Option<Self> {
        let all = [Self::Auto, Self::F32, Self::Bf16, Self::F16, Self::Int8, Self::Nf4];
        all.into_iter().find(|dtype| dtype.to_string() == word)
    }

    /// `None` of a float type.
    pub(crate) fn quantisation(self) -> Option<Quantisation> {
        match self {
            Self::Auto | Self::F32 | Self::Bf16 | Self::F16 => None,
            Self::Int8 => Some(Quantisation::Int8),
            Self::Nf4 => Some(Quantisation::Nf4),
        }
    }

    /// How a model keeps what is frozen; `output`: whether that counts for the output layer too, where it is quantised.
    pub(crate) fn frozen(self, output: bool) -> Frozen {
        match self {
            Self::Auto => Frozen::AsStored,
            Self::F32 => Frozen::As(DType::F32),
            Self::Bf16 => Frozen::As(DType::BF16),
            Self::F16 => Frozen::As(DType::F16),
            Self::Int8 => Frozen::Quantised { quantisation: Quantisation::Int8, output },
            Self::Nf4 => Frozen::Quantised { quantisation: Quantisation::Nf4, output },
        }
    }
}

words!(
    /// Of a full checkpoint.
    SaveDtype { F32 = "f32", Bf16 = "bf16", F16 = "f16" }
);
words!(
    /// Which tokens a causal language model learns to say; `completion`: of a text all of them.
    LossOn { Completion = "completion", All = "all" }
);
words!(
    /// Of products with frozen weights; `auto`: f32.
    Compute { Auto = "auto", F32 = "f32", Bf16 = "bf16" }
);
words!(
    /// Of classes: the fewer examples one has, the more each weighs.
    Balance { Balanced = "balanced" }
);
words!(Optimizer { Adamw = "adamw" });
words!(Schedule { Constant = "constant", Linear = "linear", Cosine = "cosine" });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_print_as_they_are_written() {
        assert_eq!(LossOn::All.to_string(), LossOn::NAMES[1]);
    }
}
