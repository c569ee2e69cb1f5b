//! PEFT's rules, rule by rule.

use super::*;
use crate::targets::fixtures::*;

#[test]
fn a_target_is_selected_by_its_last_segments() {
    let mut selector = selector(&list(&["query"]), Settings::New);
    assert_eq!(selector.select("layer.0.query", Kind::Linear), Selection::Adapted);
    assert_eq!(selector.select("layer.0.key", Kind::Linear), Selection::Untouched);
    assert_eq!(selector.matched(), ["layer.0.query"]);
}

#[test]
fn excluded_modules_are_left_out_first() {
    let mut config = list(&["query", "value"]);
    config.exclude_modules = Some(Names::List(names(&["layer.1.attention.self.query", "value"])));
    config.target_modules = Targets::Names(Names::List(names(&["query"])));
    assert_eq!(adapted(&config, &bert()), ["bert.encoder.layer.0.attention.self.query"]);
    config.exclude_modules = Some(Names::Pattern(r".*layer\.0.*".to_owned()));
    assert_eq!(adapted(&config, &bert()), ["bert.encoder.layer.1.attention.self.query"]);
}

#[test]
fn saved_is_what_ends_in_the_entry_and_all_below() {
    let mut config = list(&["query"]);
    config.modules_to_save = names(&["classifier"]);
    let mut selector = selector(&config, Settings::New);
    for path in ["classifier", "classifier.dense", "pre_classifier", "model.classifier.out_proj"] {
        assert_eq!(selector.select(path, Kind::OutputLinear), Selection::Saved, "{path}");
    }
    for path in ["classifier_norm", "classifiers.dense"] {
        assert_eq!(selector.select(path, Kind::Other), Selection::Untouched, "{path}");
    }
}

#[test]
fn a_saved_module_is_not_adapted() {
    let mut config = list(&["dense", "query"]);
    config.modules_to_save = names(&["pooler", "classifier", "score"]);
    let modules = few(&[("bert.pooler.dense", Kind::Linear), ("bert.query", Kind::Linear), ("a.dense", Kind::Linear)]);
    assert_eq!(adapted(&config, &modules), ["bert.query", "a.dense"]);
}

#[test]
fn all_linear_leaves_the_output_out() {
    let selected = adapted(&config(Targets::AllLinear), &bert());
    assert_eq!(selected.len(), 13);
    assert!(selected.contains(&"bert.pooler.dense".to_owned()));
    assert!(!selected.contains(&"classifier".to_owned()));
}

#[test]
fn all_linear_leaves_saved_modules_out() {
    let mut config = config(Targets::AllLinear);
    config.modules_to_save = names(&["classifier", "score"]);
    let modules = few(&[("q_lin", Kind::Linear), ("pre_classifier", Kind::Linear), ("classifier", Kind::OutputLinear)]);
    let mut selector = selector(&config, Settings::New);
    let selections: Vec<_> = modules.iter().map(|(path, kind)| selector.select(path, *kind)).collect();
    assert_eq!(selections, [Selection::Adapted, Selection::Saved, Selection::Saved]);
    selector.finish().expect("`score` is a standard head");
}

#[test]
fn other_targets_are_written_as_they_are() {
    let written = run(&list(&["value", "query", "value"]), &bert()).names_written();
    assert_eq!(written, Names::List(names(&["query", "value"])));
    let written = run(&pattern(".*query"), &bert()).names_written();
    assert_eq!(written, Names::Pattern(".*query".to_owned()));
}

#[test]
fn what_finds_no_module_is_idle_in_a_finished_adapter() {
    let mut config = list(&["query", "v_proj"]);
    config.exclude_modules = Some(Names::List(names(&["lm_head"])));
    config.modules_to_save = names(&["classifier", "score", "embed_tokens"]);
    config.layers = Some(vec![1, 40]);
    config.layers_pattern = names(&["layer"]);
    let mut selector = selector(&config, Settings::Finished);
    for (path, kind) in bert() {
        selector.select(&path, kind);
    }
    selector.finish().expect("PEFT loads it");
    assert_eq!(selector.matched(), ["bert.encoder.layer.1.attention.self.query"]);
    let idle: Vec<String> = selector.idle().iter().map(with_key).collect();
    assert_eq!(
        idle,
        [
            "`target_modules`: no module is named `v_proj`",
            "`exclude_modules`: no module is named `lm_head`",
            "`modules_to_save`: no module is named `embed_tokens`",
            "`layers`: no target is in a layer 40",
        ]
    );
}

#[test]
fn a_finished_adapter_of_which_nothing_fits_is_refused() {
    let mut selector = selector(&list(&["q_proj"]), Settings::Finished);
    for (path, kind) in bert() {
        selector.select(&path, kind);
    }
    assert_eq!(
        with_key(&selector.finish().expect_err("nothing is adapted")),
        "`target_modules`: no module is named `q_proj`"
    );
}

#[test]
fn a_target_without_effect_is_refused() {
    let mut config = list(&["query", "value"]);
    config.exclude_modules = Some(Names::List(names(&["query"])));
    let (message, _) = refusal(&config, &bert());
    assert_eq!(message, "`target_modules`: no module that `query` stands for is adapted");
    config.layers = Some(vec![0]);
    assert_eq!(refusal(&config, &bert()).0, message);
}

#[test]
fn a_head_is_no_target() {
    let mut config = list(&["query", "classifier"]);
    config.modules_to_save = names(&["classifier", "score"]);
    let help = "it is the classification head, which is always trained in full and saved with the adapter: remove `classifier` \
                from `target_modules`";
    let message = "`target_modules`: no module that `classifier` stands for is adapted";
    assert_eq!(refusal(&config, &bert()), (message.to_owned(), help.to_owned()));
    // One that is saved for another reason may be adapted instead.
    config.modules_to_save = names(&["key"]);
    config.target_modules = Targets::Names(Names::List(names(&["query", "key"])));
    let help = "each is excluded, saved in full (`modules_to_save`) or outside `layers`: remove one or the other";
    assert_eq!(refusal(&config, &bert()).1, help);
}

#[test]
fn no_adapted_module_at_all_is_refused() {
    let mut config = config(Targets::AllLinear);
    config.exclude_modules = Some(Names::Pattern(".*".to_owned()));
    assert_eq!(refusal(&config, &bert()).0, "`target_modules`: the model has no linear layer to adapt");
}

#[test]
fn embeddings_are_adapted_and_norms_refused() {
    let both = adapted(&list(&["layer.0.attention.self.query", "word_embeddings"]), &bert());
    assert_eq!(both, ["bert.embeddings.word_embeddings", "bert.encoder.layer.0.attention.self.query"]);
    let norm = refusal(&pattern(".*(query|LayerNorm)"), &bert()).0;
    let module = "bert.encoder.layer.0.attention.output.LayerNorm";
    assert_eq!(norm, format!("`target_modules`: LoRA is on linear layers and embeddings: not on `{module}`"));
}

#[test]
fn an_output_layer_that_is_named_is_adapted() {
    assert_eq!(adapted(&list(&["lm_head"]), &llama(1)), ["lm_head"]);
}

#[test]
fn a_module_adapted_and_saved_is_refused() {
    let mut config = list(&["pre_classifier"]);
    config.modules_to_save = names(&["classifier"]);
    let modules = few(&[("pre_classifier", Kind::Linear), ("classifier", Kind::OutputLinear)]);
    let (message, help) = refusal(&config, &modules);
    assert_eq!(message, "`pre_classifier` is both a target and saved in full");
    assert!(help.starts_with("`classifier` of `modules_to_save` means"), "{help}");
}
