//! What stands between a backbone and its answers: the hidden states that are read, a few layers, and an output layer. A head is
//! described by data, with the names that its modules have in Transformers; there is one module for all of them.

mod layers;
mod pooling;

pub use layers::VocabularyOutput;
pub(crate) use layers::{HeadConfig, HeadLayer, HeadLayers, Output, OutputNames, Sizes};
pub(crate) use pooling::Pooling;

/// What a model answers with, as Transformers' `AutoModelFor...` classes have it. How many values a classifier answers with is
/// said when its model is loaded: a regression is one value per sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// A vector of values for each sequence: `ForSequenceClassification`.
    SequenceClassification,
    /// A vector of values for each token that is asked about: `ForTokenClassification`.
    TokenClassification,
    /// Which token stood where one was masked: `ForMaskedLM`.
    MaskedLm,
    /// Which token comes next: `ForCausalLM`.
    CausalLm,
}

impl Head {
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::SequenceClassification => "classification head",
            Self::TokenClassification => "token-classification head",
            Self::MaskedLm => "masked-language-model head",
            Self::CausalLm => "language-model head",
        }
    }

    /// What to do where a model lacks it.
    pub(crate) fn where_from(self) -> &'static str {
        match self {
            Self::SequenceClassification | Self::TokenClassification => {
                "give the adapter that was trained on it with --adapter, or fine-tune it first with `kindling train`"
            }
            Self::MaskedLm | Self::CausalLm => {
                "start from a checkpoint that was saved with it, or train one in full with `adapter.method = \"full\"`"
            }
        }
    }

    /// Whether its values are those of classes that a task names, rather than of the tokens of a vocabulary.
    pub(crate) fn has_labels(self) -> bool {
        matches!(self, Self::SequenceClassification | Self::TokenClassification)
    }
}
