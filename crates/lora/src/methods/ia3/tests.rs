//! (IA)3: which modules it scales, at which end, and that merging comes to the same as the forward pass.

use std::collections::HashMap;
use std::sync::Arc;

use burn::tensor::{Device, Distribution, TensorData, Tolerance};
use kernels::{Layout, Offsets};
use miette::Diagnostic;
use proptest::prelude::*;

use super::*;
use crate::targets::fixtures::*;
use crate::update::fixtures::*;
use crate::{Linear, UpdateSize, Weight, spectra, update_sizes};

fn ia3(targets: &[&str], feedforward: &[&str]) -> Ia3Config {
    let feedforward_modules = Some(Names::List(names(feedforward)));
    Ia3Config { targets: list(targets), feedforward_modules, ..Ia3Config::default() }
}

#[test]
fn feed_forward_layers_are_named_by_their_ends_as_in_peft() {
    let config = ia3(&["key", "value", "output.dense"], &["output.dense"]);
    let is = |module: &str| config.is_feedforward(module).expect("a list needs no expression");
    assert!(is("bert.encoder.layer.0.output.dense") && is("bert.encoder.layer.0.attention.output.dense"));
    assert!(is("layer.0.myoutput.dense"), "PEFT's rule is `endswith`, without regard to dots");
    assert!(!is("bert.encoder.layer.0.attention.self.key"));
    let pattern = Ia3Config { feedforward_modules: Some(Names::Pattern(r".*\.\d\.output\.dense".into())), ..config };
    assert_eq!(pattern.is_feedforward("bert.encoder.layer.0.output.dense").ok(), Some(true));
    assert_eq!(pattern.is_feedforward("bert.encoder.layer.0.attention.output.dense").ok(), Some(false));
}

#[test]
fn targets_and_feed_forward_layers_of_an_architecture_are_pefts() {
    let base = Base {
        model_type: "bert",
        class: "BertForSequenceClassification",
        width: 48,
        default_targets: &names(&["query", "value"]),
        heads: &names(&["classifier"]),
        layers: 2,
    };
    let Method::Ia3(resolved) = Ia3Config::default().resolved(&base) else { panic!("(IA)3 stays (IA)3") };
    assert_eq!(resolved.targets.target_modules, Targets::Names(Names::List(names(&["key", "value", "output.dense"]))));
    assert!(
        is(&resolved, "bert.encoder.layer.0.output.dense") && !is(&resolved, "bert.encoder.layer.0.attention.self.key")
    );
    assert_eq!(resolved.targets.modules_to_save, ["classifier"]);
    let unknown = Ia3Config::default().resolved(&Base { model_type: "other", ..base });
    let error = Selector::of(&unknown, Settings::New).expect_err("there is no default");
    assert_eq!(with_key(&error), "`target_modules`: it names no module");
}

#[test]
fn a_feed_forward_layer_that_is_no_target_is_told_with_those_there_are() {
    let idle = ia3(&["key", "value"], &["dense"]).idle(&names(&["a.key", "a.value"])).expect("no expression");
    assert_eq!(with_key(&idle[0]), "`feedforward_modules`: `dense` matches no adapted module");
    assert_eq!(idle[0].help().expect("a remedy").to_string(), "known: key, value");
    assert!(ia3(&["key"], &[]).idle(&names(&["a.key"])).expect("no expression").is_empty());
}

#[test]
fn feed_forward_layers_are_written_by_the_names_of_targets() {
    let written = |config: &Ia3Config, modules: &[(String, Kind)]| {
        let mut selector = Selector::of(&Method::Ia3(Box::new(config.clone())), Settings::New)
            .expect("possible settings")
            .expect("a method with targets");
        for (path, kind) in modules {
            selector.select(path, *kind);
        }
        let Method::Ia3(written) = config.written(&selector) else { panic!("(IA)3 stays (IA)3") };
        (written.targets.target_modules.clone(), written.feedforward_modules.clone())
    };
    let list = |of: &[&str]| Names::List(names(of));
    assert_eq!(
        written(
            &ia3(&["value", "key", "dense"], &["output.dense"]),
            &few(&[
                ("a.key", Kind::Linear),
                ("a.value", Kind::Linear),
                ("a.output.dense", Kind::Linear),
                ("a.dense", Kind::Linear),
            ])
        ),
        (Targets::Names(list(&["a.key", "a.value", "a.output.dense", "a.dense"])), Some(list(&["a.output.dense"]))),
        "`dense` stands for layers of both kinds"
    );
    let all = Ia3Config { targets: config(Targets::AllLinear), ..ia3(&[], &["down_proj"]) };
    let (targets, feedforward) = written(&all, &llama(4));
    assert_eq!(
        targets,
        Targets::Names(list(&["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]))
    );
    assert_eq!(feedforward, Some(list(&["down_proj"])));
}

#[test]
fn outputs_and_inputs_are_scaled_and_merging_comes_to_the_same() {
    let device = Device::flex();
    let random = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let ctx = ForwardContext::new(Arc::new(Layout::new(Offsets::new(&[0, 5]), 0)), None);
    let (x, bias) = (random([5, 4]), random([1, 7]).squeeze_dim::<1>(0));
    for orientation in [Orientation::OutIn, Orientation::InOut] {
        for feedforward in [true, false] {
            let method = ia3(&["dense"], if feedforward { &["dense"] } else { &[] });
            let weight = random(if orientation == Orientation::OutIn { [7, 4] } else { [4, 7] });
            let (path, settings) = ("a.dense", Settings::New);
            let site = Site {
                path,
                d_input: 4,
                d_output: 7,
                base: None,
                is_read: true,
                orientation,
                settings,
                device: &device,
            };
            let built = method.linear(site, &mut TrainedTensors::new(None, 0)).expect("no values").expect("a layer");
            let Adapter::Ia3(started) = built.adapter else { panic!("(IA)3") };
            let shape = if feedforward { [1, 4] } else { [7, 1] };
            assert_eq!(started.values.val().into_data(), Tensor::<2>::ones(shape, &device).into_data());
            let values = random(shape);
            let adapter = Adapter::Ia3(Ia3 { values: Param::from_tensor(values.clone()), ..started });
            let layer = |weight, bias: Tensor<1>, adapters| {
                Linear::new("layer", Weight::frozen(weight), orientation, Some(Weight::frozen(bias)), adapters)
                    .forward(x.clone(), &ctx)
            };
            let adapted = layer(weight.clone(), bias.clone(), vec![adapter]);
            let file = HashMap::from([("a.dense.ia3_l".to_string(), values.into_data())]);
            let merged =
                Tensor::from_data(built.update.merged(weight.into_data(), &file).expect("its vector"), &device);
            let fold = built.update.form.fold_bias(&file);
            assert_eq!((fold.is_some(), built.update.form.changes_bias()), (!feedforward, !feedforward));
            let mut of_bias: Vec<f32> = bias.clone().into_data().iter::<f32>().collect();
            if let Some(fold) = fold {
                fold.apply(0, 1, &mut of_bias);
            }
            let of_bias = Tensor::from_data(of_bias.as_slice(), &device);
            let of_merged = layer(merged, of_bias, Vec::new());
            of_merged.into_data().assert_approx_eq::<f32>(&adapted.into_data(), Tolerance::rel_abs(1e-5, 1e-5));
        }
    }
}

#[test]
fn embeddings_are_refused_by_name() {
    let config = Method::Ia3(Box::new(ia3(&["word_embeddings", "key"], &[])));
    let error = config.selections(&bert(), Settings::New).expect_err("a refusal");
    assert_eq!(
        with_key(&error),
        "`target_modules`: (IA)3 is on linear layers: not on `bert.embeddings.word_embeddings`"
    );
}

#[test]
fn no_embedding_is_suggested() {
    let config = Method::Ia3(Box::new(ia3(&["word_embedding"], &[])));
    assert_eq!(refusal(config, &bert()).1, "known: query, key, value, dense, classifier");
}

fn scaling(of: Side, transposed: bool) -> Update {
    Update::new("m", Scaling { vector: "v".to_string(), of, transposed })
}

proptest! {
    #[test]
    fn scaling_multiplies_what_belongs_to_each_input_or_output(it in drawn()) {
        let (d_output, d_input) = (it.weight.shape()[0], it.weight.shape()[1]);
        for (of, count) in [(Side::Inputs, d_input), (Side::Outputs, d_output)] {
            let factors: Vec<f32> = (0..count).map(|at| 0.5 + at as f32).collect();
            let file = adapter(&[("v", &TensorData::new(factors.clone(), [count, 1]))]);
            let found = folded(&scaling(of, false), &it.weight, &file, it.rows);
            for (at, (found, base)) in found.iter::<f32>().zip(it.weight.iter::<f32>()).enumerate() {
                let factor = factors[if of == Side::Outputs { at / d_input } else { at % d_input }];
                prop_assert_eq!(found, base * factor);
            }
            let lying = folded(&scaling(of, true), &transposed(&it.weight), &file, it.rows);
            assert_near(&transposed(&lying), &found)?;
        }
    }
}

proptest! {
    // Each case writes files.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_expected_by_the_file_alone_is_what_is_multiplied(it in drawn()) {
        for (of, count) in [(Side::Inputs, it.weight.shape()[1]), (Side::Outputs, it.weight.shape()[0])] {
            let factors: Vec<f32> = (0..count).map(|at| 0.5 + at as f32).collect();
            let file = adapter(&[("v", &TensorData::new(factors, [count, 1]))]);
            for (lies_so, weight) in [(false, it.weight.clone()), (true, transposed(&it.weight))] {
                let merged = folded(&scaling(of, lies_so), &weight, &file, it.rows);
                assert_expected(&scaling(of, lies_so), (&weight, &merged), &file, it.rows)?;
            }
        }
    }
}

#[test]
fn a_scaling_without_its_vector_is_none() {
    assert!(scaling(Side::Outputs, false).form.fold(&HashMap::new()).is_none());
}

#[test]
fn the_size_of_a_scaling_is_its_distance_from_one() {
    let tensors = HashMap::from([("v".to_string(), TensorData::new(vec![1.0_f32, 1.5, 0.5, 1.0], [4, 1]))]);
    let updates = [scaling(Side::Outputs, false)];
    let size = UpdateSize { module: "m".to_string(), norm: 0.125_f64.sqrt(), is_relative: true };
    assert_eq!(update_sizes(&tensors, &updates), [size]);
    assert!(spectra(&tensors, &updates).is_empty());
}
