//! What a run will do, before it does it: the few lines that `train` begins with, and the whole of `--dry-run`.

use data::{Batch, Finding, Labels, Place, Severity};
use kernels::Precision;
use serde_json::{Value, json};

use super::Failure;
use crate::estimate::{self, Estimate};
use crate::output::{Output, bytes, counted, duration, thousands};
use crate::prepare::RunPlan;
use crate::run::{Measured, measure};
use tasks::{Classes, Expected, part};

/// The lines a run begins with.
pub(super) fn say(plan: &RunPlan, output: &Output) {
    let (model, class) = (plan.config.model.path.display(), plan.pretrained.class());
    output.say(&format!("{model} ({class}) on {}", plan.device_name));
    let valid = plan.valid.as_ref().map_or("no validation data".to_string(), |valid| {
        counted(valid.len(), "validation example", "validation examples")
    });
    let classes = plan.task.labels().map_or(String::new(), |labels| format!(", {} classes", labels.len()));
    let train = counted(plan.train.len(), "training example", "training examples");
    output.say(&format!("{train}, {valid}{classes}"));
    warn(plan, output);
}

/// What a look at the data shows that people would want to know before they wait.
fn warn(plan: &RunPlan, output: &Output) {
    for finding in plan.findings.iter().filter(|finding| finding.severity() == Severity::Warning) {
        output.warn(&with_advice(finding));
    }
}

pub(super) fn with_advice(finding: &Finding) -> String {
    match finding.advice() {
        Some(advice) => format!("{}; {advice}", finding.message()),
        None => finding.message(),
    }
}

/// What a dry run is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// Steps of the run that are in the checkpoint it goes on from.
    pub(super) done: usize,
    /// Whether some steps are measured.
    pub(super) time: bool,
}

/// The whole plan; `loaded` is what came of reading the headers of the checkpoint.
pub(super) fn print(
    plan: &RunPlan,
    loaded: &model::Loaded,
    Asked { done, time }: Asked,
    output: &Output,
) -> Result<(), Failure> {
    let estimate = estimate::memory(plan, &loaded.plan)?;
    if time {
        output.say("taking a few steps to see how long they are");
    }
    let time = time.then(|| measure(plan, done)).transpose()?;
    let targets: Vec<&str> = loaded.plan.updates().iter().map(|update| update.module.as_str()).collect();
    if output.json() {
        output.result(&serde_json::to_string(&document(plan, loaded, &targets, &estimate, (done, time.as_ref())))?)?;
        return Ok(());
    }
    let mut lines = vec![
        format!(
            "model        {} ({}){}",
            plan.config.model.path.display(),
            plan.pretrained.class(),
            quantised(plan, loaded).map_or(String::new(), |quantised| format!(", {quantised}"))
        ),
        format!(
            "device       {}{}",
            plan.device_name,
            if plan.precision == Precision::Bf16 { ", products in bf16" } else { "" }
        ),
        format!("method       {}", plan.method_in_words()),
        format!(
            "parameters   {} trained of {} ({:.2} %)",
            thousands(loaded.plan.trainable_elements()),
            thousands(total(&loaded.plan)),
            100.0 * loaded.plan.trainable_elements() as f64 / total(&loaded.plan) as f64
        ),
    ];
    if !targets.is_empty() {
        lines.push(format!("targets      {}: {}", counted(targets.len(), "module", "modules"), by_name(&targets)));
    }
    if !loaded.initialised.is_empty() {
        lines.push(format!("new          {} (newly initialised, trained and saved)", loaded.initialised.join(", ")));
    }
    if !loaded.unused.is_empty() {
        lines.push(format!("unused       {}", loaded.unused.join(", ")));
    }
    if let Some(classes) = classes_and_baseline(plan) {
        lines.push(format!("classes      {classes}"));
    }
    lines.push(format!("training     {}", dataset(&plan.train)));
    if plan.train.targets() > 0 {
        let (targets, tokens) = (plan.train.targets(), plan.train.tokens());
        lines.push(format!("loss on      {} of {} tokens", thousands(targets), thousands(tokens)));
    }
    if let Some(valid) = &plan.valid {
        lines.push(format!("validation   {}", dataset(valid)));
    }
    let train = &plan.config.train;
    lines.push(format!(
        "steps        {} ({} an epoch) of {}{}{}",
        thousands(plan.steps),
        thousands(plan.sampler.steps_per_epoch()),
        match (train.batch_size * train.grad_accumulation, plan.config.data.pack) {
            (1, true) => "1 row with several examples".to_string(),
            (rows, true) => format!("{rows} rows, each with several examples"),
            (count, false) => counted(count, "example", "examples"),
        },
        if train.grad_accumulation > 1 {
            format!(" ({} x {})", train.grad_accumulation, train.batch_size)
        } else {
            String::new()
        },
        if done > 0 { format!("; {} are done", thousands(done)) } else { String::new() },
    ));
    lines.push(format!(
        "memory       about {}: base {}, trained tensors {}, activations {}, data {}, the process {}",
        bytes(estimate.total()),
        bytes(estimate.base),
        bytes(estimate.trained),
        bytes(estimate.activations),
        bytes(estimate.data),
        bytes(estimate.process),
    ));
    if let Some(time) = &time {
        lines.push(format!("time         {}", in_words(plan, time, plan.steps - done)));
    }
    if let Some((place, shown)) = example(plan) {
        let place = match plan.train.files() {
            [_] => Place::numbers(&[place]),
            _ => place.to_string(),
        };
        lines.push(below(&format!("example      {place}: {}", as_text(plan, &shown, output))));
        if let Expected::Beside(target, _) = plan.task.expected(&shown, &plan.tokenizer) {
            lines.push(below(&format!("             target {}", output.bold(&cut(&target)))));
        }
    }
    for note in plan.findings.iter().filter(|finding| finding.severity() == Severity::Note) {
        lines.push(format!("note         {}", with_advice(note)));
    }
    for line in lines {
        output.result(&line)?;
    }
    warn(plan, output);
    Ok(())
}

/// What of the base is kept in fewer bits, and in how many bytes.
fn quantised(plan: &RunPlan, loaded: &model::Loaded) -> Option<String> {
    let size = loaded.plan.quantised();
    let name = plan.quantisation()?.name();
    Some(format!("{} of its parameters in {name}, {}", thousands(size.elements), bytes(size.bytes)))
}

fn total(plan: &lora::Plan) -> usize {
    let added = plan.parameters().iter().filter(|p| p.part == lora::Part::Adapter);
    plan.base_elements() + added.map(lora::Parameter::elements).sum::<usize>()
}

/// `query (12), value (12)`: how many modules of each name are adapted.
fn by_name(targets: &[&str]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for target in targets {
        let mut segments = target.rsplitn(3, '.');
        let last = segments.next().unwrap_or(target);
        // `dense` alone says little: the module around it names it.
        let name = match (last, segments.next()) {
            ("dense", Some(parent)) => &target[target.len() - last.len() - parent.len() - 1..],
            _ => last,
        };
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    counts.iter().map(|(name, count)| format!("{name} ({count})")).collect::<Vec<_>>().join(", ")
}

/// The classes with the number of their examples, and what a model must be better than.
pub(super) fn classes_and_baseline(plan: &RunPlan) -> Option<String> {
    let labels = plan.task.labels()?;
    let counts = plan.train.class_counts(labels.len());
    Some(match plan.task.definition().classes {
        Classes::One => format!("{}; {}", classes(labels, &counts), baseline(labels, &counts)),
        Classes::Several | Classes::None => classes(labels, &counts),
    })
}

fn classes(labels: &Labels, counts: &[usize]) -> String {
    let shown =
        labels.names().iter().zip(counts).take(12).map(|(name, count)| format!("{name} ({})", thousands(*count)));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if labels.len() > 12 {
        text.push_str(&format!(", ... {} in all", labels.len()));
    }
    text
}

fn baseline(labels: &Labels, counts: &[usize]) -> String {
    // The first of equals.
    let most = (0..counts.len()).rev().max_by_key(|class| counts[*class]).unwrap_or(0);
    let share = 100.0 * counts[most] as f64 / counts.iter().sum::<usize>().max(1) as f64;
    format!("always `{}` is right for {share:.1} %", labels.names()[most])
}

fn dataset(dataset: &data::Dataset) -> String {
    let lengths = dataset.lengths();
    format!(
        "{}; tokens: median {}, 95 % up to {}, longest {}{}; {} truncated",
        counted(dataset.len(), "example", "examples"),
        lengths.median,
        lengths.p95,
        if lengths.at_least { "more than " } else { "" },
        lengths.longest,
        thousands(dataset.truncated())
    )
}

/// The first training example as the model sees it, and its place.
fn example(plan: &RunPlan) -> Option<(Place, Batch)> {
    if plan.train.is_empty() {
        return None;
    }
    Some((plan.train.place(0), plan.task.evaluation(Batch::new(&plan.train, &[0], 0)).batch))
}

/// The text that the model is shown, special tokens and masks included. What a causal language model is to say is coloured,
/// and where there is no colour it stands in brackets.
fn as_text(plan: &RunPlan, shown: &Batch, output: &Output) -> String {
    let tokenizer = &plan.tokenizer;
    if let Expected::Beside(..) = plan.task.expected(shown, tokenizer) {
        let ids = &shown.ids[..shown.ids.len().min(SHOWN)];
        let rest = if ids.len() < shown.ids.len() { format!(" ... {} tokens", shown.ids.len()) } else { String::new() };
        return tokenizer.decode(ids) + &rest;
    }
    // What a model says at a token is about the one after it.
    let is_target = |index: usize| index > 0 && shown.rows.binary_search(&(index - 1)).is_ok();
    let end = shown.ids.len().min(SHOWN_OF_TEXT);
    let (mut text, mut start) = (String::new(), 0);
    for index in 1..=end {
        if index < end && is_target(index) == is_target(start) {
            continue;
        }
        let part = part(tokenizer, &shown.ids, start..index);
        text += &if is_target(start) { output.marked(&part) } else { part };
        start = index;
    }
    if end < shown.ids.len() {
        text += &format!(" ... {} tokens, {} of them targets", shown.ids.len(), shown.targets.len());
    }
    text
}

/// Tokens of an example, and of a language model's.
const SHOWN: usize = 40;
const SHOWN_OF_TEXT: usize = 160;

/// Lines of a text stand below its first one.
fn below(text: &str) -> String {
    text.replace('\n', "\n             ")
}

fn in_words(plan: &RunPlan, time: &Measured, steps: usize) -> String {
    let Measured { step_seconds, evaluation_seconds, evaluations, seconds } = time;
    let steps = counted(steps, "step", "steps");
    let mut text = format!("about {}: {steps} of {}", duration(*seconds), seconds_of(*step_seconds));
    if *evaluations > 0 {
        let evaluations = counted(*evaluations, "evaluation", "evaluations");
        text += &format!(", {evaluations} of {}", seconds_of(*evaluation_seconds));
    }
    if plan.config.train.early_stopping_patience > 0 {
        text += "; less if it stops early";
    }
    text
}

/// A step may take milliseconds.
fn seconds_of(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", 1000.0 * seconds) } else { duration(seconds) }
}

fn cut(tokens: &[String]) -> String {
    let mut text: Vec<&str> = tokens.iter().take(SHOWN).map(String::as_str).collect();
    let count = format!("... {} tokens", tokens.len());
    if tokens.len() > SHOWN {
        text.push(&count);
    }
    text.join(" ")
}

fn document(
    plan: &RunPlan,
    loaded: &model::Loaded,
    targets: &[&str],
    estimate: &Estimate,
    (done, time): (usize, Option<&Measured>),
) -> Value {
    let split = |dataset: &data::Dataset| {
        let lengths = dataset.lengths();
        json!({
            "examples": dataset.len(), "truncated": dataset.truncated(),
            "tokens": { "median": lengths.median, "p95": lengths.p95, "longest": lengths.longest },
        })
    };
    let example = example(plan).map(|(_, shown)| {
        let line = plan.train.get(0).line();
        let tokens: Vec<_> = shown.ids.iter().map(|id| plan.tokenizer.token(*id)).collect();
        let text = plan.tokenizer.decode(&shown.ids);
        let mut example = json!({ "line": line, "text": text, "token_ids": shown.ids, "tokens": tokens });
        let (key, asked) = plan.task.expected(&shown, &plan.tokenizer).document();
        example[key] = asked;
        example
    });
    json!({
        "model": plan.config.model.path, "class": plan.pretrained.class(), "device": plan.device_name.to_string(),
        "compute": if plan.precision == Precision::Bf16 { "bf16" } else { "f32" },
        "trainable_parameters": loaded.plan.trainable_elements(), "total_parameters": total(&loaded.plan),
        "targets": targets, "new": loaded.initialised, "not_used": loaded.unused, "labels": plan.task.label_names(),
        "class_counts": plan.train.class_counts(plan.task.outputs()),
        "train": split(&plan.train), "valid": plan.valid.as_deref().map(split), "example": example,
        "findings": plan.findings.iter().map(finding).collect::<Vec<_>>(),
        "steps": plan.steps, "steps_done": done, "steps_per_epoch": plan.sampler.steps_per_epoch(),
        "memory_bytes": {
            "total": estimate.total(), "base": estimate.base, "trained": estimate.trained,
            "activations": estimate.activations, "data": estimate.data, "process": estimate.process,
        },
        "time": time.map(|time| json!({
            "seconds": time.seconds, "step_seconds": time.step_seconds, "evaluations": time.evaluations,
            "evaluation_seconds": time.evaluation_seconds,
        })),
    })
}

pub(super) fn finding(finding: &Finding) -> Value {
    let severity = match finding.severity() {
        Severity::Note => "note",
        Severity::Warning => "warning",
    };
    json!({
        "kind": finding.name(), "severity": severity, "count": finding.count, "message": finding.message(),
        "advice": finding.advice(),
    })
}
