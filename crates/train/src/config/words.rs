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

words!(Task {
    SequenceClassification = "sequence-classification",
    MaskedLm = "masked-lm",
    CausalLm = "causal-lm",
});
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
words!(Optimizer { Adamw = "adamw" });
words!(Schedule { Constant = "constant", Linear = "linear", Cosine = "cosine" });
words!(
    /// By what the best adapter is chosen; `auto`: accuracy, ties by loss.
    Best {
        Auto = "auto",
        Accuracy = "accuracy",
        Loss = "loss",
        F1Macro = "f1_macro",
        Matthews = "matthews",
    }
);

/// Keys that mean something to classifiers alone.
const OF_CLASSIFIERS: [&str; 3] = ["model.labels", "data.text_pair", "data.label"];

/// Keys that mean something to causal language models alone.
const OF_CAUSAL_LM: [&str; 8] = [
    "data.prompt",
    "data.completion",
    "data.messages",
    "data.prompt_template",
    "data.completion_template",
    "data.pack",
    "data.loss_on",
    "train.eval_generate",
];

impl Task {
    /// Whether the key `dotted` means something to this task.
    pub(crate) fn has(self, dotted: &str) -> bool {
        let foreign = match self {
            Self::SequenceClassification => dotted == "data.mask_probability" || OF_CAUSAL_LM.contains(&dotted),
            Self::MaskedLm => OF_CLASSIFIERS.contains(&dotted) || OF_CAUSAL_LM.contains(&dotted),
            Self::CausalLm => dotted == "data.mask_probability" || OF_CLASSIFIERS.contains(&dotted),
        };
        !foreign
    }

    pub(crate) fn is_language_model(self) -> bool {
        self != Self::SequenceClassification
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_print_as_they_are_written() {
        assert_eq!(Task::SequenceClassification.to_string(), Task::NAMES[0]);
        assert_eq!(Best::F1Macro.to_string(), "f1_macro");
    }
}
