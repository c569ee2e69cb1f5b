//! Output layers that are what the checkpoint has, whatever `config.json` says of ties, and embeddings that an adapter brings
//! along: losses that Transformers 5.24 and PEFT 0.21.2 gave for the same tensors.

use lora::peft::{AdapterTensors, PeftConfig};
use lora::{Method, Plan};
use model::{Frozen, Pretrained, Values};

use super::Case;
use crate::device::device;
use crate::project::Project;
use crate::project::tensors::Tensors;

/// The names of word embeddings, output layer and, if that has one, its bias.
struct Names {
    case: &'static str,
    words: &'static str,
    output: &'static str,
    bias: &'static str,
}

const GPT2: Names = Names { case: "gpt2-lm", words: "transformer.wte.weight", output: "lm_head.weight", bias: "" };
const BERT: Names = Names {
    case: "bert-mlm",
    words: "bert.embeddings.word_embeddings.weight",
    output: "cls.predictions.decoder.weight",
    bias: "cls.predictions.decoder.bias",
};
const ROBERTA: Names = Names {
    case: "roberta-mlm",
    words: "roberta.embeddings.word_embeddings.weight",
    output: "lm_head.decoder.weight",
    bias: "lm_head.decoder.bias",
};
const DISTILBERT: Names = Names {
    case: "distilbert-mlm",
    words: "distilbert.embeddings.word_embeddings.weight",
    output: "vocab_projector.weight",
    bias: "vocab_projector.bias",
};
const LLAMA: Names = Names { case: "llama-lm", words: "model.embed_tokens.weight", output: "lm_head.weight", bias: "" };

#[track_caller]
fn close(what: &str, found: f64, expected: f64) {
    println!("{what}: {:.1e}", (found - expected).abs());
    assert!((found - expected).abs() <= 1e-4 + 1e-4 * expected, "{what}: {found} {expected}");
}

/// The loss of a base that was changed.
#[track_caller]
fn base(names: &Names, expected: f64, change: impl FnOnce(&mut Tensors)) {
    let case = Case::open(names.case);
    let project = Project::new().copy(&format!("{}/model", names.case), "base");
    let project = project.tensors("base/model.safetensors", change);
    let pretrained = Pretrained::open(&project.path("base"), case.head).unwrap();
    let plan = Plan::new(Method::frozen(), None, 0).unwrap();
    let (model, loaded) = pretrained.load(plan, 0, Frozen::AsStored, Values::Read, &device()).unwrap();
    assert!(loaded.unused.is_empty(), "{:?}", loaded.unused);
    close(names.case, f64::from(case.loss(&model).into_scalar::<f32>()), expected);
}

/// The loss with the case's adapter, which brings further tensors, changed from those of the base.
#[track_caller]
fn adapted(names: &Names, saved: &[&str], expected: f64, change: impl FnOnce(&mut Tensors, &Tensors)) {
    let case = Case::open(names.case);
    let project = Project::new()
        .copy(&format!("{}/model", names.case), "base")
        .copy(&format!("{}/adapter", names.case), "adapter");
    let of_base = Tensors::read(&project.path("base/model.safetensors"));
    let project = project.tensors("adapter/adapter_model.safetensors", |tensors| change(tensors, &of_base));
    let mut pretrained = Pretrained::open(&project.path("base"), case.head).unwrap();
    let file = project.path("adapter/adapter_config.json");
    let mut config = PeftConfig::from_json(&file, &std::fs::read_to_string(&file).unwrap()).unwrap();
    let Method::Lora(lora) = &mut config.method else { panic!("{:?}", config.method) };
    lora.targets.modules_to_save = saved.iter().map(|name| name.to_string()).collect();
    let tensors = AdapterTensors::read(&project.path("adapter"), &config.method).unwrap();
    pretrained.adopt_vocabulary(&tensors);
    let plan = Plan::new(config.method, Some(tensors), 0).unwrap();
    let (model, _) = pretrained.load(plan, 0, Frozen::AsStored, Values::Read, &device()).unwrap();
    close(names.case, f64::from(case.loss(&model).into_scalar::<f32>()), expected);
}

/// A tensor of the base in the adapter's file, with two rows more and one changed, as a vocabulary that was resized has them.
fn grown(tensors: &mut Tensors, base: &Tensors, from: &str, name: &str, [row, first, second]: [f32; 3]) {
    let name = format!("base_model.model.{name}");
    tensors.take_from(base, from, &name);
    tensors.fill_row(&name, 7, row);
    tensors.add_rows(&name, &[first, second]);
}

#[test]
fn an_output_layer_that_differs_from_the_embeddings_is_used_though_it_is_called_tied() {
    for (names, expected) in [(GPT2, 6.264_518), (BERT, 6.180_51), (ROBERTA, 7.371_54), (DISTILBERT, 6.250_779)] {
        base(&names, expected, |tensors| {
            tensors.copy(names.words, names.output);
            tensors.fill_row(names.output, 7, 0.5);
        });
    }
}

#[test]
fn the_bias_of_the_output_layer_is_used_where_it_differs_from_that_of_its_module() {
    for (names, apart, tied) in [(BERT, 6.172_778, 6.171_223), (ROBERTA, 7.313_802, 7.345_683)] {
        let rows = vocabulary(&names);
        base(&names, tied, |tensors| tensors.zeros(names.bias, &[rows]));
        base(&names, apart, |tensors| {
            tensors.copy(names.words, names.output);
            tensors.fill_row(names.output, 7, 0.5);
            tensors.zeros(names.bias, &[rows]);
        });
    }
}

fn vocabulary(names: &Names) -> usize {
    let case = Case::open(names.case);
    Pretrained::open(&case.directory.join("model"), case.head).unwrap().vocabulary_size().unwrap()
}

#[test]
fn what_is_tied_may_stand_under_either_name_or_both() {
    for names in [GPT2, BERT, ROBERTA, DISTILBERT] {
        let expected = Case::open(names.case).expected["base"]["loss"].as_f64().unwrap();
        base(&names, expected, |tensors| tensors.copy(names.words, names.output));
        base(&names, expected, |tensors| tensors.rename(|name| name.replace(names.words, names.output)));
    }
}

#[test]
fn embeddings_and_output_layer_of_an_adapter_replace_those_of_the_base() {
    let own = [(LLAMA.words, [0.5, 0.1, -0.2]), (LLAMA.output, [0.5, 0.3, 0.4])];
    adapted(&LLAMA, &[], 6.142_246, |tensors, base| {
        for (name, rows) in own {
            grown(tensors, base, name, name, rows);
        }
    });
    // Without new rows, under PEFT's names for embeddings beside an adapter, and one of both alone.
    let same_rows = |names: &[&'static str], ending: &'static str, saved: &[&str], expected: f64| {
        let names = names.to_vec();
        adapted(&LLAMA, saved, expected, move |tensors, base| {
            for name in names {
                let in_file = format!("base_model.model.{}", name.replace(".weight", ending));
                tensors.take_from(base, name, &in_file);
                tensors.fill_row(&in_file, 7, 0.5);
            }
        });
    };
    same_rows(&[LLAMA.words, LLAMA.output], ".weight", &[], 6.134_153);
    same_rows(&[LLAMA.words, LLAMA.output], ".base_layer.weight", &[], 6.134_153);
    same_rows(&[LLAMA.words, LLAMA.output], ".weight", &["embed_tokens", "lm_head"], 6.134_153);
    same_rows(&[LLAMA.words], ".weight", &[], 6.124_709);
    same_rows(&[LLAMA.output], ".weight", &[], 6.134_153);
}

#[test]
fn embeddings_of_an_adapter_are_both_ends_of_a_tied_model() {
    for ends in [&[GPT2.words, GPT2.output][..], &[GPT2.words], &[GPT2.output]] {
        adapted(&GPT2, &[], 6.267_683, |tensors, base| {
            for end in ends {
                grown(tensors, base, GPT2.words, end, [0.5, 0.1, -0.2]);
            }
        });
    }
}

#[test]
fn copies_that_were_trained_apart_untie_a_tied_model() {
    let saved = |saved: &[&str], expected: f64| {
        adapted(&GPT2, saved, expected, |tensors, base| {
            for (module, name, row, value) in [("wte", GPT2.words, 7, 0.5), ("lm_head", GPT2.output, 9, -0.5)] {
                if saved.contains(&module) {
                    let name = format!("base_model.model.{name}");
                    tensors.take_from(base, GPT2.words, &name);
                    tensors.fill_row(&name, row, value);
                }
            }
        });
    };
    saved(&["wte", "lm_head"], 6.271_063);
    saved(&["wte"], 6.261_186);
    saved(&["lm_head"], 6.273_49);
}

#[test]
fn masked_language_models_take_the_bias_of_the_output_layer_from_the_adapter_too() {
    for (names, expected) in [(BERT, 6.152_443), (DISTILBERT, 6.506_078)] {
        let rows = vocabulary(&names) + 2;
        adapted(&names, &[], expected, |tensors, base| {
            for end in [names.words, names.output] {
                grown(tensors, base, names.words, end, [0.5, 0.1, -0.2]);
            }
            tensors.zeros(&format!("base_model.model.{}", names.bias), &[rows]);
        });
    }
}
