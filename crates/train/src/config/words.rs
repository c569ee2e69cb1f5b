//! The values of the configuration that are a choice between words, as enums.

use std::fmt;

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
    /// How frozen weights are kept; `auto`: as stored.
    Dtype { Auto = "auto", F32 = "f32", Bf16 = "bf16", F16 = "f16" }
);
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
