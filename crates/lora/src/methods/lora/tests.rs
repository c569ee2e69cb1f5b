//! LoRA: its scaling, the patterns of ranks and alphas, and the ranges of its settings.

mod folding;

use indexmap::IndexMap;

use super::*;
use crate::Selection;
use crate::targets::fixtures::*;

fn lora(targets: TargetConfig) -> LoraConfig {
    LoraConfig { r: 4, alpha: 16.0, targets, ..LoraConfig::default() }
}

#[test]
fn the_scaling_is_alpha_over_r_or_over_its_root() {
    let mut config = LoraConfig::default();
    assert_eq!(config.scaling(16, 32.0), 2.0);
    config.use_rslora = true;
    assert_eq!(config.scaling(16, 32.0), 8.0);
}

#[test]
fn the_first_pattern_that_matches_decides_rank_and_alpha() {
    let mut config = lora(list(&["query", "value", "intermediate.dense"]));
    config.rank_pattern = IndexMap::from([(r"layer\.0\.attention\.self\.query".to_owned(), 8)]);
    config.alpha_pattern = IndexMap::from([("intermediate.dense".to_owned(), 32.0), ("^bert.*value".to_owned(), 2.0)]);
    let decided = |path: &str| config.rank_and_alpha(path, Settings::New).expect("no two patterns disagree");
    assert_eq!(decided("bert.encoder.layer.0.attention.self.query"), (8, 16.0));
    assert_eq!(decided("bert.encoder.layer.10.attention.self.query"), (4, 16.0));
    assert_eq!(decided("bert.encoder.layer.0.intermediate.dense"), (4, 32.0));
    assert_eq!(decided("bert.encoder.layer.0.attention.self.value"), (4, 2.0));
    assert_eq!(decided("other.value"), (4, 16.0));
    let adapted = ["layer.0.attention.self.query", "intermediate.dense", "bert.x.value"].map(String::from);
    assert!(config.idle(&adapted).expect("possible patterns").is_empty());
}

#[test]
fn overlapping_patterns_must_agree() {
    let mut config = lora(list(&["query", "value"]));
    let refused = |config: &LoraConfig| {
        let error = Method::from(config).selections(&bert(), Settings::New).map(drop);
        error.map_err(|error| with_key(&error))
    };
    config.rank_pattern = IndexMap::from([("query".to_owned(), 8), ("layer.*".to_owned(), 8)]);
    assert_eq!(refused(&config), Ok(()));
    config.rank_pattern = IndexMap::from([("query".to_owned(), 8), ("layer.*".to_owned(), 2)]);
    assert_eq!(
        refused(&config),
        Err(
            "`rank_pattern`: `query` and `layer.*` both match `bert.encoder.layer.0.attention.self.query` and disagree"
                .to_owned()
        )
    );
    config.rank_pattern = IndexMap::new();
    config.alpha_pattern = IndexMap::from([("query".to_owned(), 8.0), ("layer.*".to_owned(), 2.0)]);
    let message = refused(&config).expect_err("a refusal");
    assert!(message.starts_with("`alpha_pattern`: `query` and `layer.*` both match"), "{message}");
}

#[test]
fn the_first_key_of_a_finished_adapters_file_decides_and_is_written_so_that_it_still_does() {
    let mut config = lora(list(&["query", "value"]));
    // PEFT's rule on these keys in this order; sorted, `layer.*` would come first.
    config.rank_pattern = IndexMap::from([("query".to_owned(), 8), ("layer.*".to_owned(), 2)]);
    let ranks = |config: &LoraConfig, settings| {
        let selections = Method::from(config).selections(&bert(), settings).expect("PEFT loads it");
        assert!(selections.idle.is_empty(), "{:?}", selections.idle);
        let numbers = selections.of_modules.into_iter().filter(|(selection, _)| *selection == Selection::Adapted);
        numbers.map(|(_, numbers)| numbers[0]).collect::<Vec<_>>()
    };
    assert_eq!(ranks(&config, Settings::Finished), [8.0, 2.0, 8.0, 2.0]);
    let adapted = run(&config, &bert()).matched().to_vec();
    let (written, alphas) = config.patterns_written(&adapted).expect("the order matters");
    assert!(alphas.is_empty());
    config.rank_pattern = written;
    config.rank_pattern.sort_keys();
    assert_eq!(ranks(&config, Settings::New), [8.0, 2.0, 8.0, 2.0]);
}

#[test]
fn patterns_that_are_for_no_adapted_module_are_told_with_the_nearest() {
    let mut config = lora(list(&["query"]));
    config.rank_pattern = IndexMap::from([("qeury".to_owned(), 8)]);
    config.alpha_pattern = IndexMap::from([("key".to_owned(), 8.0)]);
    let idle = config.idle(&["bert.encoder.layer.0.attention.self.query".to_owned()]).expect("possible patterns");
    let told: Vec<_> =
        idle.iter().map(|it| (with_key(it), miette::Diagnostic::help(it).unwrap().to_string())).collect();
    assert_eq!(
        told,
        [
            ("`rank_pattern`: `qeury` matches no adapted module", "did you mean `query`?"),
            ("`alpha_pattern`: `key` matches no adapted module", "known: query"),
        ]
        .map(|(message, help)| (message.to_owned(), help.to_owned()))
    );
}

#[test]
fn numbers_out_of_range_are_refused() {
    let refused = |change: fn(&mut LoraConfig)| {
        let mut config = lora(list(&["query"]));
        change(&mut config);
        impossible(&config).0
    };
    assert_eq!(refused(|config| config.r = 0), "`r`: 0 is not a rank (1 or more)");
    assert_eq!(refused(|config| config.alpha = f64::NAN), "`alpha`: NaN is not a finite number");
    assert_eq!(refused(|config| config.dropout = 1.0), "`dropout`: 1 is not a probability below 1");
    assert_eq!(
        refused(|config| config.rank_pattern = IndexMap::from([("a".to_owned(), 0)])),
        "`rank_pattern.\"a\"`: 0 is not a rank (1 or more)"
    );
    assert_eq!(
        refused(|config| config.alpha_pattern = IndexMap::from([("a".to_owned(), f64::INFINITY)])),
        "`alpha_pattern.\"a\"`: inf is not a finite number"
    );
}

#[test]
fn the_parameter_groups_of_lora_plus_are_those_of_peft() {
    let of = |config: &LoraConfig, name: &str, shape: &[usize], of_layer_norm: bool| {
        let parameter = Parameter {
            id: burn::module::ParamId::from(1),
            name: name.to_owned(),
            shape: shape.to_vec(),
            part: crate::Part::Adapter,
        };
        config.parameter_group(&parameter, of_layer_norm)
    };
    let config = LoraConfig { lora_plus_ratio: 16.0, lora_plus_lr_embedding: 1e-5, ..LoraConfig::default() };
    let fast = |decays| ParameterGroup { rate: Rate::Times(16.0), decays };
    let embedding = ParameterGroup { rate: Rate::Of(1e-5), decays: true };
    // Each line has been asked of PEFT 0.21.2.
    for (name, shape, of_layer_norm, expected) in [
        ("bert.layer.0.query.lora_A.weight", &[8, 32][..], false, ParameterGroup::default()),
        ("bert.layer.0.query.lora_B.weight", &[32, 8], false, fast(true)),
        ("bert.embeddings.word_embeddings.lora_embedding_A", &[8, 100], false, embedding),
        ("bert.embeddings.word_embeddings.lora_embedding_B", &[32, 8], false, embedding),
        ("bert.embeddings.word_embeddings.weight", &[100, 32], false, ParameterGroup::default()),
        ("classifier.weight", &[3, 32], false, ParameterGroup::default()),
        ("classifier.bias", &[3], false, fast(false)),
        ("bert.layer.0.query.base_layer.bias", &[32], false, fast(false)),
        ("bert.layer.0.LayerNorm.weight", &[32], true, fast(false)),
        ("model.layers.0.input_layernorm.weight", &[32], false, fast(true)),
    ] {
        assert_eq!(of(&config, name, shape, of_layer_norm), expected, "{name}");
        assert_eq!(of(&LoraConfig::default(), name, shape, of_layer_norm), ParameterGroup::default(), "{name}");
    }
}
