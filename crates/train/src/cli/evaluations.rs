//! The evaluations of a run as `metrics.jsonl` has them, with the best marked: the one whose adapter was kept.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::config::Best;
use crate::metrics::Scores;

/// More lines than this are left out, from the earliest; the best is always shown.
const SHOWN: usize = 12;

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Evaluated {
    pub(super) step: usize,
    #[serde(flatten)]
    pub(super) scores: Scores,
    #[serde(skip)]
    pub(super) is_best: bool,
}

/// Reads the lines that can be read; the best is by what the run's own configuration says.
pub(super) fn read<'a>(run: &Path, lines: impl Iterator<Item = &'a Value>) -> Vec<Evaluated> {
    let mut evaluations: Vec<Evaluated> = lines.filter_map(|line| Evaluated::deserialize(line).ok()).collect();
    let criterion = criterion(run);
    let mut best: Option<usize> = None;
    for (index, evaluated) in evaluations.iter().enumerate() {
        if evaluated.scores.is_better(best.map(|best| &evaluations[best].scores), criterion) {
            best = Some(index);
        }
    }
    if let Some(best) = best {
        evaluations[best].is_best = true;
    }
    evaluations
}

/// `train.best`, without asking whether the configuration's data and model are still there.
fn criterion(run: &Path) -> Best {
    let text = std::fs::read_to_string(run.join("config.toml")).unwrap_or_default();
    let table: Option<toml::Table> = toml::from_str(&text).ok();
    let best = table.and_then(|table| table.get("train")?.get("best").cloned());
    best.and_then(|best| best.try_into().ok()).unwrap_or(Best::Auto)
}

pub(super) fn table(evaluations: &[Evaluated]) -> Vec<String> {
    let Some(first) = evaluations.first() else { return Vec::new() };
    let names: Vec<&str> = first.scores.named().iter().map(|(name, _)| *name).collect();
    let head: String = names.iter().map(|name| format!("  {name:>10}")).collect();
    let mut lines = vec![String::new(), format!("evaluations{head}")];
    let left_out = evaluations.len().saturating_sub(SHOWN);
    for (index, evaluated) in evaluations.iter().enumerate() {
        if index < left_out && !evaluated.is_best {
            continue;
        }
        let cells = names.iter().zip(evaluated.scores.named());
        let cells: String =
            cells.map(|(name, (_, value))| format!("  {value:>width$.4}", width = name.len().max(10))).collect();
        let step = format!("step {}", evaluated.step);
        lines.push(format!("{step:11}{cells}{}", if evaluated.is_best { "  best" } else { "" }));
    }
    if left_out > 0 {
        lines.push(format!("the last {SHOWN} of {} are shown, and the best", evaluations.len()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_best_is_marked_and_always_shown() {
        let line = |step: usize| {
            let accuracy = if step == 2 { 0.9 } else { 0.5 };
            json!({"event": "eval", "step": step, "loss": 0.25, "accuracy": accuracy, "f1_macro": 0.5, "matthews": -0.25})
        };
        let lines: Vec<Value> = (1..=15).map(line).collect();
        let evaluations = read(Path::new("nowhere"), lines.iter());
        let shown = table(&evaluations);
        assert_eq!(shown[1], "evaluations        loss    accuracy    F1 macro    Matthews");
        assert_eq!(shown[2], "step 2           0.2500      0.9000      0.5000     -0.2500  best");
        assert!(shown[3].starts_with("step 4 "), "{shown:?}");
        assert_eq!(shown.last().map(String::as_str), Some("the last 12 of 15 are shown, and the best"));
        assert!(table(&[]).is_empty());
    }
}
