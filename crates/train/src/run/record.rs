//! The lines of `metrics.jsonl`.

use serde::Serialize;

use ::tasks::metrics::Scores;

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Line<'a> {
    Step {
        step: usize,
        /// Epochs done with this step, a fraction.
        epoch: f64,
        loss: f64,
        learning_rate: f64,
        grad_norm: f64,
        step_seconds: f64,
        examples: usize,
        tokens: usize,
    },
    Eval {
        step: usize,
        split: &'a str,
        #[serde(flatten)]
        scores: &'a Scores,
    },
    End {
        seconds: f64,
        peak_memory_bytes: u64,
        /// The type of the base's matrices, where they are quantised.
        #[serde(skip_serializing_if = "Option::is_none")]
        base_dtype: Option<&'a str>,
    },
}

/// The peak resident set of this process, VmHWM, in bytes; 0 where the system does not tell.
pub(super) fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
