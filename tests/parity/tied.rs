//! Full fine-tuning of a model whose output layer is tied to its word embeddings: three steps of AdamW as in Transformers,
//! whose figures are in `full.json` of each case.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::Tensor;
use lora::{Method, Plan};
use model::{Frozen, Pretrained, Values};
use serde_json::Value;

use super::Case;
use crate::device::device;

const STEPS: usize = 3;

/// The gradient's norm, and the value's, of the word embeddings.
struct Embeddings<'a> {
    plan: &'a Plan,
    gradients: Option<&'a burn::tensor::Gradients>,
    gradient: f64,
    value: f64,
    count: usize,
}

impl ModuleVisitor for Embeddings<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = &self.plan.parameters().iter().find(|p| p.id == param.id).expect("every parameter is recorded").name;
        if name.ends_with("word_embeddings.weight") || name.ends_with("tok_embeddings.weight") {
            let norm = |tensor: Tensor<D>| f64::from(tensor.powi_scalar(2).sum().sqrt().into_scalar::<f32>());
            self.count += 1;
            self.value = norm(param.val().inner());
            if let Some(gradients) = self.gradients {
                self.gradient = norm(param.val().grad(gradients).expect("the embeddings have a gradient"));
            }
        }
    }
}

fn check(name: &str) {
    let case = Case::open(name);
    let text = std::fs::read_to_string(case.directory.join("full.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let number = |value: &Value| value.as_f64().unwrap();
    let pretrained = Pretrained::open(&case.directory.join("model"), case.head).unwrap();
    let plan = Plan::new(Method::full(), None, 0).unwrap();
    let device = device().autodiff();
    let (mut model, loaded) = pretrained.load(plan, 0, Frozen::AsStored, Values::Read, &device).unwrap();
    let plan = loaded.plan;
    let mut optimizer = AdamWConfig::new()
        .with_beta_1(number(&expected["betas"][0]) as f32)
        .with_beta_2(number(&expected["betas"][1]) as f32)
        .with_epsilon(number(&expected["eps"]) as f32)
        .with_weight_decay(number(&expected["weight_decay"]) as f32)
        .init();
    let close = |what: &str, found: f64, expected: f64| {
        println!("{name}: {what} {:.1e}", (found - expected).abs());
        assert!((found - expected).abs() <= 1e-4 + 1e-4 * expected, "{what}: {found} {expected}");
    };
    for step in expected["steps"].as_array().unwrap().iter().take(STEPS) {
        let loss = case.loss(&model);
        close("loss", f64::from(loss.clone().into_scalar::<f32>()), number(&step["loss"]));
        let gradients = loss.backward();
        let mut seen = Embeddings { plan: &plan, gradients: Some(&gradients), gradient: 0.0, value: 0.0, count: 0 };
        model.visit(&mut seen);
        assert_eq!(seen.count, 1, "one parameter serves both ends");
        close("gradient", seen.gradient, number(&step["embedding_grad_norm"]));
        let gradients = GradientsParams::from_grads(gradients, &model);
        model = optimizer.step(number(&expected["learning_rate"]), model, gradients);
    }
    let mut seen = Embeddings { plan: &plan, gradients: None, gradient: 0.0, value: 0.0, count: 0 };
    model.visit(&mut seen);
    close("embeddings", seen.value, number(&expected["after"]["embedding_norm"]));
    close("loss after", f64::from(case.loss(&model).into_scalar::<f32>()), number(&expected["after"]["loss"]));
}

#[test]
fn bert_with_tied_embeddings_trains_in_full_as_in_transformers() {
    check("bert-mlm");
}

#[test]
fn roberta_with_tied_embeddings_trains_in_full_as_in_transformers() {
    check("roberta-mlm");
}

#[test]
fn distilbert_with_tied_embeddings_trains_in_full_as_in_transformers() {
    check("distilbert-mlm");
}

#[test]
fn a_generator_of_electra_with_tied_embeddings_trains_in_full_as_in_transformers() {
    check("electra-mlm");
}

#[test]
fn deberta_v2_with_tied_embeddings_trains_in_full_as_in_transformers() {
    check("deberta-v2-mlm");
}

#[test]
fn modernbert_with_tied_embeddings_trains_in_full_as_in_transformers() {
    check("modernbert-mlm");
}
