//! The evaluations of a run as a table, with the best marked: the one whose adapter was kept.

use crate::report::Report;

/// More lines than this are left out, from the earliest; the best is always shown.
const SHOWN: usize = 12;

pub(super) fn table(run: &Report) -> Vec<String> {
    let evaluations = &run.evaluations;
    let Some(first) = evaluations.first() else { return Vec::new() };
    let names: Vec<&str> = first.scores.named().iter().map(|(name, _)| *name).collect();
    let head: String = names.iter().map(|name| format!("  {name:>10}")).collect();
    let mut lines = vec![String::new(), format!("evaluations{head}")];
    let left_out = evaluations.len().saturating_sub(SHOWN);
    for (index, evaluated) in evaluations.iter().enumerate() {
        let is_best = Some(evaluated.step) == run.best_step;
        if index < left_out && !is_best {
            continue;
        }
        let cells = names.iter().zip(evaluated.scores.named());
        let cells: String =
            cells.map(|(name, (_, value))| format!("  {value:>width$.4}", width = name.len().max(10))).collect();
        let step = format!("step {}", evaluated.step);
        lines.push(format!("{step:11}{cells}{}", if is_best { "  best" } else { "" }));
    }
    if left_out > 0 {
        lines.push(format!("the last {SHOWN} of {} are shown, and the best", evaluations.len()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_marked_and_always_shown() {
        let directory = tempfile::tempdir().unwrap();
        let line = |step: usize| {
            let accuracy = if step == 2 { 0.9 } else { 0.5 };
            let scores = format!(r#""loss":0.25,"accuracy":{accuracy},"f1_macro":0.5,"matthews":-0.25"#);
            format!("{{\"event\":\"eval\",\"step\":{step},\"split\":\"valid\",{scores}}}\n")
        };
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("config.toml", "");
        write("metrics.jsonl", &(1..=15).map(line).collect::<String>());
        let shown = table(&Report::read(directory.path()).unwrap());
        assert_eq!(shown[1], "evaluations        loss    accuracy    F1 macro    Matthews");
        assert_eq!(shown[2], "step 2           0.2500      0.9000      0.5000     -0.2500  best");
        assert!(shown[3].starts_with("step 4 "), "{shown:?}");
        assert_eq!(shown.last().map(String::as_str), Some("the last 12 of 15 are shown, and the best"));
        write("metrics.jsonl", "");
        assert!(table(&Report::read(directory.path()).unwrap()).is_empty());
    }
}
