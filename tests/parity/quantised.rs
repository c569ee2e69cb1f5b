//! Bases in int8 and nf4: the numbers of Transformers and PEFT with what bitsandbytes' codes stand for, in f32.

use lora::Plan;
use model::{Frozen, Model, Pretrained, Quantisation, Values};

use super::{Case, case, check_gradients, plan_of, running_name};
use crate::device::device;

fn load(
    case: &Case,
    adapter: bool,
    (directory, frozen): (&str, Frozen),
    device: &burn::tensor::Device,
) -> (Model, Plan) {
    let pretrained = Pretrained::open(&super::case(directory).join("model"), case.head).unwrap();
    let plan =
        if adapter { plan_of(&case.directory.join("adapter")) } else { Plan::new(lora::Method::frozen(), None, 0) };
    let (model, loaded) = pretrained.load(plan.unwrap(), case.labels, frozen, Values::Read, device).unwrap();
    (model, loaded.plan)
}

/// The numbers of `quantised/name`, of a model in `directory`, which is the case's own or quantised already.
fn check(name: &str, of: &str, directory: &str, frozen: Frozen, heads: &[&str]) {
    let mut found = Case::open(of);
    let expected = std::fs::read_to_string(case("quantised").join(name).join("expected.json")).unwrap();
    found.expected = serde_json::from_str(&expected).unwrap();
    let base = (directory, frozen);
    found.compare("base", &load(&found, false, base, &device()).0);
    found.compare("adapter", &load(&found, true, base, &device()).0);
    let (model, plan) = load(&found, true, base, &device().autodiff());
    check_gradients(&found, &model, &plan, |name| running_name(name, heads));
}

fn kept_in(quantisation: Quantisation) -> Frozen {
    Frozen::Quantised { quantisation, output: false }
}

#[test]
fn an_encoder_in_int8() {
    check("bert-int8", "bert-cls", "bert-cls", kept_in(Quantisation::Int8), &["classifier"]);
}

#[test]
fn a_decoder_in_nf4() {
    check("llama-nf4", "llama-lm", "llama-lm", kept_in(Quantisation::Nf4), &[]);
}

#[test]
fn weights_of_conv1d_are_quantised_by_the_rows_of_their_transposes() {
    check("gpt2-nf4", "gpt2-lm", "gpt2-lm", kept_in(Quantisation::Nf4), &[]);
}

#[test]
fn a_checkpoint_that_bitsandbytes_saved_in_nf4() {
    check("llama-nf4", "llama-lm", "quantised/llama-nf4", Frozen::AsStored, &[]);
}

#[test]
fn a_checkpoint_that_bitsandbytes_saved_in_int8() {
    check("bert-int8", "bert-cls", "quantised/bert-int8", Frozen::AsStored, &["classifier"]);
}
