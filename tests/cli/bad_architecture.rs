//! Models that there are, but not here: architectures, variants of them and heads.

use serde_json::{Value, json};

use super::bad_model::with_config;
use crate::project::Project;

#[test]
fn variants_of_deberta_that_there_are_not_here_are_refused_by_name() {
    for (key, value, message, help) in [
        (
            "conv_kernel_size",
            json!(3),
            "`conv_kernel_size` is 3: the convolution of DeBERTa-v2 is not supported",
            "take a model without one: those of DeBERTa-v3 have none",
        ),
        (
            "relative_attention",
            json!(false),
            "`relative_attention` is not true",
            "models with relative attention are supported, as all that were published have it",
        ),
        (
            "pos_att_type",
            json!("c2p|p2p"),
            "`pos_att_type` has `p2p`, which this version does not support",
            "supported: c2p, p2c",
        ),
        (
            "pooler_hidden_size",
            json!(12),
            "`pooler_hidden_size` is 12, expected 24",
            "other widths than those of the layers are not supported",
        ),
    ] {
        let project = Project::new().copy("deberta-v3-cls/model", "deberta").json("deberta/config.json", key, value);
        let expected = format!("error: deberta/config.json: {message}\nhelp: {help}");
        project.run(&["inspect", "deberta"]).refused(&expected);
    }
}

#[test]
fn a_discriminator_of_electra_has_no_masked_language_model_head() {
    let project = Project::new().copy("electra-cls/model", "electra");
    let project = project.tensors("electra/model.safetensors", |tensors| {
        tensors.remove(|name| name.starts_with("classifier."));
        tensors.zeros("discriminator_predictions.dense.weight", &[24, 24]);
    });
    project.train(&["--set", "model.task=masked-lm", "--set", "model.path=electra"]).refused(
        "error: [DIR]/electra has no trained masked-language-model head (no generator_predictions.dense.weight, \
         generator_predictions.dense.bias, generator_predictions.LayerNorm.weight, \
         generator_predictions.LayerNorm.bias, generator_lm_head.bias)\n\
         help: start from a checkpoint that was saved with it, or train one in full with `adapter.method = \"full\"`",
    );
}

#[test]
fn the_other_masked_language_model_head_of_deberta_is_refused_by_name() {
    let project = Project::new().copy("deberta-v2-mlm/model", "deberta");
    let project = project.json("deberta/config.json", "legacy", json!(false));
    project.train(&["--set", "model.task=masked-lm", "--set", "model.path=deberta"]).refused(
        "error: [DIR]/deberta/config.json: `legacy` is false: the head `lm_predictions` is not supported\n\
         help: set `legacy` to true to train the head `cls.predictions`, which Transformers takes by default",
    );
}

#[test]
fn an_unsupported_model_type_is_named_with_those_there_are() {
    with_config("model_type", json!("xlnet")).refused(
        "error: [DIR]/bert/config.json: `model_type` is `xlnet`, which this version does not support\n\
         help: supported architectures: bert, roberta, xlm-roberta, camembert, distilbert, electra, deberta-v2, modernbert, eurobert, gpt2, llama, mistral, qwen2, qwen3, qwen3_moe, smollm3, phi3, granite, olmo2, \
         gemma2, gemma3_text",
    );
}

#[test]
fn what_modernbert_cannot_be_here_is_refused_by_name() {
    let refused = |key: &str, value: Value, expected: &str| {
        let project = Project::new().copy("modernbert-cls/model", "modernbert");
        let project = project.json("modernbert/config.json", key, value);
        project.run(&["inspect", "modernbert"]).refused(expected);
    };
    refused(
        "classifier_pooling",
        json!("max"),
        "error: modernbert/config.json: `classifier_pooling` is `max`, which this version does not support\n\
         help: supported: cls, mean",
    );
    refused(
        "layer_types",
        json!(["full_attention"]),
        "error: modernbert/config.json: `layer_types` has 1 entries for 4 layers\n\
         help: copy the model's config.json again",
    );
    refused(
        "local_attention",
        json!(0),
        "error: modernbert/config.json: `local_attention` is 0, expected 1 or more\n\
         help: the file is not the config.json of a model: download or copy it again",
    );
}

#[test]
fn a_missing_model_type_is_asked_for() {
    with_config("model_type", Value::Null).refused(
        "error: [DIR]/bert/config.json: `model_type` is missing\n\
         help: it says which architecture the model has; supported: bert, roberta, xlm-roberta, camembert, distilbert, electra, deberta-v2, modernbert, eurobert, gpt2, llama, mistral, qwen2, qwen3, qwen3_moe, smollm3, phi3, granite, olmo2, \
         gemma2, gemma3_text",
    );
}

#[test]
fn regression_is_refused_by_name() {
    with_config("problem_type", json!("regression")).refused(
        "error: [DIR]/bert/config.json: `problem_type` is `regression`\n\
         help: the task is single_label_classification: remove `problem_type` if the labels are classes",
    );
}

#[test]
fn several_labels_a_text_are_refused_by_name() {
    with_config("problem_type", json!("multi_label_classification")).refused(
        "error: [DIR]/bert/config.json: `problem_type` is `multi_label_classification`\n\
         help: the task is single_label_classification: remove `problem_type` if the labels are classes",
    );
}

#[test]
fn a_gemma_that_attends_in_both_directions_is_refused() {
    let project = Project::new().copy("gemma3-lm/model", "gemma");
    let project = project.json("gemma/config.json", "use_bidirectional_attention", json!(true));
    project.run(&["inspect", "gemma"]).refused(
        "error: gemma/config.json: `use_bidirectional_attention` is true\n\
         help: models that attend in both directions, such as EmbeddingGemma, are not supported: choose a Gemma that is a \
         causal language model",
    );
}

#[test]
fn a_head_that_transformers_does_not_have_is_refused() {
    let project = Project::new().copy("granite-lm/model", "granite").file("train.csv", "text,label\na,b\nc,d\n");
    let project = project.file("run.toml", "[model]\npath = \"granite\"\n[data]\ntrain = \"train.csv\"\n");
    project.run(&["train", "run.toml", "--dry-run"]).refused(
        "error: [DIR]/granite/config.json: a model of type `granite` has no classification head\n\
         help: it can have a language-model head: choose another `model.task` or another model",
    );
}
