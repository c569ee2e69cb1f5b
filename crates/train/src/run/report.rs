//! `report.html` of a finished run: filled from its metrics and from the adapter as it lies on the disk, which answers the
//! validation examples once more.

use burn::train::InferenceStep;
use data::{Batch, Dataset, Example};
use lora::Plan;
use serde_json::Value;

use super::directory::Directory;
use super::evaluate::{host, largest, rows};
use super::{Error, Summary};
use crate::metrics::Scores;
use crate::output::{bytes, counted, duration, thousands};
use crate::prepare::{Question, RunPlan};
use crate::report::{self, Classification, Evaluation, Finding, Lengths, Prediction, Report, Sample, Step, Update};
use crate::tasks::{Task, Trainee};

const BATCH: usize = 32;

/// Texts whose masks a language model fills on the page.
const SAMPLES: usize = 8;

/// `model` is the result of the run, read back, `adapter` what it was built by then, and `trained` what was trained.
pub(super) fn write(
    plan: &RunPlan,
    model: &Trainee,
    [trained, adapter]: [&Plan; 2],
    written: &[String],
    summary: &Summary,
    directory: &Directory,
) -> Result<(), Error> {
    let (steps, evaluations) = metrics(directory)?;
    let settings = plan.config.to_toml();
    let title = directory.root().file_name().unwrap_or_default().to_string_lossy();
    let valid = plan.valid.as_deref();
    let file = valid.map(Dataset::name).unwrap_or_default();
    let texts = plan.valid_examples();
    let answers = valid.map(|valid| answers(plan, model, valid)).unwrap_or_default();
    let mut shown: Vec<[String; 3]> = answers.samples;
    if let Some(questions) = &plan.questions {
        let sample = |(question, written): (&Question, &String)| {
            [question.prompt.clone(), written.clone(), question.answer.clone()]
        };
        shown.extend(questions.iter().zip(written).map(sample));
    }
    let report = Report {
        title: &title,
        facts: facts(plan, trained, summary),
        steps,
        evaluations,
        best_step: summary.best.map(|(step, _)| step),
        classification: plan.task.labels().filter(|_| valid.is_some()).map(|labels| Classification {
            labels: labels.names(),
            file: &file,
            predictions: predictions(&texts, valid, answers.answered),
        }),
        samples: shown
            .iter()
            .map(|[prompt, written, expected]| Sample { prompt, written, expected: Some(expected) })
            .collect(),
        lengths: Some(Lengths {
            train: lengths(&plan.train),
            valid: valid.map(lengths).unwrap_or_default(),
            max_length: plan.config.data.max_length.unwrap_or_default(),
        }),
        findings: plan.findings.iter().map(finding).collect(),
        updates: updates(plan, model, adapter)?,
        settings: &settings,
    };
    directory.write("report.html", report::html(&report)?.as_bytes())
}

/// The lines of `metrics.jsonl`, those of interrupted processes too.
fn metrics(directory: &Directory) -> Result<(Vec<Step>, Vec<Evaluation>), Error> {
    let path = directory.root().join("metrics.jsonl");
    let text = std::fs::read_to_string(&path)
        .map_err(|source| Error::Restore { path: path.clone(), reason: source.to_string() })?;
    let (mut steps, mut evaluations) = (Vec::new(), Vec::new());
    for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let number = |key: &str| line[key].as_f64().unwrap_or(f64::NAN);
        let count = |key: &str| line[key].as_u64().unwrap_or(0) as usize;
        match line["event"].as_str() {
            Some("step") => steps.push(Step {
                step: count("step"),
                epoch: number("epoch"),
                loss: number("loss"),
                learning_rate: number("learning_rate"),
                grad_norm: number("grad_norm"),
                tokens: count("tokens"),
                seconds: number("step_seconds"),
            }),
            Some("eval") => {
                let Ok(scores) = serde_json::from_value::<Scores>(line.clone()) else { continue };
                let named = scores.named().into_iter().filter(|(name, _)| *name != "loss").collect();
                evaluations.push(Evaluation { step: count("step"), loss: scores.loss(), scores: named });
            }
            _ => {}
        }
    }
    Ok((steps, evaluations))
}

fn facts(plan: &RunPlan, trained: &Plan, summary: &Summary) -> Vec<(String, String)> {
    let (count, of) = (thousands(trained.trainable_elements()), thousands(trained.base_elements()));
    let data = |dataset: &Dataset| format!("{}, {}", counted(dataset.len(), "example", "examples"), dataset.name());
    let mut facts = vec![
        ("task", plan.task.name().to_string()),
        ("base model", format!("{} ({})", plan.base.name, plan.pretrained.class())),
        ("method", plan.method_in_words()),
        ("trained parameters", format!("{count}, on a base of {of}")),
        ("training data", data(&plan.train)),
    ];
    if let Some(valid) = &plan.valid {
        facts.push(("validation data", data(valid)));
    }
    facts.extend([
        ("device", plan.device_name.to_string()),
        ("steps", thousands(summary.steps)),
        ("duration", duration(summary.seconds)),
        ("peak memory", bytes(summary.peak_memory_bytes as usize)),
        ("kindling", env!("CARGO_PKG_VERSION").to_string()),
    ]);
    facts.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

#[derive(Default)]
struct Answers {
    /// Logits and loss of each validation example of a classifier.
    answered: Vec<(Vec<f32>, f64)>,
    /// Of a language model: a text with its masks, what was put in their places, and what stood there.
    samples: Vec<[String; 3]>,
}

fn answers(plan: &RunPlan, model: &Trainee, valid: &Dataset) -> Answers {
    let mut answers = Answers::default();
    let indices: Vec<usize> = match &plan.task {
        Task::SequenceClassification(_) => (0..valid.len()).collect(),
        Task::MaskedLm(_) | Task::CausalLm(_) => (0..valid.len().min(SAMPLES)).collect(),
    };
    for chunk in indices.chunks(BATCH) {
        let input = plan.task.evaluation(Batch::new(valid, chunk, chunk[0]));
        match &plan.task {
            Task::SequenceClassification(_) => {
                let found = InferenceStep::step(model, input);
                let losses = host(found.loss).into_iter().map(f64::from);
                answers.answered.extend(rows(found.output).into_iter().zip(losses));
            }
            Task::MaskedLm(_) => {
                let logits = rows(model.logits(&input));
                answers.samples.extend(filled(plan, &input.batch, &logits));
            }
            Task::CausalLm(_) => {}
        }
    }
    answers
}

fn filled(plan: &RunPlan, batch: &Batch, logits: &[Vec<f32>]) -> Vec<[String; 3]> {
    let of = batch.sequences_of_targets();
    let words = |ids: Vec<u32>| ids.iter().filter_map(|id| plan.tokenizer.token(*id)).collect::<Vec<_>>().join(" ");
    (0..batch.sequences())
        .map(|sequence| {
            let own = || of.iter().enumerate().filter(|(_, of)| **of == sequence).map(|(target, _)| target);
            let shown = &batch.ids[batch.offsets[sequence]..batch.offsets[sequence + 1]];
            [
                plan.tokenizer.decode(shown),
                words(own().map(|target| largest(&logits[target]) as u32).collect()),
                words(own().map(|target| batch.targets[target] as u32).collect()),
            ]
        })
        .collect()
}

fn predictions<'a>(
    examples: &'a [Example],
    valid: Option<&Dataset>,
    answered: Vec<(Vec<f32>, f64)>,
) -> Vec<Prediction<'a>> {
    let targets = valid.into_iter().flat_map(Dataset::iter).map(|encoded| encoded.target().unwrap_or_default());
    let prediction = |((example, target), (logits, loss)): ((&'a Example, usize), (Vec<f32>, f64))| {
        let line = example.line;
        Prediction { line, text: &example.text, text_pair: example.text_pair.as_deref(), target, logits, loss }
    };
    examples.iter().zip(targets).zip(answered).map(prediction).collect()
}

fn lengths(dataset: &Dataset) -> Vec<usize> {
    dataset.iter().map(|example| example.full_length()).collect()
}

fn finding(finding: &data::Finding) -> Finding {
    Finding {
        severity: match finding.severity() {
            data::Severity::Warning => report::Severity::Warning,
            data::Severity::Note => report::Severity::Note,
        },
        message: finding.message(),
        advice: finding.advice().map(str::to_string),
    }
}

/// The norm of each module's update, alone and over that of its weight.
fn updates(plan: &RunPlan, model: &Trainee, adapter: &Plan) -> Result<Vec<Update>, Error> {
    let norms = lora::update_norms(&adapter.tensors(model), adapter.updates());
    let update = |(module, norm): (String, f64)| {
        let weight = plan.pretrained.weight_norm(&module)?;
        Ok(Update { relative: weight.filter(|weight| *weight > 0.0).map(|weight| norm / weight), module, norm })
    };
    norms.into_iter().map(update).collect()
}
