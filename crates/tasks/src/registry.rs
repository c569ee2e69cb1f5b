//! The tasks there are. A new one is a file and a line here.

use crate::Definition;
use crate::metrics::{BLEU, EXACT_MATCH, LOSS, ROUGE_L, Score};
use crate::{causal_lm, masked_lm, multi_label, regression, sequence_classification, token_classification};

/// What a configuration is for that names no task comes first.
pub static TASKS: [&Definition; 6] = [
    &sequence_classification::DEFINITION,
    &token_classification::DEFINITION,
    &regression::DEFINITION,
    &multi_label::DEFINITION,
    &masked_lm::DEFINITION,
    &causal_lm::DEFINITION,
];

/// As the configuration writes them.
pub(crate) const NAMES: &[&str] = &{
    let mut names = [""; TASKS.len()];
    let mut n = 0;
    while n < TASKS.len() {
        names[n] = TASKS[n].name;
        n += 1;
    }
    names
};

/// `auto`, and the keys of the scores by which some task can choose its best model, each once.
pub(crate) const BEST: &[&str] = ALL_BEST.split_at(FOUND.1).0;
const ALL_BEST: &[&str] = &FOUND.0;
const FOUND: ([&str; 64], usize) = best();

const fn best() -> ([&'static str; 64], usize) {
    let mut names = [""; 64];
    names[0] = "auto";
    let mut count = 1;
    let mut task = 0;
    while task < TASKS.len() {
        let mut n = 0;
        while n < TASKS[task].best.len() {
            let key = TASKS[task].best[n].key;
            let mut known = 0;
            while known < count && !same(names[known], key) {
                known += 1;
            }
            if known == count {
                names[count] = key;
                count += 1;
            }
            n += 1;
        }
        task += 1;
    }
    (names, count)
}

/// `==` of texts is none that a constant can be made with.
const fn same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut n = 0;
    while n < left.len() && n < right.len() && left[n] == right[n] {
        n += 1;
    }
    n == left.len() && n == right.len()
}

/// All scores, some of them more than once.
pub(crate) fn scores() -> impl Iterator<Item = &'static Score> {
    let of_tasks = TASKS.iter().flat_map(|task| task.scores.iter().copied());
    [&LOSS, &EXACT_MATCH, &BLEU, &ROUGE_L].into_iter().chain(of_tasks)
}

/// Whether some task is judged by this score.
pub(crate) fn judges(score: &Score) -> bool {
    TASKS.iter().any(|task| task.best.first().is_some_and(|first| *first == score))
}
