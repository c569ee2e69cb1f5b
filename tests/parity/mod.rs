//! The same numbers as Transformers and PEFT, through the library: token ids, logits, losses and gradient norms of the
//! cases in `tests/fixtures/parity`, within the tolerances of the README there.

mod bottleneck;
mod decoders;
mod dropout;
#[path = "../../crates/kernels/src/every_form.rs"]
mod every_form;
mod half;
mod last_layers;
mod merging;
mod quantised;
mod starts;
mod tied;
mod training;
mod untied;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Int, Tensor, activation::log_softmax};
use data::{Batch, ColumnNames, Columns, Encoded, Example, Labelled, Tokenizer};
use kernels::{Layout, Offsets, Simd};
use lora::peft::{AdapterTensors, PeftConfig};
use lora::{Method, Plan};
use model::{Frozen, Head, Model, Pretrained, Tokens, Values};
use serde_json::Value;

use crate::device::device;

const PROBES: usize = 6;

/// `KINDLING_PARITY_CASES` names a directory of other cases of the same form.
fn case(name: &str) -> PathBuf {
    match std::env::var_os("KINDLING_PARITY_CASES") {
        Some(cases) => Path::new(&cases).join(name),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity").join(name),
    }
}

/// The case with the model and the data of this one.
fn shared(directory: &Path, expected: &Value) -> PathBuf {
    expected["of"].as_str().map_or(directory.to_path_buf(), |of| directory.with_file_name(of))
}

struct Case {
    directory: PathBuf,
    /// With the model and the data: its own, or another case's.
    shared: PathBuf,
    expected: Value,
    head: Head,
    encoded: Vec<Encoded>,
    /// Of each example: the tokens that have a target, for a language model, and the targets.
    rows: Vec<Vec<usize>>,
    targets: Vec<Vec<i32>>,
    labels: usize,
}

impl Case {
    fn open(name: &str) -> Self {
        let directory = case(name);
        let text = std::fs::read_to_string(directory.join("expected.json")).unwrap();
        let expected: Value = serde_json::from_str(&text).unwrap();
        let shared = shared(&directory, &expected);
        let file = shared.join("data.jsonl");
        let records: Vec<_> = data::records(&file).unwrap().take(PROBES).map(Result::unwrap).collect();
        let head = match expected["task"].as_str() {
            Some("masked-lm") => Head::MaskedLm,
            Some("causal-lm") => return Self::of_ids(directory, shared, expected, Head::CausalLm),
            Some("token-classification") => {
                return Self::of_ids(directory, shared, expected, Head::TokenClassification);
            }
            _ => Head::SequenceClassification,
        };
        let labelled = if head == Head::SequenceClassification { Labelled::Yes } else { Labelled::No };
        let columns = Columns::find(&file, &records[0], &ColumnNames::default(), labelled).unwrap();
        let examples: Vec<Example> = records.iter().map(|r| columns.example(&file, r).unwrap()).collect();
        let tokenizer = Tokenizer::from_dir(&shared.join("model")).unwrap();
        let encode = |e: &Example| tokenizer.encode(&e.text, e.text_pair.as_deref(), 64).unwrap();
        let mut case = Self {
            encoded: examples.iter().map(encode).collect(),
            rows: vec![Vec::new(); PROBES],
            targets: Vec::new(),
            labels: expected["labels"].as_u64().unwrap_or(0) as usize,
            directory,
            shared,
            expected,
            head,
        };
        match head {
            Head::SequenceClassification => case.targets = examples.iter().map(|e| vec![label(e)]).collect(),
            Head::MaskedLm => case.mask(tokenizer.mask_token().unwrap()),
            Head::CausalLm | Head::TokenClassification => unreachable!("made by `of_ids`"),
        }
        case
    }

    /// Of a token classifier each token says its target, of a causal language model the token before it.
    fn of_ids(directory: PathBuf, shared: PathBuf, expected: Value, head: Head) -> Self {
        let ids: Vec<Vec<u32>> = serde_json::from_value(expected["input_ids"].clone()).unwrap();
        let targets: Vec<Vec<i32>> = serde_json::from_value(expected["target_ids"].clone()).unwrap();
        let before = usize::from(head == Head::CausalLm);
        let row =
            |targets: &Vec<i32>| (before..targets.len()).filter(|p| targets[*p] >= 0).map(|p| p - before).collect();
        Self {
            directory,
            shared,
            head,
            encoded: ids.into_iter().map(Encoded::from).collect(),
            rows: targets.iter().map(row).collect(),
            targets: targets.into_iter().map(|of| of.into_iter().filter(|target| *target >= 0).collect()).collect(),
            labels: expected["labels"].as_u64().unwrap_or(0) as usize,
            expected,
        }
    }

    /// Every fourth token from the third on, but never the last, as the README of the cases says.
    fn mask(&mut self, mask: u32) {
        for (encoded, rows) in self.encoded.iter_mut().zip(&mut self.rows) {
            *rows = (2..encoded.ids.len() - 1).step_by(4).collect();
            self.targets.push(rows.iter().map(|row| encoded.ids[*row] as i32).collect());
            rows.iter().for_each(|row| encoded.ids[*row] = mask);
        }
    }

    fn load(&self, adapter: Option<&str>, device: &Device) -> (Model, Plan) {
        let pretrained = Pretrained::open(&self.shared.join("model"), self.head).unwrap();
        let plan = match adapter {
            None => Plan::new(Method::frozen(), None, 0),
            Some(adapter) => plan_of(&self.directory.join(adapter)),
        };
        let (model, loaded) =
            pretrained.load(plan.unwrap(), self.labels, Frozen::AsStored, Values::Read, device).unwrap();
        (model, loaded.plan)
    }

    /// Of the classes, of each word's classes, or of a language model's last positions.
    fn logits(&self, model: &Model, range: std::ops::Range<usize>) -> Tensor<2> {
        let batch = Batch::from_encoded(&self.encoded[range.clone()]);
        let rows = match self.head {
            Head::TokenClassification => rows(&batch, &self.rows[range]),
            Head::SequenceClassification | Head::MaskedLm | Head::CausalLm => batch.last_tokens(),
        };
        forward(model, &batch, &rows)
    }

    /// The mean over all targets of all examples as one batch.
    fn loss(&self, model: &Model) -> Tensor<1> {
        let batch = Batch::from_encoded(&self.encoded);
        let logits = forward(model, &batch, &rows(&batch, &self.rows));
        let targets = Tensor::<1, Int>::from_data(self.targets.concat().as_slice(), &logits.device());
        -log_softmax(logits, 1).gather(1, targets.unsqueeze_dim(1)).mean()
    }

    /// Worst differences: logits one by one, logits of one batch, loss.
    fn compare(&self, which: &str, model: &Model) {
        let expected = self.expected[which]["logits"].as_array().unwrap();
        let together = values(self.logits(model, 0..PROBES));
        let (mut worst, mut start) = (0.0_f64, 0);
        for (i, row) in expected.iter().map(numbers).enumerate() {
            let alone = values(self.logits(model, i..i + 1));
            assert_eq!(alone.len(), row.len());
            for (column, expected) in row.iter().enumerate() {
                for found in [alone[column], together[start + column]] {
                    let difference = (found - expected).abs();
                    worst = worst.max(difference);
                    assert!(
                        difference <= 1e-4 + 1e-4 * expected.abs(),
                        "{which} logit {i},{column}: {found} {expected}"
                    );
                }
            }
            start += row.len();
        }
        let loss = f64::from(self.loss(model).into_scalar::<f32>());
        let expected = self.expected[which]["loss"].as_f64().unwrap();
        assert!((loss - expected).abs() <= 1e-4 + 1e-4 * expected, "{which} loss {loss} {expected}");
        println!("{} {which}: logits {worst:.1e}, loss {:.1e}", self.directory.display(), (loss - expected).abs());
    }
}

/// Of an adapter's files.
fn plan_of(directory: &Path) -> Result<Plan, lora::Error> {
    let file = directory.join("adapter_config.json");
    let config = PeftConfig::from_json(&file, &std::fs::read_to_string(&file).unwrap()).unwrap();
    let tensors = AdapterTensors::read(directory, &config.method).unwrap();
    Plan::new(tensors.method().clone(), Some(tensors), 0)
}

/// All numbers of a list, or of a list of lists.
fn numbers(list: &Value) -> Vec<f64> {
    match list {
        Value::Array(list) => list.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

/// The tokens of a batch that these of its sequences are.
fn rows(batch: &Batch, of_sequences: &[Vec<usize>]) -> Vec<usize> {
    let of = |(start, rows): (&usize, &Vec<usize>)| rows.iter().map(|row| start + row).collect::<Vec<_>>();
    batch.offsets.iter().zip(of_sequences).flat_map(of).collect()
}

fn label(example: &Example) -> i32 {
    match example.label {
        Some(data::Label::Index(index)) => index as i32,
        _ => panic!("labels of the cases are integers"),
    }
}

fn forward(model: &Model, batch: &Batch, rows: &[usize]) -> Tensor<2> {
    let layout = Arc::new(Layout::new(Offsets::new(&batch.offsets), 0));
    model.forward(&Tokens::new(&batch.ids, &batch.type_ids, layout, &model.device()), rows, None)
}

fn values(tensor: Tensor<2>) -> Vec<f64> {
    tensor.into_data().try_to_vec::<f32>().unwrap().into_iter().map(f64::from).collect()
}

struct Gradients<'a> {
    of: &'a burn::tensor::Gradients,
    plan: &'a Plan,
    norms: Vec<(String, f64)>,
}

impl ModuleVisitor for Gradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let parameter = self.plan.parameters().iter().find(|p| p.id == param.id).expect("every parameter is recorded");
        let norm = match param.val().grad(self.of) {
            Some(gradient) => f64::from(gradient.powi_scalar(2).sum().sqrt().into_scalar::<f32>()),
            None => panic!("{} has no gradient", parameter.name),
        };
        self.norms.push((parameter.name.clone(), norm));
    }
}

/// PEFT's name of a parameter inside a running model for its name in a file.
fn running_name(name: &str, heads: &[&str]) -> String {
    let name =
        name.replace(".lora_A.weight", ".lora_A.default.weight").replace(".lora_B.weight", ".lora_B.default.weight");
    let name = match (name.contains(".lora_embedding_"), name.ends_with(".lora_magnitude_vector")) {
        (true, _) => format!("{name}.default"),
        (_, true) => format!("{name}.default.weight"),
        _ => name,
    };
    let head = heads.iter().find(|head| name.starts_with(&format!("{head}.")));
    let name = match head {
        Some(head) => name.replacen(head, &format!("{head}.modules_to_save.default"), 1),
        None => name,
    };
    format!("base_model.model.{name}")
}

fn check(name: &str, heads: &[&str]) {
    check_named(name, |name| running_name(name, heads));
}

/// `running` is the reference's name of a parameter inside a running model for its name in a file.
fn check_named(name: &str, running: impl Fn(&str) -> String) {
    let case = Case::open(name);
    let expected: Vec<Vec<u32>> = serde_json::from_value(case.expected["input_ids"].clone()).unwrap();
    let found: Vec<Vec<u32>> = case.encoded.iter().map(|e| e.ids.clone()).collect();
    assert_eq!(found, expected, "token ids");

    let (model, _) = case.load(None, &device());
    case.compare("base", &model);
    let (model, _) = case.load(Some("adapter"), &device());
    case.compare("adapter", &model);

    let (model, plan) = case.load(Some("adapter"), &device().autodiff());
    check_gradients(&case, &model, &plan, running);
}

fn check_gradients(case: &Case, model: &Model, plan: &Plan, running: impl Fn(&str) -> String) {
    assert_eq!(plan.trainable_elements() as u64, case.expected["trainable_parameters"].as_u64().unwrap());
    let Some(expected) = case.expected["adapter"].get("grad_norm") else { return };
    let gradients = case.loss(model).backward();
    let mut found = Gradients { of: &gradients, plan, norms: Vec::new() };
    model.visit(&mut found);
    let expected = expected.as_object().unwrap();
    let largest = expected.values().filter_map(Value::as_f64).fold(0.0, f64::max);
    assert_eq!(found.norms.len(), expected.len(), "as many tensors have a gradient as in PEFT");
    let mut worst = 0.0_f64;
    for (name, norm) in &found.norms {
        let expected = expected[&running(name)].as_f64().unwrap();
        let difference = (norm - expected).abs();
        worst = worst.max(difference / expected.max(1e-6 * largest));
        assert!(difference <= (1e-3 * expected).max(1e-6 * largest), "gradient of {name}: {norm} {expected}");
    }
    println!("{}: gradient norms {worst:.1e} relative", case.directory.display());
}

#[test]
fn an_encoder_and_a_decoder_agree_with_the_reference_with_every_kind_of_vectors() {
    let others: Vec<&str> = Simd::available().into_iter().skip(1).map(Simd::name).collect();
    let cases = ["--exact", "parity::bert_with_lora_on_query_and_value", "parity::decoders::llama"];
    every_form::run_again(Simd::VARIABLE, &others, &cases);
}

#[test]
fn bert_with_lora_on_query_and_value() {
    check("bert-cls", &["classifier"]);
}

#[test]
fn bert_with_pairs_and_all_biases_trained() {
    check("bert-pair-bias-all", &["classifier"]);
}

#[test]
fn bert_with_the_biases_of_adapted_layers_trained_and_the_tanh_gelu() {
    check("bert-bias-lora-only", &["classifier"]);
}

#[test]
fn bert_with_rank_stabilised_lora_and_patterns() {
    check("bert-rslora-pattern", &["classifier"]);
}

#[test]
fn bert_with_dora_patterns_and_rank_stabilised_scales() {
    check("bert-dora", &["classifier"]);
}

#[test]
fn bert_with_some_layers_adapted() {
    check("bert-layers", &["classifier"]);
}

#[test]
fn roberta() {
    check("roberta-cls", &["classifier"]);
}

#[test]
fn distilbert() {
    check("distilbert-cls", &["pre_classifier", "classifier"]);
}

#[test]
fn electra_with_embeddings_narrower_than_its_layers() {
    check("electra-cls", &["classifier"]);
}

#[test]
fn xlm_roberta_with_its_unigram_tokenizer() {
    check("xlm-roberta-cls", &["classifier"]);
}

#[test]
fn deberta_v3_with_log_buckets_and_shared_projections() {
    check("deberta-v3-cls", &["classifier"]);
}

#[test]
fn deberta_v2_with_a_row_for_each_distance_and_projections_of_their_own() {
    check("deberta-v2-cls", &["classifier"]);
}

#[test]
fn modernbert_with_the_mean_of_its_tokens() {
    check("modernbert-cls", &["classifier"]);
}

#[test]
fn modernbert_with_all_its_biases_and_an_older_configuration() {
    check("modernbert-biases", &["classifier"]);
}

#[test]
fn modernbert_as_a_token_classifier() {
    check("modernbert-tokcls", &["classifier"]);
}

#[test]
fn eurobert_with_the_mean_of_its_logits() {
    check("eurobert-late", &["classifier"]);
}

#[test]
fn eurobert_with_the_mean_of_its_tokens() {
    check("eurobert-mean", &["classifier"]);
}

#[test]
fn eurobert_as_a_token_classifier() {
    check("eurobert-tokcls", &["classifier"]);
}

#[test]
fn bert_as_a_masked_language_model() {
    check("bert-mlm", &[]);
}

#[test]
fn roberta_as_a_masked_language_model() {
    check("roberta-mlm", &[]);
}

#[test]
fn distilbert_as_a_masked_language_model() {
    check("distilbert-mlm", &[]);
}

#[test]
fn bert_as_a_token_classifier() {
    check("bert-tokcls", &["classifier"]);
}

#[test]
fn roberta_as_a_token_classifier() {
    check("roberta-tokcls", &["classifier"]);
}

#[test]
fn distilbert_as_a_token_classifier() {
    check("distilbert-tokcls", &["classifier"]);
}

#[test]
fn gpt2_as_a_token_classifier() {
    check("gpt2-tokcls", &["classifier"]);
}

#[test]
fn llama_as_a_token_classifier() {
    check("llama-tokcls", &["score"]);
}

#[test]
fn the_generator_of_electra_as_a_masked_language_model() {
    check("electra-mlm", &[]);
}

#[test]
fn deberta_v2_as_a_masked_language_model() {
    check("deberta-v2-mlm", &[]);
}

#[test]
fn modernbert_as_a_masked_language_model() {
    check("modernbert-mlm", &[]);
}

#[test]
fn eurobert_as_a_masked_language_model() {
    check("eurobert-mlm", &[]);
}
