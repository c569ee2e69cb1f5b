//! Several runs on one page: their scores, their curves over one another, and the settings in which they differ.

use std::collections::BTreeSet;

use serde::Serialize;
use toml::{Table, Value};

use super::curve::{Point, finite, reach, running_mean, thin};
use super::number::{count, fixed, interval, significant};
use super::plots::{Axis, Chart, Figure, Layer, Reading, Unit, around, round};
use super::scores::{Score, kept};
use super::svg::Role;
use super::{Error, Report, answers, render, verdict};
use crate::output::{bytes, duration};
use ::tasks::metrics::{Better, Span, span};

/// Points of a curve.
const POINTS: usize = 300;
const WIDE: (u32, u32) = (1080, 280);
const NARROW: (u32, u32) = (340, 220);

#[derive(Serialize)]
struct Page {
    style: &'static str,
    title: String,
    runs: Vec<Run>,
    /// Of the scores, each run's in its place.
    scores: Vec<&'static str>,
    /// Not all runs were scored on the same texts.
    apart: bool,
    curves: Vec<Curve>,
    settings: Vec<Setting>,
    /// Settings that all runs share.
    shared: usize,
}

#[derive(Serialize)]
struct Run {
    name: String,
    colour: &'static str,
    state: String,
    best_step: String,
    scores: Vec<Option<Cell>>,
    parameters: String,
    duration: String,
    memory: String,
    verdict: Option<String>,
    data: String,
}

#[derive(Debug, PartialEq, Serialize)]
struct Cell {
    value: String,
    interval: Option<String>,
    /// None of the other runs has a better one.
    best: bool,
}

#[derive(Serialize)]
pub(super) struct Curve {
    title: String,
    figure: Figure,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Setting {
    key: String,
    /// `None` where a run has no such key.
    values: Vec<Option<String>>,
}

/// The page of these runs, at least two.
pub(crate) fn compared(reports: &[Report]) -> Result<String, Error> {
    let names = names(reports);
    let scores: Vec<Vec<Score>> = reports
        .iter()
        .map(|report| kept(report, &report.classification().map(answers::answers).unwrap_or_default()))
        .collect();
    let mut columns: Vec<&'static str> = Vec::new();
    for score in scores.iter().flatten() {
        if !columns.contains(&score.name) {
            columns.push(score.name);
        }
    }
    let apart = !reports.windows(2).all(|pair| pair[0].record.valid == pair[1].record.valid);
    let (settings, shared) = settings(reports);
    let page = Page {
        style: include_str!("style.css"),
        title: format!("{} runs compared", count(reports.len())),
        runs: (0..reports.len()).map(|n| Run::new(n, reports, &names, &scores, &columns, apart)).collect(),
        apart,
        curves: curves(reports, &names)?,
        scores: columns,
        settings,
        shared,
    };
    render(include_str!("compare.html"), &page)
}

/// The runs' names, or their places where two have the same name.
fn names(reports: &[Report]) -> Vec<String> {
    let is_alone = |name: &str| reports.iter().filter(|report| report.title == name).count() == 1;
    let name = |report: &Report| if is_alone(&report.title) { report.title.clone() } else { report.place.clone() };
    reports.iter().map(name).collect()
}

impl Run {
    fn new(
        n: usize,
        reports: &[Report],
        names: &[String],
        scores: &[Vec<Score>],
        columns: &[&'static str],
        apart: bool,
    ) -> Self {
        let (report, own) = (&reports[n], &scores[n]);
        let record = &report.record;
        let step = report.steps.last().map_or(0, |last| last.step);
        let known = |value: Option<String>| value.unwrap_or_else(|| "–".to_string());
        let cell = |name: &&'static str| {
            let score = own.iter().find(|score| score.name == *name)?;
            let mut others = scores.iter().flatten().filter(|other| other.name == *name);
            Some(Cell {
                value: fixed(score.value, 4),
                interval: score.interval.map(|ends| interval(ends, |end| fixed(end, 3))),
                // Scores on other texts are neither better nor worse.
                best: !apart && others.clone().count() > 1 && others.all(|other| !is_better(other, score)),
            })
        };
        let fact = |wanted: &str| record.facts.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        let lead =
            verdict::verdict(report, &report.classification().map(answers::answers).unwrap_or_default(), own).lead;
        Self {
            name: names[n].clone(),
            colour: Role::of_run(n).class(),
            state: match report.finished {
                true => format!("finished, {} steps", count(step)),
                false if record.steps > step => format!("unfinished, step {} of {}", count(step), count(record.steps)),
                false => format!("unfinished, step {}", count(step)),
            },
            best_step: known(report.best_step.map(count)),
            scores: columns.iter().map(cell).collect(),
            parameters: known(
                fact("trained parameters").map(|text| text.split(", on").next().unwrap_or_default().to_string()),
            ),
            duration: known(record.end.map(|end| duration(end.seconds))),
            memory: known(record.end.map(|end| bytes(end.peak_memory_bytes as usize))),
            data: known(record.valid.as_ref().map(|valid| format!("{} ({})", valid.file, count(valid.examples)))),
            verdict: lead,
        }
    }
}

fn is_better(a: &Score, b: &Score) -> bool {
    match tasks::metrics::Score::of_name(a.name).map(|score| score.better) {
        Some(Better::Lower) => a.value < b.value,
        Some(Better::Higher) | None => a.value > b.value,
    }
}

pub(super) fn curves(reports: &[Report], names: &[String]) -> Result<Vec<Curve>, Error> {
    let mut curves = Vec::new();
    let smooth = |report: &Report| {
        let losses = finite(report.steps.iter().map(|step| (step.step as f64, step.loss)));
        running_mean(&losses, reach(losses.len()))
    };
    curves.extend(curve(0, "Training loss", around_all, reports.iter().map(smooth).collect(), names)?);
    let mut scores: Vec<&'static str> = Vec::new();
    for (name, _) in reports.iter().flat_map(|report| &report.evaluations).flat_map(|found| found.scores.named()) {
        if !scores.contains(&name) {
            scores.push(name);
        }
    }
    for (n, name) in scores.into_iter().enumerate() {
        let value = |report: &Report| {
            let found = report.evaluations.iter().filter_map(|evaluation| {
                let (_, value) = evaluation.scores.named().into_iter().find(|(other, _)| *other == name)?;
                Some((evaluation.step as f64, value))
            });
            finite(found)
        };
        let range: fn(&[Point]) -> std::ops::Range<f64> = match span(name) {
            Span::Open => around_all,
            Span::Share => |all| within(all, 0.0, 1.0),
            Span::Hundred => |all| within(all, 0.0, 100.0),
            Span::Correlation => |all| within(all, -1.0, 1.0),
        };
        let title = format!("Validation {name}");
        curves.extend(curve(n + 1, &title, range, reports.iter().map(value).collect(), names)?);
    }
    Ok(curves)
}

fn around_all(points: &[Point]) -> std::ops::Range<f64> {
    around(points.iter().map(|(_, y)| *y))
}

fn within(points: &[Point], low: f64, high: f64) -> std::ops::Range<f64> {
    let (least, most) = points.iter().fold((f64::MAX, f64::MIN), |(a, b), (_, y)| (a.min(*y), b.max(*y)));
    if most - least <= 1e-6 {
        return low.max(0.0)..high;
    }
    let range = round(least..most);
    range.start.max(low)..range.end.min(high)
}

/// One line for each run, by step; `None` where no run has two points.
fn curve(
    n: usize,
    title: &str,
    range: fn(&[Point]) -> std::ops::Range<f64>,
    lines: Vec<Vec<Point>>,
    names: &[String],
) -> Result<Option<Curve>, Error> {
    let all: Vec<Point> = lines.iter().flatten().copied().collect();
    if !lines.iter().any(|line| line.len() > 1) {
        return Ok(None);
    }
    let ends = all.iter().fold((f64::MAX, f64::MIN), |(a, b), (x, _)| (a.min(*x), b.max(*x)));
    let mut layers = Vec::new();
    for (run, line) in lines.iter().enumerate() {
        let role = Role::of_run(run);
        layers.push(Layer::Line(role, thin(line, POINTS)));
        if line.len() <= 40 {
            layers.push(Layer::Dots(role, line.clone()));
        }
    }
    let chart = Chart {
        id: &format!("curve-{n}"),
        title,
        description: format!("{title} of {} runs by step.", lines.len()),
        x: Axis { range: ends.0..ends.1.max(ends.0 + 1.0), unit: Unit::Count },
        y: Axis { range: range(&all), unit: Unit::Number },
        layers,
        readings: readings(&lines, names),
    };
    Ok(Some(Curve { title: title.to_string(), figure: chart.figure(WIDE, NARROW)? }))
}

/// At each step that one of the runs has, what all have that have it.
fn readings(lines: &[Vec<Point>], names: &[String]) -> Vec<Reading> {
    let steps: BTreeSet<u64> = lines.iter().flatten().map(|(x, _)| *x as u64).collect();
    let reading = |step: u64| {
        let at =
            |line: &Vec<Point>| line.binary_search_by(|(x, _)| x.total_cmp(&(step as f64))).ok().map(|i| line[i].1);
        let values: Vec<(usize, f64)> =
            lines.iter().enumerate().filter_map(|(run, line)| Some((run, at(line)?))).collect();
        let text: Vec<String> = values
            .iter()
            .map(|(run, value)| format!("{} {}", super::examples::cut(&names[*run], 24), significant(*value, 4)))
            .collect();
        Reading {
            x: step as f64,
            text: format!("step {}: {}", count(step as usize), text.join(" · ")),
            short: std::iter::once((Role::Text, format!("step {}", count(step as usize))))
                .chain(values.iter().map(|(run, value)| (Role::of_run(*run), significant(*value, 4))))
                .collect(),
            points: values.into_iter().map(|(run, value)| (Role::of_run(run), value)).collect(),
        }
    };
    steps.into_iter().map(reading).collect()
}

/// The settings that are not the same in all runs, and how many are.
pub(super) fn settings(reports: &[Report]) -> (Vec<Setting>, usize) {
    let tables: Vec<Vec<(String, String)>> = reports.iter().map(|report| flat(&report.settings)).collect();
    let mut keys: Vec<&String> = Vec::new();
    for (key, _) in tables.iter().flatten() {
        // Where a run lies is no setting of it.
        if key != "output_dir" && !keys.contains(&key) {
            keys.push(key);
        }
    }
    let value = |table: &Vec<(String, String)>, key: &str| {
        table.iter().find(|(other, _)| other == key).map(|(_, value)| value.clone())
    };
    let setting =
        |key: &String| Setting { key: key.clone(), values: tables.iter().map(|table| value(table, key)).collect() };
    let (same, differ): (Vec<Setting>, Vec<Setting>) =
        keys.into_iter().map(setting).partition(|setting| setting.values.windows(2).all(|pair| pair[0] == pair[1]));
    (differ, same.len())
}

/// Keys with their table before them, in the file's order; nothing of a file that cannot be read.
fn flat(settings: &str) -> Vec<(String, String)> {
    let table: Table = settings.parse().unwrap_or_default();
    let mut entries = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => {
                entries.extend(inner.into_iter().map(|(name, value)| (format!("{key}.{name}"), value.to_string())));
            }
            value => entries.push((key, value.to_string())),
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::super::{Evaluation, Step};
    use super::*;
    use tasks::metrics::of_tokens;

    fn report(title: &str, settings: &str, losses: &[f64]) -> Report {
        let evaluation = |(n, loss): (usize, &f64)| Evaluation { step: (n + 1) * 5, scores: of_tokens(*loss, 0.5) };
        let step = |step: usize| Step {
            step,
            epoch: 1.0,
            loss: 1.0 / step as f64,
            learning_rate: 1e-3,
            grad_norm: 1.0,
            tokens: 3,
            seconds: 0.1,
        };
        Report {
            title: title.to_string(),
            place: format!("runs/{title}"),
            settings: settings.to_string(),
            steps: (1..=losses.len() * 5).map(step).collect(),
            evaluations: losses.iter().enumerate().map(evaluation).collect(),
            best_step: Some(losses.len() * 5),
            ..Report::default()
        }
    }

    #[test]
    fn only_settings_that_differ_are_shown() {
        let first = report("a", "seed = 1\noutput_dir = \"x\"\n[train]\nlr = 0.1\nbatch = 4\n", &[]);
        let second = report("b", "seed = 1\noutput_dir = \"y\"\n[train]\nlr = 0.2\nbatch = 4\nextra = true\n", &[]);
        let (differ, shared) = settings(&[first, second]);
        let setting = |key: &str, values: [Option<&str>; 2]| Setting {
            key: key.to_string(),
            values: values.map(|value| value.map(str::to_string)).to_vec(),
        };
        let wanted = [setting("train.lr", [Some("0.1"), Some("0.2")]), setting("train.extra", [None, Some("true")])];
        assert_eq!((differ.as_slice(), shared), (wanted.as_slice(), 2));
    }

    #[test]
    fn runs_of_the_same_name_are_called_by_their_places() {
        let mut reports = [report("a", "", &[]), report("a", "", &[]), report("b", "", &[])];
        reports[1].place = "other/a".to_string();
        assert_eq!(names(&reports), ["runs/a", "other/a", "b"]);
    }

    #[test]
    fn the_better_score_is_marked_and_a_lower_loss_is_better() {
        let reports = [report("low", "", &[0.9, 0.4]), report("high", "", &[0.9, 0.6])];
        let page = compared(&reports).expect("plain data");
        let rows: Vec<&str> = page.split("<tr").filter(|row| row.contains("unfinished")).collect();
        assert_eq!(rows.len(), 2);
        assert!(rows[0].contains("<b>0.4000</b>") && rows[1].contains(">0.6000") && !rows[1].contains("<b>0.6000</b>"));
        assert!(page.contains("Validation perplexity"));
    }

    #[test]
    fn what_is_read_off_names_every_run_that_has_the_step() {
        let lines = vec![vec![(5.0, 0.25), (10.0, 0.5)], vec![(5.0, 0.75)]];
        let found = readings(&lines, &["a".to_string(), "b".to_string()]);
        assert_eq!(found[0].text, "step 5: a 0.25 · b 0.75");
        assert_eq!((found[1].text.as_str(), found[1].points.len()), ("step 10: a 0.5", 1));
    }
}
