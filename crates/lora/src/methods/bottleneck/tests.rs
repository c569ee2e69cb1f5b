//! Bottleneck adapters: AdapterHub's files, to the byte, which configurations are read, and what a layer computes.

use std::path::Path;

use burn::tensor::{Device, Distribution, Tolerance};
use kernels::Phase;
use miette::Diagnostic;

use super::*;
use crate::peft::{AdapterTensors, PeftConfig};
use crate::targets::fixtures::names;
use crate::{Plan, files};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/parity");

fn fixture(name: &str) -> String {
    std::fs::read_to_string(Path::new(FIXTURES).join(name)).unwrap()
}

fn read(text: &str) -> Result<PeftConfig, ConfigError> {
    PeftConfig::from_json(Path::new("adapter_config.json"), text)
}

fn settings(config: &PeftConfig) -> &BottleneckConfig {
    match &config.method {
        Method::Adapter(settings) => settings,
        other => panic!("{other:?}"),
    }
}

/// The configuration of a fixture with other keys of the adapter.
fn with(change: impl Fn(&mut Map<String, Value>)) -> String {
    let mut file: Value = serde_json::from_str(&fixture("bert-pfeiffer/adapter/adapter_config.json")).unwrap();
    change(file["config"].as_object_mut().unwrap());
    file.to_string()
}

fn bert<'a>(heads: &'a [String]) -> Base<'a> {
    let (model_type, class) = ("bert", "BertForSequenceClassification");
    Base { model_type, class, width: 48, layers: 2, default_targets: &[], heads }
}

#[test]
fn files_of_adapters_are_written_to_the_byte() {
    for case in ["bert-houlsby", "bert-pfeiffer"] {
        let directory = format!("{case}/adapter");
        let text = fixture(&format!("{directory}/adapter_config.json"));
        let mut config = read(&text).unwrap();
        assert!(config.notes.is_empty(), "{:?}", config.notes);
        let heads = names(&["classifier"]);
        config.method = config.method.resolved(&bert(&heads));
        assert_eq!(config.to_json(false), text, "{case}");

        let tensors = AdapterTensors::read(&Path::new(FIXTURES).join(&directory), &config.method).unwrap();
        let data: Vec<(String, TensorData)> = tensors
            .names()
            .map(|(name, shape)| {
                (name.to_string(), TensorData::new(tensors.values(name).unwrap().to_vec(), shape.to_vec()))
            })
            .collect();
        let labels = names(&["LABEL_0", "LABEL_1", "LABEL_2"]);
        let written = files(&config, &labels, &data, false).unwrap();
        let of = |name: &str| &written.iter().find(|(known, _)| *known == name).unwrap().1;
        assert_eq!(String::from_utf8_lossy(of("head_config.json")), fixture(&format!("{directory}/head_config.json")));
        let names_in = |bytes: &[u8]| {
            let mut names: Vec<String> =
                safetensors::SafeTensors::deserialize(bytes).unwrap().names().into_iter().map(str::to_string).collect();
            names.sort();
            names
        };
        for file in ["adapter.safetensors", "model_head.safetensors"] {
            let theirs = std::fs::read(Path::new(FIXTURES).join(&directory).join(file)).unwrap();
            assert_eq!(names_in(of(file)), names_in(&theirs), "{case}: {file}");
        }
        assert_eq!(config.method.files().len(), written.len());
    }
}

#[test]
fn placement_is_read_from_where_the_adapters_are() {
    let placement = |case: &str| {
        let config = read(&fixture(&format!("{case}/adapter/adapter_config.json"))).unwrap();
        let settings = settings(&config).clone();
        (settings.placement, settings.reduction_factor, settings.non_linearity)
    };
    assert_eq!(placement("bert-houlsby"), (Placement::Houlsby, 16.0, "swish".to_string()));
    assert_eq!(placement("bert-pfeiffer"), (Placement::Pfeiffer, 6.0, "relu".to_string()));
}

#[test]
fn what_would_change_the_result_is_refused_by_its_key() {
    let refused = |key: &str, value: Value| {
        let error = read(&with(|keys| drop(keys.insert(key.to_string(), value.clone())))).unwrap_err();
        (error.to_string(), error.help().map(|help| help.to_string()).unwrap_or_default())
    };
    for (key, value, message, help) in [
        (
            "ln_after",
            json!(true),
            "`ln_after` in adapter_config.json: true is not supported",
            "norms within the adapter",
        ),
        (
            "is_parallel",
            json!(true),
            "`is_parallel` in adapter_config.json: true is not supported",
            "parallel adapters",
        ),
        (
            "leave_out",
            json!([1]),
            "`leave_out` in adapter_config.json: [1] is not supported",
            "an adapter in some layers",
        ),
        ("scaling", json!(4.0), "`scaling` in adapter_config.json: 4.0 is not supported", "only 1.0"),
        (
            "residual_before_ln",
            json!("post_add"),
            "`residual_before_ln` in adapter_config.json: \"post_add\" is not supported",
            "only true",
        ),
        (
            "original_ln_after",
            json!(false),
            "`original_ln_after` in adapter_config.json: false is not supported",
            "only true",
        ),
        (
            "architecture",
            json!("lora"),
            "`architecture` in adapter_config.json: \"lora\" is not supported",
            "bottleneck adapters are read",
        ),
        (
            "phm_layer",
            json!(true),
            "`phm_layer` in adapter_config.json: true is not supported",
            "Compacter is not supported",
        ),
        (
            "reduction_factor",
            json!({ "default": 8 }),
            "`reduction_factor` in adapter_config.json: {\"default\":8} is not supported",
            "one number",
        ),
        (
            "non_linearity",
            json!("leakyrelu"),
            "`non_linearity` in adapter_config.json: \"leakyrelu\" is not an activation function that kindling has",
            "",
        ),
        ("new_key", json!(3), "`new_key` in adapter_config.json: unknown key with the value 3", "it may change"),
    ] {
        let (found, found_help) = refused(key, value);
        assert_eq!(found, message);
        assert!(found_help.starts_with(help), "{key}: {found_help}");
    }
    let (message, help) = refused("mh_adapter", json!(true));
    assert!(message.starts_with("`config` in adapter_config.json: "), "{message}");
    assert_eq!(help, "supported are Houlsby's placement (`double_seq_bn`) and Pfeiffer's (`seq_bn`)");
    let config = read(&with(|keys| drop(keys.insert("dropout".to_string(), json!(0.1))))).unwrap();
    assert_eq!(config.notes, ["`dropout`: adapters here have none"]);
}

#[test]
fn files_of_the_packages_forerunner_name_the_forms_of_gelu_as_it_did() {
    let old = |name: &str| {
        let mut file: Value =
            serde_json::from_str(&with(|keys| drop(keys.insert("non_linearity".into(), json!(name))))).unwrap();
        file.as_object_mut().unwrap().shift_remove("version");
        settings(&read(&file.to_string()).unwrap()).non_linearity.clone()
    };
    assert_eq!((old("gelu"), old("gelu_orig"), old("Swish")), ("gelu_new".into(), "gelu".into(), "swish".into()));
}

#[test]
fn the_bottleneck_is_the_width_over_the_reduction_factor() {
    let of = |factor: f64, settings| {
        BottleneckConfig { reduction_factor: factor, ..BottleneckConfig::default() }.bottleneck(48, settings)
    };
    assert_eq!(of(16.0, Settings::New).unwrap(), 3);
    assert_eq!(of(5.0, Settings::New).unwrap(), 9);
    assert_eq!(of(0.5, Settings::New).unwrap(), 96);
    let error = of(64.0, Settings::New).unwrap_err();
    assert_eq!(error.to_string(), "64 leaves nothing of a width of 48");
    assert_eq!(of(64.0, Settings::Finished).unwrap(), 1, "as `adapters` has it");
}

#[test]
fn other_models_are_refused_by_their_type() {
    let base = Base { model_type: "qwen3", ..bert(&[]) };
    let error = Plan::new(BottleneckConfig::default().resolved(&base), None, 0).unwrap_err();
    assert_eq!(error.to_string(), "bottleneck adapters are not supported on models of type `qwen3`");
}

#[test]
fn an_adapter_has_any_name_in_its_file_and_one_name_here() {
    let config = BottleneckConfig::default();
    let name = "bert.encoder.layer.0.output.adapters.default.adapter_down.0.weight";
    assert_eq!(config.plain_name("bert.encoder.layer.0.output.adapters.my.task.adapter_down.0.weight"), name);
    assert_eq!(config.module_of(name), Some("bert.encoder.layer.0.output"));
    assert_eq!(config.plain_name("classifier.weight"), "classifier.weight");
    let saved =
        config.of_tensors(&[name, "classifier.dense.weight", "classifier.dense.bias", "lm_head.weight"]).unwrap();
    assert_eq!(saved.modules_to_save(), ["classifier.dense"]);
    let of_language_model = config.of_tensors(&[name, "lm_head.weight"]).unwrap();
    assert!(of_language_model.modules_to_save().is_empty());
    assert!(
        of_language_model.files().contains(&"model_head.safetensors"),
        "a frozen output layer stays with the adapter"
    );
    assert!(!config.of_tensors(&[name]).unwrap().files().contains(&"model_head.safetensors"));
}

#[test]
fn a_new_adapter_changes_little_and_reads_what_its_placement_says() {
    let device = Device::flex();
    let random = || Tensor::<2>::random([5, 32], Distribution::Normal(0.0, 1.0), &device);
    let norm = |sum: Tensor<2>| sum * 3.0;
    for placement in [Placement::Houlsby, Placement::Pfeiffer] {
        let config = BottleneckConfig {
            placement,
            reduction_factor: 4.0,
            non_linearity: "tanh".to_string(),
            ..BottleneckConfig::default()
        };
        let mut tensors = TrainedTensors::new(None, 7);
        let site = |sublayer| ResidualSite { path: "a", sublayer, width: 32, settings: Settings::New, device: &device };
        let of_attention = config.residual(site(Sublayer::Attention), &mut tensors).unwrap();
        assert_eq!(of_attention.is_some(), placement == Placement::Houlsby);
        let mut tensors = TrainedTensors::new(None, 7);
        let built = config.residual(site(Sublayer::FeedForward), &mut tensors).unwrap().unwrap();
        let ResidualAdapter::Adapter(layer) = &built.adapter;
        let (output, residual) = (random(), random());
        let found = layer.forward(output.clone(), &residual, &norm, Phase::default());
        let read =
            if placement == Placement::Pfeiffer { (output.clone() + residual.clone()) * 3.0 } else { output.clone() };
        let inner = read.matmul(layer.down.val().transpose()).tanh();
        let expected = output.clone() + inner.matmul(layer.up.val().transpose());
        found.clone().into_data().assert_approx_eq::<f32>(&expected.into_data(), Tolerance::rel_abs(1e-5, 1e-6));
        // Weights start with a deviation of 0.02: the mean over all values, since the largest of them depends on the draw.
        let moved = (found - output).abs().mean().into_scalar::<f32>();
        assert!(moved > 0.0 && moved < 0.05, "{moved}");
    }
}
