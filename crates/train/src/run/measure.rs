//! How long a run will take, from a few steps that are really taken and then forgotten.

use std::collections::HashMap;
use std::time::Instant;

use burn::module::Module;
use burn::optim::GradientsAccumulator;
use burn::train::{InferenceStep, TrainStep};

use super::loader::{EvaluationBatches, TrainingBatches};
use super::optimizer::{adamw, average_and_clip};
use super::{Error, load};
use crate::prepare::RunPlan;
use crate::workers::Workers;
use tasks::{TrainableModel, host};

/// Steps that are measured, and those before them, in which memory is taken and files are read for the first time.
const STEPS: usize = 2;
const WARM_UP: usize = 1;
/// A measured step of so many seconds says enough by itself.
const LONG: f64 = 5.0;

/// Batches of the validation data that are measured.
const BATCHES: usize = 4;

/// What was measured, laid over all tokens of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measured {
    /// Of an average step and of one evaluation.
    pub(crate) step_seconds: f64,
    pub(crate) evaluation_seconds: f64,
    /// With the one of the report.
    pub(crate) evaluations: usize,
    pub(crate) seconds: f64,
}

/// Takes a few steps of the run, writes nothing, and forgets what was learnt. The time is that of the steps which are not done.
pub(crate) fn measure(plan: &RunPlan, done: usize) -> Result<Measured, Error> {
    let device = plan.device.clone().autodiff().gradient_checkpointing();
    let (mut model, loaded) = load(plan, HashMap::new(), &device, None)?;
    let (step_seconds, tokens) = steps(plan, &mut model, &loaded.plan);
    // Steps differ in length: what is measured is the time of a token.
    let mean = plan.tokens_of_step();
    let step_seconds = step_seconds * mean / tokens as f64;
    let evaluations = plan.evaluations_after(done);
    let evaluation_seconds = match evaluations {
        0 => 0.0,
        _ => evaluation(plan, &model.valid()) + answers(plan, &model.valid())?,
    };
    let seconds = (plan.steps - done) as f64 * step_seconds + evaluations as f64 * evaluation_seconds;
    Ok(Measured { step_seconds, evaluation_seconds, evaluations, seconds })
}

/// The seconds and the tokens of the measured steps.
fn steps(plan: &RunPlan, model: &mut TrainableModel, adapter_plan: &lora::Plan) -> (f64, usize) {
    let mut optimizer = adamw(&plan.config.train, adapter_plan);
    let batches = TrainingBatches {
        task: plan.task.clone(),
        dataset: plan.train.clone(),
        sampler: plan.sampler.clone(),
        seed: plan.config.seed,
        steps: 1..WARM_UP + STEPS + 1,
    };
    let (mut seconds, mut tokens) = (0.0, 0);
    for step in batches.steps.clone() {
        let started = Instant::now();
        let mut of_step = 0;
        let (mut gradients, mut targets) = (GradientsAccumulator::new(), 0);
        for batch in batches.of_step(step) {
            of_step += batch.batch.tokens();
            let output = TrainStep::step(&*model, batch);
            // Waits until it is computed.
            targets += host(output.item.losses.clone().inner()).len();
            gradients.accumulate(&*model, output.grads);
        }
        let mut gradients = gradients.grads();
        average_and_clip(&*model, &mut gradients, targets as f64, plan.config.train.max_grad_norm);
        *model = rayon::scope(|_| optimizer.step(plan.config.train.learning_rate, model.clone(), gradients));
        if step > WARM_UP {
            seconds += started.elapsed().as_secs_f64();
            tokens += of_step;
            if seconds > LONG {
                break;
            }
        }
    }
    (seconds, tokens)
}

/// The seconds of all validation data, from some of it.
fn evaluation(plan: &RunPlan, model: &TrainableModel) -> f64 {
    let Some(dataset) = plan.valid.clone() else { return 0.0 };
    let batches = EvaluationBatches { task: plan.task.clone(), examples: 0..dataset.len(), dataset: dataset.clone() };
    let (mut seconds, mut tokens) = (0.0, 0);
    for batch in batches.batches().take(BATCHES) {
        tokens += batch.batch.tokens();
        let started = Instant::now();
        host(InferenceStep::step(model, batch).losses);
        seconds += started.elapsed().as_secs_f64();
    }
    let all: usize = dataset.iter().map(|example| example.len()).sum();
    seconds * all as f64 / tokens.max(1) as f64
}

/// The seconds of the answers that `eval_generate` asks for, from one of them.
fn answers(plan: &RunPlan, model: &TrainableModel) -> Result<f64, Error> {
    let Some(questions) = &plan.questions else { return Ok(0.0) };
    let started = Instant::now();
    questions.first().answers(model, &Workers::one())?;
    Ok(started.elapsed().as_secs_f64() * questions.len() as f64)
}
