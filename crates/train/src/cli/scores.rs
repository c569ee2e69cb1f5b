//! What an evaluation came to, for people: the scores, then classes and what they are taken for.

use serde_json::{Map, Value, json};

use super::Failure;
use crate::output::{Output, counted, thousands};
use crate::terminal;
use tasks::metrics::{ByClass, Confusion, OfClass};
use tasks::{Evaluator, Task};

/// More classes than this make a matrix that fits no terminal.
const IN_MATRIX: usize = 12;
/// Mistakes that are listed instead, the most frequent first.
const LISTED: usize = 10;
/// A longer name of a class is cut.
const NAME: usize = 24;

pub(super) fn print(
    evaluation: &dyn Evaluator,
    task: &dyn Task,
    examples: usize,
    truncated: usize,
    output: &Output,
) -> Result<(), Failure> {
    let scores = evaluation.scores();
    warn_of_truncated(truncated, output);
    if output.json() {
        let mut document = json!({ "loss": scores.loss(), "examples": examples, "tokens": evaluation.targets() });
        if let (Value::Object(keys), Value::Object(scores)) = (&mut document, serde_json::to_value(scores)?) {
            keys.extend(scores);
            if let Some(by_class) = evaluation.by_class().filter(|_| evaluation.confusion().is_none()) {
                let scores = |(name, of): &(String, OfClass)| {
                    let scores = json!({ "precision": of.precision(), "recall": of.recall(), "f1": of.f1(), "support": of.examples });
                    (name.clone(), scores)
                };
                let of_each: Map<String, Value> = by_class.classes.iter().map(scores).collect();
                keys.insert(format!("by_{}", by_class.what), of_each.into());
            }
            if let Some(confusion) = evaluation.confusion() {
                keys.insert("labels".to_string(), json!(task.label_names()));
                keys.insert("confusion".to_string(), json!(confusion.rows().collect::<Vec<_>>()));
            }
        }
        output.result(&serde_json::to_string(&document)?)?;
        return Ok(());
    }
    output.result(&format!("{:14} {}", "examples", thousands(examples)))?;
    for (name, value) in scores.named() {
        output.result(&format!("{name:14} {value:.4}"))?;
    }
    if let Some(by_class) = evaluation.by_class() {
        for line in classes(&by_class, evaluation.confusion()) {
            output.result(&line)?;
        }
    }
    Ok(())
}

pub(super) fn warn_of_truncated(texts: usize, output: &Output) {
    if texts > 0 {
        output.warn(&format!("{} truncated", counted(texts, "text was", "texts were")));
    }
}

/// A line for each class that occurs, then the confusions; nothing for a task without classes.
fn classes(by_class: &ByClass, confusion: Option<&Confusion>) -> Vec<String> {
    let ByClass { what, classes } = by_class;
    if classes.is_empty() {
        return Vec::new();
    }
    let names: Vec<String> = classes.iter().map(|(label, _)| name(label)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(what.len());
    let mut lines = vec![String::new(), format!("{what:width$}  precision  recall      F1  examples")];
    for ((_, of), name) in classes.iter().zip(&names) {
        if of.examples + of.predicted > 0 {
            let shown = |score: Option<f64>| score.map_or("     -".to_string(), |score| format!("{score:6.3}"));
            lines.push(format!(
                "{name:width$}     {}  {}  {}  {:>8}",
                shown(of.precision()),
                shown(of.recall()),
                shown(of.f1()),
                thousands(of.examples as usize)
            ));
        }
    }
    let Some(confusion) = confusion else { return lines };
    lines.push(String::new());
    lines.extend(match names.len() <= IN_MATRIX {
        true => matrix(confusion, &names, width),
        false => mistakes(confusion, &names, width),
    });
    lines
}

/// Rows are what the data says, columns what the model says; columns are numbered where their names are long.
fn matrix(confusion: &Confusion, names: &[String], width: usize) -> Vec<String> {
    let largest = confusion.rows().flatten().max().copied().unwrap_or(0).to_string().len();
    let of_names = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let numbered = of_names > 10;
    let column = if numbered { largest.max(3) } else { largest.max(of_names) };
    let heads = names.iter().enumerate().map(|(n, name)| if numbered { (n + 1).to_string() } else { name.clone() });
    let heads: String = heads.map(|head| format!("  {head:>column$}")).collect();
    let number = |n: usize| if numbered { format!("{:>3} ", n + 1) } else { String::new() };
    let indent = number(0).len();
    let mut lines = vec![
        "confusion matrix (rows: label, columns: prediction)".to_string(),
        format!("{:indent$}{:width$}{heads}", "", ""),
    ];
    for (n, (name, row)) in names.iter().zip(confusion.rows()).enumerate() {
        let cells: String = row.iter().map(|count| format!("  {count:>column$}")).collect();
        lines.push(format!("{}{name:width$}{cells}", number(n)));
    }
    lines
}

fn mistakes(confusion: &Confusion, names: &[String], width: usize) -> Vec<String> {
    let cells = confusion
        .rows()
        .enumerate()
        .flat_map(|(truth, row)| row.iter().enumerate().map(move |(predicted, count)| (*count, truth, predicted)));
    let mut mistakes: Vec<_> = cells.filter(|(count, truth, predicted)| *count > 0 && truth != predicted).collect();
    // Of equals the earlier class stands first.
    mistakes.sort_by_key(|(count, ..)| std::cmp::Reverse(*count));
    if mistakes.is_empty() {
        return vec!["no mistakes".to_string()];
    }
    let head =
        format!("most frequent errors ({} in total)", thousands(mistakes.iter().map(|(n, ..)| *n as usize).sum()));
    let lines = mistakes.iter().take(LISTED).map(|(count, truth, predicted)| {
        format!("{:width$}  taken for  {:width$}  {count:>6}", names[*truth], names[*predicted])
    });
    [head].into_iter().chain(lines).collect()
}

fn name(label: &str) -> String {
    let label = terminal::on_one_line(label);
    match label.chars().count() > NAME {
        true => label.chars().take(NAME - 1).chain(['…']).collect(),
        false => label.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_stand_with_their_scores_above_the_matrix() {
        let mut confusion = Confusion::new(2);
        // As scikit-learn's classification_report: precision 2/3 and 1, recall 1 and 1/2, F1 0.8 and 2/3.
        for (truth, predicted) in [(0, 0), (0, 0), (1, 0), (1, 1)] {
            confusion.add(truth, predicted);
        }
        let classes_of = ["neg", "positive"].iter().enumerate();
        let named = classes_of.map(|(class, name)| (name.to_string(), confusion.class(class))).collect();
        let lines = classes(&ByClass { what: "class", classes: named }, Some(&confusion));
        assert_eq!(
            lines.join("\n"),
            "\nclass     precision  recall      F1  examples\n\
             neg           0.667   1.000   0.800         2\n\
             positive      1.000   0.500   0.667         2\n\
             \nconfusion matrix (rows: label, columns: prediction)\n\
             \x20              neg  positive\n\
             neg              2         0\n\
             positive         1         1"
        );
    }
}
