//! What came of the run, in a few sentences: how good it is and how sure that is, what it is better than, whether it
//! learned for too long or not long enough, and the command that uses it.

use serde::Serialize;

use super::answers::Answer;
use super::number::{count, counted, fixed, interval, percent, significant};
use super::scores::Score;
use super::{Evaluation, Report};
use crate::output::duration;
use crate::shell::quoted;
use tasks::Use;

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Verdict {
    pub(super) lead: Option<String>,
    sentences: Vec<String>,
    /// A doubt that a reader should have.
    note: Option<String>,
    command: Option<Command>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Command {
    says: &'static str,
    line: String,
}

pub(super) fn verdict(report: &Report, answers: &[Answer<'_>], kept: &[Score]) -> Verdict {
    let mut sentences = Vec::new();
    sentences.extend(progress(report));
    sentences.extend(baselines(report, answers, kept));
    sentences.extend(best(report));
    // How learning ended is not known of a run that goes on.
    let is_known = |course: &Course| report.finished || matches!(course, Course::Overfits { .. });
    sentences.extend(course(report).filter(is_known).map(|course| course.sentence()));
    let evaluations = report.evaluations.len();
    let note = (evaluations > 1 && report.best_step.is_some() && report.finished).then(|| {
        format!(
            "The adapter was chosen as the best of {} on these texts, so its score is a little too high; \
             texts that were never looked at tell more.",
            counted(evaluations, "evaluation", "evaluations")
        )
    });
    Verdict { lead: lead(report, kept), sentences, note, command: command(report) }
}

/// How far a run is that has not ended.
fn progress(report: &Report) -> Option<String> {
    if report.finished {
        return None;
    }
    let step = report.steps.last().map_or(0, |last| last.step);
    let planned = report.record.steps;
    let steps = match planned {
        0 => format!("step {}", count(step)),
        _ => format!("step {} of {}", count(step), count(planned)),
    };
    if !report.live {
        return Some(format!("The run is unfinished: it is at {steps}, and the scores are those until there."));
    }
    let seconds: f64 = report.steps.iter().map(|step| step.seconds).filter(|seconds| seconds.is_finite()).sum();
    let left = planned.saturating_sub(step) as f64 * seconds / step.max(1) as f64;
    match step {
        0 => Some("The run is about to take its first step.".to_string()),
        _ => Some(format!("The run is in progress: {steps}, about {} left without evaluations.", duration(left))),
    }
}

/// The score that people came for.
fn lead(report: &Report, kept: &[Score]) -> Option<String> {
    let texts =
        report.record.valid.as_ref().map(|valid| counted(valid.examples, "validation text", "validation texts"));
    let find = |name: &str| kept.iter().find(|score| score.name == name);
    if let Some(accuracy) = judged_by_accuracy(kept) {
        return Some(format!("Accuracy {}{}.", percent(accuracy.value), on(texts, accuracy, percent)));
    }
    if let (Some(exact), Some(bleu)) = (find("exact match"), find("BLEU")) {
        let prompts = counted(report.record.samples.len(), "validation prompt", "validation prompts");
        let prompts = (!report.record.samples.is_empty()).then_some(prompts);
        let points = |value: f64| fixed(value, 1);
        return Some(format!(
            "BLEU {}{}; {} of the answers are exactly those of the data{}.",
            points(bleu.value),
            on(prompts, bleu, points),
            percent(exact.value),
            exact.interval.map(|ends| format!(" ({})", interval(ends, percent))).unwrap_or_default(),
        ));
    }
    if let Some(perplexity) = find("perplexity") {
        let shown = |value: f64| significant(value, 4);
        return Some(format!("Perplexity {}{}.", shown(perplexity.value), on(texts, perplexity, shown)));
    }
    if let Some(score) = kept.first() {
        let shown = |value: f64| fixed(value, 3);
        return Some(format!("{} {}{}.", capitalised(score.name), shown(score.value), on(texts, score, shown)));
    }
    let steps = report.steps.last()?.step;
    Some(match report.record.valid {
        Some(_) => format!("{}, and no evaluation yet.", counted(steps, "step", "steps")),
        None => format!(
            "Trained for {} without validation data: how good it is was not measured.",
            counted(steps, "step", "steps")
        ),
    })
}

/// ` on 200 validation texts (95 % interval 0.85 – 0.93)`
fn on(examples: Option<String>, score: &Score, shown: impl Fn(f64) -> String) -> String {
    let on = examples.map(|examples| format!(" on {examples}")).unwrap_or_default();
    let sure = score.interval.map(|ends| format!(" (95\u{a0}% interval {})", interval(ends, shown)));
    on + &sure.unwrap_or_default()
}

/// What the score has to be better than.
fn baselines(report: &Report, answers: &[Answer<'_>], kept: &[Score]) -> Option<String> {
    let before = report.record.before.as_ref()?;
    let examples = report.record.valid.as_ref().map_or(0, |valid| valid.examples);
    let part = match before.examples < examples {
        true => format!(", measured on {} of them", count(before.examples)),
        false => String::new(),
    };
    let find = |name: &str| kept.iter().find(|score| score.name == name);
    if let Some(accuracy) = judged_by_accuracy(kept) {
        let untrained = percent(accuracy.before?);
        let Some((label, share)) = majority(report, answers) else {
            return Some(format!("Before training the model had {untrained}{part}."));
        };
        let better = match accuracy.interval {
            Some((low, _)) if low <= share => " That the model is better than this is not certain.",
            _ => "",
        };
        return Some(format!(
            "Always answering “{label}”, the most frequent label, would give {}; before training the model had \
             {untrained}{part}.{better}",
            percent(share)
        ));
    }
    if let (Some(exact), Some(bleu)) = (find("exact match"), find("BLEU")) {
        let (exact, bleu) = (percent(exact.before?), fixed(bleu.before?, 1));
        return Some(format!("Before training it was BLEU {bleu}, with {exact} of the answers exact."));
    }
    if let Some(perplexity) = find("perplexity") {
        return Some(format!("Before training it was {}{part}.", significant(perplexity.before?, 4)));
    }
    Some(format!("Before training it was {}{part}.", fixed(kept.first()?.before?, 3)))
}

/// The accuracy of a task whose first score it is: elsewhere it says less than others.
fn judged_by_accuracy(kept: &[Score]) -> Option<&Score> {
    kept.first().filter(|score| score.name == "accuracy")
}

/// The name of a score at the beginning of a sentence.
fn capitalised(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + characters.as_str())
}

/// The most frequent label, cut where it is long, and its share.
fn majority(report: &Report, answers: &[Answer<'_>]) -> Option<(String, f64)> {
    let labels = &report.classification()?.labels;
    let mut counts = vec![0_usize; labels.len()];
    answers.iter().for_each(|answer| counts[answer.example.target] += 1);
    // The first of equals.
    let (class, most) = counts.iter().enumerate().rev().max_by_key(|(_, examples)| **examples)?;
    Some((super::examples::cut(&labels[class], 40), *most as f64 / answers.len() as f64))
}

fn best(report: &Report) -> Option<String> {
    let (best, last) = (report.best_step?, report.steps.last()?.step);
    let epoch = report.steps.iter().find(|step| step.step == best)?.epoch;
    let early = match report.record.end {
        Some(end) if end.stopped_early => ", where early stopping ended it",
        _ => "",
    };
    let which = if report.finished { "The best evaluation" } else { "The best evaluation so far" };
    Some(format!(
        "{which} is that of step {} (epoch {}) of {}{early}.",
        count(best),
        significant(epoch, 3),
        count(last)
    ))
}

/// Where learning was when it ended.
#[derive(Debug, PartialEq)]
enum Course {
    /// Validation loss rises while training loss falls.
    Overfits {
        step: usize,
        valid: (f64, f64),
        train: (f64, f64),
    },
    /// Validation loss still fell at the end.
    Learns {
        valid: (f64, f64),
    },
    Level {
        valid: (f64, f64),
    },
}

/// A change of a loss that means something, as a share of it.
const CHANGE: f64 = 0.02;

/// `None` where there are too few evaluations to tell.
fn course(report: &Report) -> Option<Course> {
    let [.., before, last] = report.evaluations.as_slice() else { return None };
    let (before, last) = (before.scores.loss(), last);
    let by_loss = |a: &&Evaluation, b: &&Evaluation| a.scores.loss().total_cmp(&b.scores.loss());
    let lowest = report.evaluations.iter().min_by(by_loss)?;
    let (low, end) = (lowest.scores.loss(), last.scores.loss());
    if lowest.step == last.step {
        let valid = (before, end);
        return Some(if before - end > CHANGE * before { Course::Learns { valid } } else { Course::Level { valid } });
    }
    let train = (mean_loss(report, lowest.step)?, mean_loss(report, last.step)?);
    let (rises, falls) = (end - low > CHANGE * low, train.0 - train.1 > CHANGE * train.0);
    Some(match rises && falls {
        true => Course::Overfits { step: lowest.step, valid: (low, end), train },
        false => Course::Level { valid: (low, end) },
    })
}

/// The training loss around the steps that end in `step`: the mean of a tenth of all steps.
fn mean_loss(report: &Report, step: usize) -> Option<f64> {
    let end = report.steps.iter().position(|one| one.step == step)? + 1;
    let start = end.saturating_sub(report.steps.len().div_ceil(10));
    let losses = report.steps[start..end].iter().map(|one| one.loss);
    Some(losses.sum::<f64>() / (end - start) as f64)
}

impl Course {
    fn sentence(&self) -> String {
        let two = |(from, to): &(f64, f64)| format!("from {} to {}", significant(*from, 3), significant(*to, 3));
        match self {
            Self::Overfits { step, valid, train } => format!(
                "It overfits: after step {} the validation loss rises {} while the training loss falls {}; fewer epochs, \
                 more dropout or more data may help.",
                count(*step),
                two(valid),
                two(train)
            ),
            Self::Learns { valid } => format!(
                "It was still learning when it ended: the last evaluation lowered the validation loss {}, so more epochs may \
                 help.",
                two(valid)
            ),
            Self::Level { valid } => {
                format!("The validation loss had levelled off ({} at the end).", two(valid))
            }
        }
    }
}

fn command(report: &Report) -> Option<Command> {
    let run = quoted(&report.place);
    if report.live {
        return None;
    }
    if !report.finished {
        return Some(Command { says: "Go on with it", line: format!("kindling train {run}/config.toml --resume") });
    }
    let text = || report.record.valid.as_ref().and_then(|valid| valid.text.as_deref()).unwrap_or("your text");
    let line = match report.record.task?.usage {
        Use::Predict => format!("kindling predict --run {run} {}", quoted(text())),
        Use::Generate if is_chat(&report.settings) => format!("kindling generate --run {run} --chat"),
        Use::Generate => {
            let prompt = report.record.samples.first().map(|sample| sample.prompt.trim());
            let prompt = prompt.filter(|prompt| is_short(prompt)).unwrap_or_else(text);
            format!("kindling generate --run {run} --prompt {}", quoted(prompt))
        }
        Use::Score => format!("kindling eval --run {run}"),
    };
    Some(Command { says: "Use it", line })
}

/// Whether the run learned from conversations.
fn is_chat(settings: &str) -> bool {
    let table: Option<toml::Table> = settings.parse().ok();
    table.is_some_and(|table| table.get("data").is_some_and(|data| data.get("messages").is_some()))
}

/// Whether a text is fit to be a part of a command that is copied.
pub(crate) fn is_short(text: &str) -> bool {
    // With a hyphen in front it would be taken for an option.
    !text.is_empty() && !text.starts_with('-') && text.chars().count() <= 120 && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::super::record::{Before, End, Record, Split};
    use super::super::{Step, scores};
    use super::*;
    use tasks::TaskName;
    use tasks::metrics::of_tokens;

    fn report(losses: &[f64], training: impl Fn(usize) -> f64) -> Report {
        let step = |step: usize| Step {
            step,
            epoch: step as f64 / 10.0,
            loss: training(step),
            learning_rate: 1e-3,
            grad_norm: 1.0,
            tokens: 10,
            seconds: 0.5,
        };
        let evaluation = |(n, loss): (usize, &f64)| Evaluation { step: (n + 1) * 10, scores: of_tokens(*loss, 0.5) };
        let evaluations: Vec<Evaluation> = losses.iter().enumerate().map(evaluation).collect();
        let best = evaluations.iter().min_by(|a, b| a.scores.loss().total_cmp(&b.scores.loss()));
        Report {
            place: "runs/x".to_string(),
            best_step: best.map(|best| best.step),
            steps: (1..=losses.len() * 10).map(step).collect(),
            finished: true,
            record: Record {
                task: TaskName::named("causal-lm"),
                steps: losses.len() * 10,
                valid: Some(Split { file: "v.csv".to_string(), examples: 40, text: None }),
                ..Record::default()
            },
            evaluations,
            ..Report::default()
        }
    }

    #[test]
    fn a_run_whose_validation_loss_rises_while_training_loss_falls_overfits() {
        let falling = |step: usize| 1.0 / step as f64;
        let found = course(&report(&[0.9, 0.5, 0.7], falling));
        assert!(matches!(found, Some(Course::Overfits { step: 20, valid: (0.5, 0.7), .. })), "{found:?}");
        // The same where training does not get better is no overfitting.
        assert!(matches!(course(&report(&[0.9, 0.5, 0.7], |_| 0.6)), Some(Course::Level { .. })));
        assert!(matches!(course(&report(&[0.9, 0.5, 0.505], falling)), Some(Course::Level { .. })));
        assert!(matches!(course(&report(&[0.9, 0.7, 0.5], falling)), Some(Course::Learns { valid: (0.7, 0.5) })));
        assert!(matches!(course(&report(&[0.9, 0.501, 0.5], falling)), Some(Course::Level { .. })));
        assert_eq!((course(&report(&[0.9], falling)), course(&report(&[], falling))), (None, None));
    }

    #[test]
    fn the_verdict_names_score_baseline_best_step_and_course() {
        let mut report = report(&[0.9, 0.5, 0.7], |step| 1.0 / step as f64);
        report.record.before = Some(Before { examples: 20, scores: of_tokens(3.0_f64.ln(), 0.1) });
        report.record.end =
            Some(End { seconds: 1.0, peak_memory_bytes: 1, stopped_early: false, loss_error: Some(0.0) });
        let kept = scores::kept(&report, &[]);
        let verdict = verdict(&report, &[], &kept);
        assert_eq!(
            verdict.lead.as_deref(),
            Some("Perplexity 1.649 on 40 validation texts (95\u{a0}% interval 1.649\u{a0}–\u{2060}\u{a0}1.649).")
        );
        assert_eq!(verdict.sentences[0], "Before training it was 3, measured on 20 of them.");
        assert_eq!(verdict.sentences[1], "The best evaluation is that of step 20 (epoch 2) of 30.");
        assert!(
            verdict.sentences[2].starts_with("It overfits: after step 20 the validation loss rises from 0.5 to 0.7")
        );
        let line = verdict.command.map(|command| command.line);
        assert_eq!(line.as_deref(), Some("kindling generate --run runs/x --prompt 'your text'"));
    }

    #[test]
    fn a_model_that_learned_from_conversations_is_used_in_one() {
        let mut report = report(&[0.5], |_| 0.5);
        report.settings = "[data]\nmessages = \"messages\"\n".to_string();
        let line = verdict(&report, &[], &[]).command.map(|command| command.line);
        assert_eq!(line.as_deref(), Some("kindling generate --run runs/x --chat"));
    }

    #[test]
    fn an_unfinished_run_says_so_and_how_it_goes_on() {
        let mut report = report(&[0.5], |_| 0.5);
        (report.finished, report.record.steps) = (false, 100);
        let verdict = verdict(&report, &[], &[]);
        assert!(verdict.sentences[0].starts_with("The run is unfinished: it is at step 10 of 100"));
        let line = verdict.command.map(|command| command.line);
        assert_eq!(line.as_deref(), Some("kindling train runs/x/config.toml --resume"));
        let mut level = self::report(&[0.5, 0.5], |_| 0.5);
        let has_levelled =
            |report: &Report| super::verdict(report, &[], &[]).sentences.concat().contains("levelled off");
        assert!(has_levelled(&level));
        level.finished = false;
        assert!(!has_levelled(&level), "it goes on");
        report.live = true;
        assert_eq!(
            progress(&report).as_deref(),
            Some("The run is in progress: step 10 of 100, about 45 s left without evaluations.")
        );
    }
}
