//! A model with its task, as burn's learner takes it.
//!
//! Logits over a large vocabulary are never held for all targets: what a step takes does not grow with targets times
//! vocabulary. Of a frozen output layer loss and gradient are one operation ([`kernels::linear_cross_entropy`]). Of one that is
//! trained the logits are made for some targets at a time, together with the gradient of what the head reads, and dropped again.

use std::ops::Range;
use std::sync::Arc;

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use burn::train::{InferenceStep, TrainOutput, TrainStep};
use data::{Batch, Targets};
use kernels::{LOGITS_AT_ONCE, Layout, Noise, Offsets, Precision};
use model::{Features, Model, Tokens};

use crate::{StepOutput, Task};

/// More than the operations from a parameter to where it is used: DoRA's lengths go through one.
const DEEPER: usize = 4;

/// The examples of one forward pass, and what their randomness derives from.
#[derive(Debug, Clone)]
pub struct MicroBatch {
    pub batch: Batch,
    /// `None` in evaluation.
    pub noise: Option<Noise>,
    /// The optimiser step it belongs to, from 1; 0 in evaluation.
    pub step: usize,
    /// From 1.
    pub epoch: usize,
    /// Whether the optimiser steps after it.
    pub ends_step: bool,
}

impl MicroBatch {
    pub fn evaluation(batch: Batch) -> Self {
        Self { batch, noise: None, step: 0, epoch: 0, ends_step: false }
    }
}

#[derive(Module, Debug)]
pub struct TrainableModel {
    pub model: Model,
    /// Whether the backward pass computes each layer anew from its input, instead of keeping what it needs of all.
    pub checkpointing: bool,
    /// Of products with frozen weights.
    #[module(skip)]
    pub precision: Precision,
    #[module(skip)]
    pub task: Arc<dyn Task>,
}

impl TrainableModel {
    pub fn new(model: Model, task: Arc<dyn Task>) -> Self {
        Self { model, checkpointing: false, precision: Precision::F32, task }
    }

    /// `[targets, outputs]`, the head's.
    pub fn logits(&self, input: &MicroBatch) -> Tensor<2> {
        self.model.head(self.features(input))
    }

    fn features(&self, input: &MicroBatch) -> Features {
        self.model.features(&self.tokens(input), &input.batch.rows, input.noise, self.precision)
    }

    fn tokens(&self, input: &MicroBatch) -> Tokens {
        tokens(&input.batch, &self.model.device())
    }

    /// The targets in equal parts, of which no more than so many logits are held at once.
    fn parts(&self, targets: usize, logits: usize) -> impl Iterator<Item = Range<usize>> {
        let most = match self.model.output() {
            Some(output) if !output.is_frozen() => (logits / self.model.vocabulary()).max(1),
            // A classifier has few logits, a frozen output layer holds few of them.
            _ => targets.max(1),
        };
        let size = targets.div_ceil(targets.div_ceil(most).max(1)).max(1);
        (0..targets).step_by(size).map(move |start| start..targets.min(start + size))
    }

    /// The loss of each target rather than their mean: micro-batches hold different numbers of targets, and dividing once
    /// per optimiser step is what makes `grad_accumulation` leave the result unchanged. A head over the vocabulary has loss
    /// and outputs made in one; of any other the task makes the loss.
    fn output(&self, features: Features, asked: &Asked<'_>, part: Range<usize>) -> StepOutput {
        let (targets, sequences) = (asked.targets.part(part.clone()), asked.sequences[part].to_vec());
        let Some(output) = self.model.output() else {
            let outputs = self.model.head(features);
            let losses = match asked.is_trained_on {
                true => self.task.training_loss(outputs.clone(), &targets),
                false => self.task.loss(outputs.clone(), &targets),
            };
            return StepOutput { losses, outputs, targets, sequences };
        };
        let (hidden, ctx) = self.model.before_output(features);
        let (losses, margins) = output.cross_entropy(hidden, targets.numbers(), &ctx);
        let outputs = margins.equal_elem(0.0).float().unsqueeze_dim::<2>(1);
        StepOutput { losses, outputs, targets, sequences }
    }

    /// Forward and backward of the head for some targets at a time, then backward of all below it.
    fn step_in_parts(&self, features: &Features, asked: &Asked<'_>, logits: usize) -> TrainOutput<StepOutput> {
        let mut gradients = GradientsAccumulator::new();
        let (item, of_features) = self.backward_of_head(features, asked, logits, &mut gradients);
        self.backward(features.hidden().clone(), of_features, None, &mut gradients);
        TrainOutput { grads: gradients.grads(), item }
    }

    /// Forward without a graph, of which the input of each layer that comes again is kept; then, from the last layer to the lowest that
    /// matters, the layer once more, now with a graph, and its backward pass (Chen et al. 2016, arXiv 1604.06174). Dropout is
    /// the same both times: its bits derive from the step, not from a generator.
    fn step_by_layers(&self, input: &MicroBatch) -> TrainOutput<StepOutput> {
        let (tokens, rows) = (self.tokens(input), &input.batch.rows);
        let layerwise = self.model.layerwise(&tokens, rows, input.noise, self.precision);
        let mut inputs = Vec::with_capacity(layerwise.layers() + 1);
        {
            let untracked = self.model.clone().no_grad();
            let untracked = untracked.layerwise(&tokens, rows, input.noise, self.precision);
            let mut hidden = untracked.embed();
            for layer in 0..layerwise.layers() {
                if layerwise.trains_below(layer + 1) {
                    inputs.push(hidden.clone());
                }
                hidden = untracked.layer(layer, hidden);
            }
            inputs.push(hidden);
        }
        let mut gradients = GradientsAccumulator::new();
        // The input of a layer, tracked if something below it is trained.
        let mut input_of = |layer: usize| {
            let input = inputs.pop().expect("there is an input of each layer to which the backward pass comes");
            if layerwise.trains_below(layer) { input.require_grad() } else { input }
        };
        let mut hidden = input_of(layerwise.layers());
        let features = layerwise.last_layer(above(&hidden));
        let (item, of_output) =
            self.backward_of_head(&features, &Asked::to_train(input), LOGITS_AT_ONCE, &mut gradients);
        let output = features.into_hidden();
        let mut of_input = self.backward(output, of_output, Some(&hidden), &mut gradients);
        for layer in (0..layerwise.layers()).rev() {
            let Some(of_output) = of_input else { break };
            hidden = input_of(layer);
            let output = layerwise.layer(layer, above(&hidden));
            of_input = self.backward(output, of_output, Some(&hidden), &mut gradients);
        }
        if let Some(of_embeddings) = of_input {
            self.backward(layerwise.embed(), of_embeddings, None, &mut gradients);
        }
        TrainOutput { grads: gradients.grads(), item }
    }

    /// Forward and backward of the head, for targets of which no more than so many logits are held at once. What is to be
    /// reported, and the gradient of what the head reads.
    fn backward_of_head(
        &self,
        features: &Features,
        asked: &Asked<'_>,
        logits: usize,
        gradients: &mut GradientsAccumulator<Self>,
    ) -> (StepOutput, Tensor<2>) {
        let (mut outputs, mut of_features) = (Vec::new(), Vec::new());
        for part in self.parts(asked.targets.len(), logits) {
            let rows = rows(features, &part, asked.targets.len());
            let hidden = features.hidden().clone().narrow(0, rows.start, rows.len()).detach().require_grad();
            let output = self.output(features.part(hidden.clone(), rows), asked, part);
            let mut of_part = output.losses.clone().sum().backward();
            of_features.push(hidden.grad_remove(&mut of_part).expect("the loss depends on what the head reads"));
            gradients.accumulate(self, GradientsParams::from_grads(of_part, self));
            outputs.push(without_graph(output));
        }
        (join(asked, outputs), Tensor::cat(of_features, 0))
    }

    /// Backward from `output`, whose gradient is known, to the parameters behind it and to `input`, whose gradient it is
    /// that comes back: `None` where it is not tracked.
    fn backward(
        &self,
        output: Tensor<2>,
        of_output: Tensor<2>,
        input: Option<&Tensor<2>>,
        gradients: &mut GradientsAccumulator<Self>,
    ) -> Option<Tensor<2>> {
        // Where nothing behind the output is trained the product is not tracked, and burn has nothing to go back through.
        let anchor = Tensor::<1>::zeros([1], &output.device()).require_grad();
        let mut below = ((output * of_output).sum() + anchor).backward();
        let of_input = input.and_then(|input| input.grad_remove(&mut below));
        gradients.accumulate(self, GradientsParams::from_grads(below, self));
        of_input
    }
}

/// The input of a layer, deeper in burn's graph than anything that is computed of parameters alone, as it is where the layers below it
/// are in the graph too: burn goes back by depth, and in this order adds up what comes to a tensor that several modules read.
fn above(input: &Tensor<2>) -> Tensor<2> {
    (0..DEEPER).fold(input.clone(), |hidden, _| hidden.reshape(input.dims()))
}

/// A batch as a model on this device reads it.
pub fn tokens(batch: &Batch, device: &Device) -> Tokens {
    let layout = Arc::new(Layout::new(Offsets::new(&batch.offsets), batch.first_row));
    Tokens::new(&batch.ids, &batch.type_ids, layout, device)
}

impl TrainStep for TrainableModel {
    type Input = MicroBatch;
    type Output = StepOutput;

    fn step(&self, input: MicroBatch) -> TrainOutput<StepOutput> {
        // On one of the threads that compute: handing each of a thousand operations over to them takes longer.
        rayon::scope(|_| {
            if self.checkpointing {
                return self.step_by_layers(&input);
            }
            let (features, asked) = (self.features(&input), Asked::to_train(&input));
            let targets = asked.targets.len();
            if self.parts(targets, LOGITS_AT_ONCE).count() > 1 {
                return self.step_in_parts(&features, &asked, LOGITS_AT_ONCE);
            }
            let output = self.output(features, &asked, 0..targets);
            let gradients = output.losses.clone().sum().backward();
            TrainOutput::new(self, gradients, output)
        })
    }
}

impl InferenceStep for TrainableModel {
    type Input = MicroBatch;
    type Output = StepOutput;

    fn step(&self, input: MicroBatch) -> StepOutput {
        // As in training.
        rayon::scope(|_| {
            let (features, asked) = (self.features(&input), Asked::to_evaluate(&input));
            let part = |part: Range<usize>| {
                let rows = rows(&features, &part, asked.targets.len());
                let hidden = features.hidden().clone().narrow(0, rows.start, rows.len());
                self.output(features.part(hidden, rows), &asked, part)
            };
            join(&asked, self.parts(asked.targets.len(), LOGITS_AT_ONCE).map(part).collect())
        })
    }
}

/// The rows that a head reads for a part of the targets: one each, or of a head that takes means itself all there are, for all
/// targets at once.
fn rows(features: &Features, part: &Range<usize>, targets: usize) -> Range<usize> {
    if part.len() == targets { 0..features.hidden().dims()[0] } else { part.clone() }
}

/// What a micro-batch asks of the head.
struct Asked<'a> {
    targets: &'a Targets,
    /// Of each target.
    sequences: Vec<usize>,
    is_trained_on: bool,
}

impl<'a> Asked<'a> {
    fn to_train(input: &'a MicroBatch) -> Self {
        Self { is_trained_on: true, ..Self::to_evaluate(input) }
    }

    fn to_evaluate(input: &'a MicroBatch) -> Self {
        let sequences = input.batch.sequences_of_targets();
        Self { targets: &input.batch.targets, sequences, is_trained_on: false }
    }
}

/// What is kept of a part must not keep its logits alive.
fn without_graph(output: StepOutput) -> StepOutput {
    StepOutput { losses: output.losses.detach(), outputs: output.outputs.detach(), ..output }
}

/// The parts of a batch as one, whose targets these are.
fn join(asked: &Asked<'_>, mut outputs: Vec<StepOutput>) -> StepOutput {
    if outputs.len() == 1 {
        return outputs.remove(0);
    }
    let (losses, outputs): (Vec<_>, Vec<_>) = outputs.into_iter().map(|part| (part.losses, part.outputs)).unzip();
    let (targets, sequences) = (asked.targets.clone(), asked.sequences.clone());
    StepOutput { losses: Tensor::cat(losses, 0), outputs: Tensor::cat(outputs, 0), targets, sequences }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::module::{ModuleVisitor, Param};
    use lora::{Init, LoraConfig, Method, Names, Plan, TargetConfig, Targets};
    use model::{Frozen, Head, Pretrained, Values};

    use super::*;
    use crate::TaskName;

    /// A decoder with LoRA on these modules.
    fn trainable_model(targets: &[&str]) -> TrainableModel {
        trained("llama-lm", Method::Lora(Box::new(lora(targets, None))))
    }

    fn lora(targets: &[&str], layers: Option<Vec<usize>>) -> LoraConfig {
        LoraConfig {
            r: 4,
            alpha: 8.0,
            dropout: 0.2,
            targets: TargetConfig {
                target_modules: Targets::Names(Names::List(targets.iter().map(|name| name.to_string()).collect())),
                layers,
                ..TargetConfig::default()
            },
            init: Init::Gaussian,
            ..LoraConfig::default()
        }
    }

    fn trained(model_name: &str, method: Method) -> TrainableModel {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity");
        let pretrained = Pretrained::open(&fixtures.join(model_name).join("model"), Head::CausalLm).unwrap();
        let plan = Plan::new(method, None, 3).unwrap();
        let device = Device::flex().autodiff().gradient_checkpointing();
        let (model, _) = pretrained.load(plan, 0, Frozen::AsStored, Values::Read, &device).unwrap();
        let directory = fixtures.join(model_name).join("model");
        let tokenizer = data::Tokenizer::from_dir(&directory).unwrap();
        let opening = crate::Opening {
            tokenizer: &tokenizer,
            of_tokenizer: &directory,
            directory: &directory,
            pretrained: &pretrained,
            labels: None,
            settings: &serde_json::Map::new(),
            fitted: &crate::Fitted::default(),
            training: None,
        };
        TrainableModel::new(model, (TaskName::of_head(Head::CausalLm).unwrap().open)(opening).unwrap())
    }

    struct Squares<'a>(&'a GradientsParams, Vec<f64>);

    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let square = self.0.get::<D>(param.id).map(|gradient| gradient.square().sum().into_scalar::<f32>());
            self.1.extend(square.map(f64::from));
        }
    }

    /// The squared norms of all gradients, and the losses.
    fn seen(trainable_model: &TrainableModel, output: &TrainOutput<StepOutput>) -> (Vec<f64>, Vec<f32>) {
        let mut squares = Squares(&output.grads, Vec::new());
        trainable_model.visit(&mut squares);
        (squares.1, output.item.losses.clone().into_data().iter::<f32>().collect())
    }

    /// A micro-batch of one sequence that asks for each next token.
    fn input() -> MicroBatch {
        let ids: Vec<u32> = (0..40).map(|i| 3 + i * 7 % 300).collect();
        let (rows, targets): (Vec<usize>, Vec<usize>) = (0..39).map(|row| (row, ids[row + 1] as usize)).unzip();
        let encoded = data::Encoded::from(ids);
        let batch = Batch { rows, targets: data::Targets::Tokens(targets), ..Batch::from_encoded(&[encoded]) };
        MicroBatch { batch, noise: Some(Noise { seed: 1, step: 1 }), step: 1, epoch: 1, ends_step: true }
    }

    struct Values32<'a>(&'a GradientsParams, Vec<Vec<f32>>);

    impl ModuleVisitor for Values32<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self.0.get::<D>(param.id);
            self.1.extend(gradient.map(|gradient| gradient.into_data().iter::<f32>().collect::<Vec<_>>()));
        }
    }

    #[test]
    fn a_step_by_layers_is_the_step_bit_for_bit_whatever_is_trained() {
        let mut cases = vec![
            ("in full, tied", trained("gpt2-lm", Method::full())),
            ("the last layer alone", trained("llama-lm", Method::Lora(Box::new(lora(&["v_proj"], Some(vec![1])))))),
        ];
        for targets in [&["q_proj", "v_proj"][..], &["embed_tokens"], &["lm_head"], &["lm_head", "down_proj"]] {
            cases.push((targets[0], trainable_model(targets)));
        }
        for (name, trainable_model) in cases {
            let gradients = |output: &TrainOutput<StepOutput>| {
                let mut values = Values32(&output.grads, Vec::new());
                trainable_model.visit(&mut values);
                (values.1, output.item.losses.clone().into_data().iter::<f32>().collect::<Vec<_>>())
            };
            let whole = gradients(&TrainStep::step(&trainable_model, input()));
            assert!(whole.0.iter().flatten().any(|value| *value != 0.0));
            let by_layers = TrainableModel { checkpointing: true, ..trainable_model.clone() };
            assert!(whole == gradients(&TrainStep::step(&by_layers, input())), "{name}");
        }
    }

    #[test]
    fn a_step_in_parts_is_the_step_whatever_is_trained() {
        for targets in [&["lm_head"][..], &["lm_head", "down_proj"]] {
            let trainable_model = trainable_model(targets);
            let input = input();
            let asked = Asked::to_train(&input);
            let targets = asked.targets.len();
            assert_eq!(trainable_model.parts(targets, 5 * trainable_model.model.vocabulary()).count(), 8);
            let whole = TrainStep::step(&trainable_model, input.clone());
            // Five targets at a time.
            let parts = trainable_model.step_in_parts(
                &trainable_model.features(&input),
                &asked,
                5 * trainable_model.model.vocabulary(),
            );
            let ((whole, whole_losses), (parts, parts_losses)) =
                (seen(&trainable_model, &whole), seen(&trainable_model, &parts));
            assert_eq!(whole.len(), parts.len());
            assert!(whole.iter().any(|square| *square > 0.0));
            for (whole, parts) in whole.iter().zip(&parts) {
                assert!((whole - parts).abs() <= 1e-4 * whole.abs() + 1e-9, "{whole} {parts}");
            }
            for (whole, parts) in whole_losses.iter().zip(&parts_losses) {
                assert!((whole - parts).abs() < 1e-5, "{whole} {parts}");
            }
        }
    }
}
