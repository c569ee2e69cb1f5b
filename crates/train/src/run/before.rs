//! The model before it is trained: its scores on the validation data and its answers to the prompts, so that what training
//! did can be seen. Nothing of it enters the run: no step, no line of `metrics.jsonl`, no bit of the result.

use burn::module::Module;
use data::Batch;

use super::{Error, evaluate};
use crate::output::{Output, counted, thousands};
use crate::prepare::RunPlan;
use crate::report;
use crate::workers::Workers;
use tasks::TrainableModel;

/// Examples that are enough to tell how an untrained model does: of larger validation data these many are taken, evenly
/// spaced, for a file may be sorted.
const EXAMPLES: usize = 500;

/// Examples that are evaluated together.
const BATCH: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Untrained {
    pub(super) scores: Option<report::Before>,
    pub(super) answers: Vec<String>,
}

pub(super) fn untrained(
    plan: &RunPlan,
    model: &TrainableModel,
    workers: &Workers,
    output: &Output,
) -> Result<Untrained, Error> {
    let Some(valid) = plan.valid.as_deref().filter(|valid| !valid.is_empty()) else {
        return Ok(Untrained::default());
    };
    let model = model.valid();
    let examples = spaced(valid.len(), EXAMPLES);
    let mut evaluation = plan.task.evaluator();
    let chunks: Vec<&[usize]> = examples.chunks(BATCH).collect();
    for some in chunks.chunks(workers.size()) {
        let input = |chunk: &&[usize]| plan.task.evaluation(Batch::new(valid, chunk, chunk[0]));
        let evaluated = evaluate(workers, &model, some.iter().map(input).collect())?;
        evaluated.outputs.iter().for_each(|output| evaluation.add(output));
    }
    let mut scores = evaluation.scores();
    let mut answers = Vec::new();
    if let Some(questions) = &plan.questions {
        answers = questions.answers(&model, workers)?;
        scores = scores.with_generated(questions.scores(&answers));
    }
    let part = match examples.len() < valid.len() {
        true => format!(" (on {} of {})", thousands(examples.len()), counted(valid.len(), "example", "examples")),
        false => String::new(),
    };
    output.say(&format!("before training: {scores}{part}"));
    Ok(Untrained { scores: Some(report::Before { examples: examples.len(), scores }), answers })
}

/// At most `most` of `number` indices, evenly spaced and ascending.
fn spaced(number: usize, most: usize) -> Vec<usize> {
    let taken = number.min(most);
    (0..taken).map(|n| n * number / taken).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_come_from_all_of_a_file() {
        assert_eq!(spaced(3, 5), [0, 1, 2]);
        assert_eq!(spaced(10, 4), [0, 2, 5, 7]);
        assert_eq!((spaced(1_000_003, 500).len(), spaced(0, 5).len()), (500, 0));
    }
}
