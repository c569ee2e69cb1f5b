//! Which class of Transformers 5 a tokenizer belongs to. `AutoTokenizer` goes by `tokenizer_class` and by `model_type`; some classes
//! take `tokenizer.json` as it was saved, others its vocabulary alone, and make the rest anew from `tokenizer_config.json`.

use serde_json::Value;

use crate::Error;

/// What a class does with `tokenizer.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// `TokenizersBackend`, `PreTrainedTokenizerFast` before: no option changes it.
    AsSaved,
    Bert,
    DebertaV2,
    Gpt2,
    GptNeoX,
    Llama,
    /// One that is not here: taken to do what `tokenizer.json` says.
    Other,
    Qwen2,
    Roberta,
    T5,
    XlmRoberta,
}

/// `TOKENIZER_MAPPING_NAMES` of Transformers for the models that there are here.
fn registered(model_type: &str) -> Option<&'static str> {
    match model_type {
        "bert" | "distilbert" | "electra" => Some("BertTokenizer"),
        "deberta-v2" => Some("DebertaV2Tokenizer"),
        "gpt2" => Some("GPT2Tokenizer"),
        "qwen2" | "qwen3" | "qwen3_moe" => Some("Qwen2Tokenizer"),
        "roberta" => Some("RobertaTokenizer"),
        "mt5" | "t5" => Some("T5Tokenizer"),
        "xlm-roberta" => Some("XLMRobertaTokenizer"),
        "granite" | "mistral" | "olmo2" | "phi3" => Some(BACKEND),
        _ => None,
    }
}

/// `MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS`: what the files of these say is not believed.
const MISLABELLED: [&str; 2] = ["phi3", "qwen2"];

const BACKEND: &str = "TokenizersBackend";

impl Class {
    /// As `AutoTokenizer.from_pretrained` finds it, without `mistral_common`; `saved` reads `tokenizer.json`.
    pub(super) fn of(
        tokenizer: &Value,
        model: &Value,
        saved: impl FnOnce() -> Result<Vec<u8>, Error>,
    ) -> Result<Self, Error> {
        let model_type = model["model_type"].as_str().unwrap_or_default();
        let registered = registered(model_type);
        let declared = tokenizer["tokenizer_class"].as_str().or(model["tokenizer_class"].as_str());
        let Some(declared) = declared.map(|name| name.strip_suffix("Fast").unwrap_or(name)) else {
            return Ok(registered.map_or(Self::AsSaved, Self::named));
        };
        // What the backend itself has saved is whole. `AutoTokenizer` makes Qwen2's of it all the same, which is not how such a
        // checkpoint was trained; `from_pretrained` of the class that is named takes the file as it is.
        if declared == BACKEND {
            return Ok(Self::AsSaved);
        }
        // Llama 3 and its like name this class, whose own vocabularies are SentencePiece's.
        if declared == "LlamaTokenizer" && !MISLABELLED.contains(&model_type) && is_byte_level(&saved()?) {
            return Ok(Self::AsSaved);
        }
        Ok(match registered {
            Some(BACKEND) => Self::AsSaved,
            Some(registered) if MISLABELLED.contains(&model_type) => Self::named(registered),
            _ => Self::named(declared),
        })
    }

    fn named(name: &str) -> Self {
        match name {
            "BertTokenizer"
            | "ConvBertTokenizer"
            | "DistilBertTokenizer"
            | "ElectraTokenizer"
            | "LayoutLMTokenizer"
            | "LxmertTokenizer"
            | "MobileBertTokenizer"
            | "SqueezeBertTokenizer" => Self::Bert,
            "DebertaV2Tokenizer" => Self::DebertaV2,
            "CodeGenTokenizer" | "GPT2Tokenizer" => Self::Gpt2,
            "GPTNeoXTokenizer" => Self::GptNeoX,
            "LlamaTokenizer" | "Phi3Tokenizer" => Self::Llama,
            "Qwen2Tokenizer" => Self::Qwen2,
            "BartTokenizer" | "LEDTokenizer" | "LongformerTokenizer" | "MvpTokenizer" | "RobertaTokenizer" => {
                Self::Roberta
            }
            "T5Tokenizer" => Self::T5,
            "XLMRobertaTokenizer" => Self::XlmRoberta,
            BACKEND | "PreTrainedTokenizer" => Self::AsSaved,
            _ => Self::Other,
        }
    }

    /// The special token that the class takes for a role which the files do not mention.
    pub(super) fn special(self, role: &str) -> Option<&'static str> {
        match (self, role) {
            (Self::Bert | Self::DebertaV2, "unk_token") => Some("[UNK]"),
            (Self::Bert | Self::DebertaV2, "sep_token") | (Self::DebertaV2, "eos_token") => Some("[SEP]"),
            (Self::Bert | Self::DebertaV2, "pad_token") => Some("[PAD]"),
            (Self::Bert | Self::DebertaV2, "cls_token") | (Self::DebertaV2, "bos_token") => Some("[CLS]"),
            (Self::Bert | Self::DebertaV2, "mask_token") => Some("[MASK]"),
            (Self::Gpt2 | Self::GptNeoX, "unk_token" | "bos_token" | "eos_token") => Some("<|endoftext|>"),
            (Self::GptNeoX, "pad_token") => Some("<|padding|>"),
            (Self::Qwen2, "unk_token" | "eos_token" | "pad_token") => Some("<|endoftext|>"),
            (Self::Roberta | Self::XlmRoberta, "bos_token" | "cls_token") => Some("<s>"),
            (Self::Roberta | Self::XlmRoberta, "eos_token" | "sep_token") => Some("</s>"),
            (Self::Roberta | Self::XlmRoberta, "unk_token") => Some("<unk>"),
            (Self::Roberta | Self::XlmRoberta, "pad_token") => Some("<pad>"),
            (Self::Roberta | Self::XlmRoberta, "mask_token") => Some("<mask>"),
            (Self::Llama | Self::T5, "unk_token") => Some("<unk>"),
            (Self::Llama, "bos_token") => Some("<s>"),
            (Self::Llama | Self::T5, "eos_token") => Some("</s>"),
            (Self::T5, "pad_token") => Some("<pad>"),
            _ => None,
        }
    }
}

/// As Transformers looks for it: anywhere in the file.
fn is_byte_level(saved: &[u8]) -> bool {
    saved.windows(BYTE_LEVEL.len()).any(|window| window == BYTE_LEVEL)
}

const BYTE_LEVEL: &[u8] = b"\"ByteLevel\"";
