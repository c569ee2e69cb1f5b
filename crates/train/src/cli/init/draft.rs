//! The configuration before its numbers are chosen, taken through all that a run checks: what a run would refuse is
//! refused here, and the numbers are chosen from what it read.

use std::path::PathBuf;

use data::{Example, Finding, FindingKind, Label, Labels, Severity};
use model::Pretrained;
use tasks::Use;

use super::{Base, Look, Target, choose};
use crate::cli::{Failure, plan};
use crate::config::{self, Config, Loaded};
use crate::output::Output;
use crate::prepare::RunPlan;
use crate::workers::Workers;

/// Of the training data, where there is no file of its own.
const VALID_FRACTION: f64 = 0.1;

pub(super) struct Draft {
    /// Of the run, with the longest texts that the model takes.
    pub(super) plan: RunPlan,
    /// The validation file beside the data, where it can be used.
    pub(super) valid: Option<PathBuf>,
    /// The names of the classes, where a run would not find them, or not these.
    pub(super) labels: Option<Vec<String>>,
}

impl Draft {
    pub(super) fn new(look: &Look<'_>, base: &Base, output: &Output) -> Result<Self, Failure> {
        let labels = labels(look, base)?;
        let mut config = Config::default();
        config.model.path.clone_from(&base.directory);
        config.model.task = look.task;
        config.model.labels.clone_from(&labels);
        config.data.train = config::absolute(&look.file)?.into();
        config.data.columns.clone_from(&look.columns);
        // Nothing is computed.
        config.train.device = "cpu".to_owned();

        if let Some(valid) = &look.valid {
            let with_valid = config::DataConfig { valid: Some(config::absolute(valid)?.into()), ..config.data.clone() };
            match checked(Config { data: with_valid, ..config.clone() }, output) {
                Ok(plan) => {
                    output.say(&format!("validation   {}: found next to the data", valid.display()));
                    return Ok(Self { plan, valid: Some(valid.clone()), labels });
                }
                // Whose fault it is shows without the file.
                Err(failure) => {
                    config.data.valid_fraction = VALID_FRACTION;
                    let plan = checked(config, output)?;
                    let reason = failure.error.map_or_else(String::new, |error| format!(": {error}"));
                    output.warn(&format!("{} is not used for validation{reason}", valid.display()));
                    return Ok(Self { plan, valid: None, labels });
                }
            }
        }
        config.data.valid_fraction = VALID_FRACTION;
        let mut decided = checked(config.clone(), output)?;
        if decided.valid.as_ref().is_some_and(|valid| valid.is_empty()) {
            config.data.valid_fraction = 0.0;
            decided = checked(config, output)?;
        }
        Ok(Self { plan: decided, valid: None, labels })
    }

    /// The classes, and what to know about the data before one trains on it.
    pub(super) fn say(&self, look: &Look<'_>, base: &Base, target: &Target, output: &Output) {
        if let Some(classes) = plan::classes_and_baseline(&self.plan) {
            output.say(&format!("classes      {classes}"));
        }
        for finding in self.findings() {
            let line = target.shortened(&plan::with_advice(finding));
            match (finding.severity(), &finding.kind) {
                (_, FindingKind::UnknownTokens { .. } | FindingKind::ManyTokens { .. }) => {
                    output.warn(&line);
                    if let Some(instead) = choose::instead(look, base) {
                        output.say(&format!("             {instead}"));
                    }
                }
                (Severity::Warning, _) => output.warn(&line),
                (Severity::Note, FindingKind::Imbalanced { .. } | FindingKind::Small { .. }) => {
                    output.say(&format!("note         {line}"));
                }
                (Severity::Note, _) => {}
            }
        }
    }

    /// Accuracy says little of classes that differ much in size.
    pub(super) fn is_imbalanced(&self) -> bool {
        self.plan.findings.iter().any(|finding| matches!(finding.kind, FindingKind::Imbalanced { .. }))
    }

    /// What the look at the data showed, but for truncation: the length is chosen so that there is little.
    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.plan.findings.iter().filter(|finding| !matches!(finding.kind, FindingKind::Truncated { .. }))
    }
}

fn checked(config: Config, output: &Output) -> Result<RunPlan, Failure> {
    let loaded = Loaded::draft(config);
    let plan = RunPlan::new(&loaded, None, &Workers::one(), output)?;
    plan.shapes().map_err(|error| error.placed(&loaded))?;
    Ok(plan)
}

/// Names for the classes where a run without `model.labels` would refuse the data: integers that do not count from 0,
/// and a model whose own classes are others.
fn labels(look: &Look<'_>, base: &Base) -> Result<Option<Vec<String>>, Failure> {
    if look.task.usage != Use::Predict {
        return Ok(None);
    }
    let values: Vec<&str> = look.labels().collect();
    let own = Pretrained::open(&base.directory, look.task.head)?.labels()?;
    let own_fit =
        own.clone().and_then(|own| Labels::new(own).ok()).map(|own| values.iter().all(|it| fits(&own, it, look)));
    Ok(match own_fit {
        Some(true) => None,
        Some(false) => Some(names(&values)),
        None => needs_names(&values).then(|| names(&values)),
    })
}

fn fits(labels: &Labels, value: &str, look: &Look<'_>) -> bool {
    let label = Some(Label::Text(value.to_owned()));
    labels.index(&look.file, &Example { line: 0, text: String::new(), text_pair: None, label }).is_ok()
}

/// Also of those that pandas wrote with a point.
fn integers(values: &[&str]) -> Option<Vec<i64>> {
    let integer = |value: &&str| value.strip_suffix(".0").unwrap_or(value).parse().ok();
    let mut integers: Vec<i64> = values.iter().map(integer).collect::<Option<_>>()?;
    integers.sort_unstable();
    integers.dedup();
    Some(integers)
}

/// Two at least: a single class is the run's to refuse.
fn needs_names(values: &[&str]) -> bool {
    values.len() > 1 && integers(values).is_some_and(|integers| !integers.iter().copied().eq(0..integers.len() as i64))
}

/// In the order in which a run numbers classes: of integers that of their size, else that of code points.
fn names(values: &[&str]) -> Vec<String> {
    match integers(values) {
        Some(integers) => integers.iter().map(i64::to_string).collect(),
        None => values.iter().map(|value| (*value).to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_that_do_not_count_from_0_need_names_in_the_order_of_their_size() {
        assert!(needs_names(&["1", "10", "2"]) && needs_names(&["-1", "0", "1"]) && needs_names(&["0", "2"]));
        assert!(!needs_names(&["0", "1", "2"]) && !needs_names(&["bad", "good"]) && !needs_names(&["1"]));
        assert!(needs_names(&["1.0", "2.0"]) && !needs_names(&["0", "0.0", "1.0"]));
        assert_eq!(names(&["-1", "10", "2"]), ["-1", "2", "10"]);
        assert_eq!(names(&["1.0", "2.0"]), ["1", "2"]);
        assert_eq!(names(&["bad", "good"]), ["bad", "good"]);
    }
}
