//! EuroBERT (Boizard et al. 2025, arXiv 2503.05500): Llama's blocks that attend in both directions. Reference:
//! `EuroBertForSequenceClassification`, `EuroBertForTokenClassification` and `EuroBertForMaskedLM` in Transformers, which has them
//! since version 5; the code that its checkpoints name in `auto_map` for older versions is not needed.

use kernels::Activation;
use serde::Deserialize;

use super::Architecture;
use super::decoder::{Decoder, DecoderConfig};
use super::{Exports, Variant};
use crate::config::{Config, ConfigError};
use crate::head::{Head, HeadConfig, HeadLayer, Output, OutputNames, Pooling};
use crate::loader::Bias;

pub(crate) static ARCHITECTURE: Architecture = Architecture {
    model_types: &["eurobert"],
    prefix: "model.",
    backbone: &["embed_tokens.", "layers.", "norm."],
    word_embeddings: "embed_tokens",
    ties_by_default: false,
    // PEFT has none: those of Llama.
    default_targets: &["q_proj", "v_proj"],
    constants: &["rotary_emb.inv_freq"],
    check: |config| read(config).map(|_| ()),
    max_positions: |config| Ok(DecoderConfig::read(config)?.1.max_position_embeddings),
    activations: |config| Ok(read(config)?.0.activations()),
    load: |loader, config| Decoder::load(loader, &read(config)?.0),
    exports: Exports::NONE,
    variants: &[
        Variant {
            head: Head::SequenceClassification,
            class: "EuroBertForSequenceClassification",
            describe: |config| {
                let (described, pooling) = read(config)?;
                let mut layers = vec![HeadLayer::dense("dense", described.hidden, Activation::Gelu)];
                if pooling == Pooling::Late {
                    // The mean of logits is what the output layer makes of the mean.
                    layers.push(HeadLayer::Mean);
                }
                Ok(HeadConfig::new(pooling, layers))
            },
            output: Output::Values { module: "classifier", bias: Bias::Yes },
            modules: &["classifier"],
            pooler: "dense",
            ignored_keys: &["lm_head.*"],
        },
        Variant {
            head: Head::TokenClassification,
            class: "EuroBertForTokenClassification",
            describe: |_| Ok(HeadConfig::new(Pooling::Rows, Vec::new())),
            output: Output::Values { module: "classifier", bias: Bias::Yes },
            modules: &["classifier"],
            pooler: "",
            ignored_keys: &["lm_head.*", "dense.*"],
        },
        Variant {
            head: Head::MaskedLm,
            class: "EuroBertForMaskedLM",
            describe: |config| {
                if config.flag("mlp_bias") {
                    let help = "the output layer would have a bias too, which this version does not support: \
                                the models that are published have none";
                    return Err(config.wrong("`mlp_bias` is true".to_string(), help));
                }
                Ok(HeadConfig::new(Pooling::Rows, Vec::new()))
            },
            output: Output::Vocabulary(OutputNames { module: "lm_head", bias_of: None }),
            modules: &["lm_head"],
            pooler: "",
            ignored_keys: &["classifier.*", "dense.*"],
        },
    ],
};

#[derive(Deserialize)]
struct EuroBertKeys {
    rms_norm_eps: Option<f64>,
    classifier_pooling: Option<String>,
    /// The same in the files of the code that came with the checkpoints.
    clf_pooling: Option<String>,
}

fn read(config: &Config) -> Result<(DecoderConfig, Pooling), ConfigError> {
    let (mut described, _) = DecoderConfig::read(config)?;
    let own: EuroBertKeys = config.parse()?;
    described.bidirectional = true;
    described.norm.epsilon = own.rms_norm_eps.unwrap_or(1e-5);
    let attention_bias = config.flag("attention_bias");
    (described.query_key_bias, described.output_bias) = (attention_bias, attention_bias);
    described.feed_forward_bias = config.flag("mlp_bias");
    let pooling = match own.classifier_pooling.or(own.clf_pooling).as_deref() {
        None | Some("late") => Pooling::Late,
        Some("mean") => Pooling::Mean,
        Some("bos") => Pooling::First,
        Some(other) => {
            let message = format!("`classifier_pooling` is `{other}`, which this version does not support");
            return Err(config.wrong(message, "supported: late, mean, bos"));
        }
    };
    Ok((described, pooling))
}
