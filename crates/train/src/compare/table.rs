//! The table of a comparison, for a terminal and as Markdown.

use tasks::metrics::Score;

use super::{Results, Summary};
use crate::output::{bytes, counted, thousands};

/// One row for each candidate, in columns, and below it the differences in words.
pub(crate) fn text(results: &Results) -> Vec<String> {
    let rows = rows(results);
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(n, (cell, width))| match n {
            0 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    lines.push(String::new());
    lines.extend(results.found());
    lines.extend(results.remark.map(str::to_owned));
    lines
}

pub(crate) fn markdown(results: &Results) -> String {
    let rows = rows(results);
    let line = |row: &[String]| {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut text = line(&rows[0]);
    text += &format!("|---{}|\n", "|--:".repeat(rows[0].len() - 1));
    text.extend(rows[1..].iter().map(|row| line(row)));
    text += &format!("\n{}\n", note(results));
    let found = results.found();
    if !found.is_empty() {
        text += "\n";
        text.extend(found.iter().map(|line| format!("- {line}\n")));
    }
    text.extend(results.remark.map(|remark| format!("\n{remark}\n")));
    text
}

/// What the figures are.
pub(crate) fn note(results: &Results) -> String {
    let runs = results.candidates.iter().map(|candidate| candidate.runs).max().unwrap_or(0);
    let spread = if runs > 1 { format!("mean and standard deviation over {runs} seeds, then ") } else { String::new() };
    let steps =
        if results.steps_differ() { " The candidates were trained for different numbers of steps." } else { "" };
    format!(
        "{} on {} examples: {spread}the 95 % interval over the examples.{} Peak memory is that of the whole process; time is \
         the median of a step.{steps}",
        results.score.name,
        thousands(results.examples),
        of_generated(results, runs)
    )
}

/// What the scores of written answers are, where there are any.
fn of_generated(results: &Results, runs: usize) -> String {
    let names: Vec<&str> = results.generated().iter().map(|score| score.name).collect();
    let Some((last, others)) = names.split_last() else { return String::new() };
    let spread = if runs > 1 { ", mean and standard deviation over the seeds" } else { "" };
    let answers = counted(results.prompts, "validation prompt", "validation prompts");
    format!(" {} and {last} are of the answers to {answers}{spread}.", others.join(", "))
}

fn rows(results: &Results) -> Vec<Vec<String>> {
    let generated = results.generated();
    let mut head = vec!["candidate", results.score.name, "95 % interval"];
    head.extend(generated.iter().map(|score| score.name));
    head.extend(results.steps_differ().then_some("steps"));
    head.extend(["parameters", "peak memory", "step", "size", "rate"]);
    let head: Vec<String> = head.into_iter().map(str::to_string).collect();
    let row = |candidate| row(candidate, &generated, results.steps_differ());
    let without_score = |name: &str| {
        let mut row = vec!["–".to_string(); head.len()];
        row[0] = name.to_owned();
        row
    };
    let mut rows: Vec<Vec<String>> = results.candidates.iter().map(row).collect();
    rows.extend(results.diverged.iter().map(|runs| without_score(&runs[0].candidate)));
    rows.insert(0, head);
    rows
}

fn row(candidate: &Summary, generated: &[&Score], with_steps: bool) -> Vec<String> {
    let mut row = vec![
        candidate.name.clone(),
        candidate.score.to_string(),
        candidate.interval.map_or("–".to_string(), |(low, high)| format!("{low:.3} to {high:.3}")),
    ];
    row.extend(generated.iter().map(|score| candidate.of_generated(score)));
    row.extend(with_steps.then(|| thousands(candidate.steps)));
    row.extend([
        thousands(candidate.trainable_parameters),
        bytes(candidate.peak_memory_bytes as usize),
        seconds(candidate.step_seconds),
        bytes(candidate.size_bytes as usize),
        format!("{:e}", candidate.learning_rate),
    ]);
    row
}

/// Of a step, which may take less than a millisecond or more than a minute.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 0.01 => format!("{:.2} ms", 1e3 * s),
        s if s < 1.0 => format!("{:.0} ms", 1e3 * s),
        s => format!("{s:.2} s"),
    }
}
