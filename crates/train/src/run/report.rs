//! What a run leaves for its page: `report.json` when it begins and when it ends, and `report.html`, which is made of the
//! run's directory as `kindling report` would make it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use data::{Dataset, Example};
use lora::{Plan, UpdateSize};

use super::before::Untrained;
use super::directory::Directory;
use super::{Error, Summary, evaluate};
use crate::output::{counted, thousands};
use crate::prepare::{Question, RunPlan};
use crate::report::{self, End, Finding, Lengths, Record, Report, Split, Update};
use tasks::metrics::Score;
use tasks::metrics::interval::Interval;
use tasks::{Sample, Section, Sections, TrainableModel, Validation};

use crate::workers::Workers;

/// Texts among which one is sought that is short enough for a command line.
const LOOKED_AT: usize = 100;

/// Writes what is known when a run begins.
pub(super) fn begin(
    plan: &RunPlan,
    trained: &Plan,
    untrained: &Untrained,
    directory: &Directory,
) -> Result<Record, Error> {
    let valid = plan.valid.as_deref();
    let record = Record {
        task: Some(plan.task.definition().id()),
        facts: facts(plan, trained),
        steps: plan.steps,
        valid: valid.map(|valid| Split {
            file: valid.name(),
            examples: valid.len(),
            text: short_text(&plan.valid_examples()),
        }),
        before: untrained.scores.clone(),
        lengths: Some(Lengths {
            train: lengths(&plan.train),
            valid: valid.map(lengths).unwrap_or_default(),
            max_length: plan.config.data.max_length.unwrap_or_default(),
        }),
        findings: plan.findings.iter().map(finding).collect(),
        ..Record::default()
    };
    write_record(&record, directory)?;
    Ok(record)
}

/// What the task shows of the result of a run on the validation data, whose batches are shared among workers.
pub(super) fn sections(plan: &RunPlan, model: &TrainableModel, workers: &Workers) -> Result<Sections, Error> {
    let Some(dataset) = plan.valid.as_deref() else { return Ok(Sections::default()) };
    let failure = RefCell::new(None);
    let outputs = |model: &TrainableModel, batches| {
        let evaluated = evaluate(workers, model, batches).map_err(|error| failure.replace(Some(error)));
        evaluated.ok().map(|evaluated| evaluated.outputs)
    };
    let validation = Validation {
        dataset,
        rows: &|| plan.valid_rows(),
        tokenizer: &plan.tokenizer,
        together: workers.size(),
        outputs: &outputs,
    };
    let sections = plan.task.sections(model, &validation);
    failure.into_inner().map_or(Ok(sections), |failure| Err(failure.into()))
}

/// Completes the record and writes the page. `model` is the result of the run, read back, `adapter` what it was built by
/// then, `sections` what the task shows of it, and `written` what it answers to the plan's questions.
pub(super) fn finish(
    plan: &RunPlan,
    (mut record, sections): (Record, Sections),
    (model, adapter): (&TrainableModel, &Plan),
    [before, written]: [&[String]; 2],
    summary: &Summary,
    directory: &Directory,
) -> Result<(), Error> {
    let key = |(score, interval): (&'static Score, Interval)| (score.key.to_string(), interval);
    record.intervals = sections.intervals.into_iter().map(key).collect();
    record.sections = sections.sections;
    if let Some(questions) = &plan.questions {
        let sample = |(n, (question, written)): (usize, (&Question, &String))| Sample {
            prompt: question.prompt.clone(),
            before: before.get(n).cloned(),
            written: written.clone(),
            expected: question.answer.clone(),
        };
        record.sections.push(Section::Samples(questions.iter().zip(written).enumerate().map(sample).collect()));
    }
    record.updates = updates(plan, model, adapter)?;
    record.end = Some(End {
        seconds: summary.seconds,
        peak_memory_bytes: summary.peak_memory_bytes,
        stopped_early: summary.stopped_early,
        loss_error: summary.loss_error,
    });
    write_record(&record, directory)?;
    let report = Report::read(directory.root())?;
    directory.write("report.html", report::html(&report)?.as_bytes())
}

fn write_record(record: &Record, directory: &Directory) -> Result<(), Error> {
    let text = serde_json::to_vec(record).expect("a record has keys of text alone");
    directory.write("report.json", &text)
}

fn facts(plan: &RunPlan, trained: &Plan) -> Vec<(String, String)> {
    let (count, of) = (thousands(trained.trainable_elements()), thousands(trained.base_elements()));
    // Names without their directories: the settings have the whole paths.
    let name = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let data = |dataset: &Dataset| {
        let files: Vec<String> = dataset.files().iter().map(|file| name(file)).collect();
        format!("{}, {}", counted(dataset.len(), "example", "examples"), files.join(", "))
    };
    let base = Path::new(&plan.base.name);
    let base = if base.is_absolute() { name(base) } else { plan.base.name.clone() };
    let mut facts = vec![
        ("task", plan.task.definition().id().to_string()),
        ("base model", format!("{base} ({}){}", plan.pretrained.class(), kept(plan))),
        ("method", plan.method_in_words()),
        ("trained parameters", format!("{count}, on a base of {of}")),
        ("training data", data(&plan.train)),
    ];
    if let Some(valid) = &plan.valid {
        facts.push(("validation data", data(valid)));
    }
    let legs = plan.config.legs.iter();
    facts.extend(legs.map(|leg| ("further leg", format!("after step {}: {}", leg.after_step, leg.in_words()))));
    facts.extend([("device", plan.device_name.to_string()), ("kindling", env!("CARGO_PKG_VERSION").to_string())]);
    facts.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

/// How the base is kept, where it is quantised.
fn kept(plan: &RunPlan) -> String {
    plan.quantisation().map_or(String::new(), |quantisation| format!(", kept in {}", quantisation.name()))
}

/// A text that a person may type to try the adapter; none of a task on pairs, which a command line does not take.
fn short_text(examples: &[Example]) -> Option<String> {
    let short = |example: &&Example| example.text_pair.is_none() && report::is_short(example.text.trim());
    examples.iter().take(LOOKED_AT).find(short).map(|example| example.text.trim().to_string())
}

fn lengths(dataset: &Dataset) -> Vec<(usize, usize)> {
    let mut lengths = BTreeMap::new();
    for example in dataset.iter() {
        *lengths.entry(example.full_length()).or_default() += 1;
    }
    lengths.into_iter().collect()
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

/// The norm of what each module's update changes of its weight, alone and over that of the weight, as `kindling inspect` has
/// them: by itself a scaling says neither, and without its weight it is left out.
fn updates(plan: &RunPlan, model: &TrainableModel, adapter: &Plan) -> Result<Vec<Update>, Error> {
    let tensors = adapter.tensors(model).into_iter().collect();
    let mut found = Vec::new();
    for UpdateSize { module, norm, is_relative } in lora::update_sizes(&tensors, adapter.updates()) {
        let needs_weight =
            |update: &&lora::Update| update.module == module && (is_relative || update.form.depends_on_weight());
        let of_weight = adapter.updates().iter().find(needs_weight);
        let moved = of_weight.map(|update| plan.pretrained.moved(update, &tensors)).transpose()?.flatten();
        let Some(norm) = moved.or((!is_relative).then_some(norm)) else { continue };
        let weight = plan.pretrained.weight_norm(&module)?.filter(|weight| *weight > 0.0 && weight.is_finite());
        found.push(Update { relative: weight.map(|weight| norm / weight), module, norm });
    }
    Ok(found)
}
