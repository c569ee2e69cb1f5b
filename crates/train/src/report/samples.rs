//! What a language model writes to validation prompts, before and after training, with what differs from the data marked.

use serde::Serialize;

use super::difference::{Piece, difference};
use super::examples::cut;
use super::number::{count, counted};
use tasks::Sample;

/// Samples that are open; the others are folded.
const OPEN: usize = 8;
/// Samples of a page: those of a run can be thousands.
const MOST: usize = 200;
/// Characters of a text that are shown.
const TEXT: usize = 1200;

#[derive(Debug, Serialize)]
pub(super) struct Section {
    /// `5 of 32 texts are as the data has them`
    right: String,
    compared: bool,
    open: Vec<Written>,
    folded: Vec<Written>,
    /// How many more there are than the page has.
    left_out: Option<String>,
}

#[derive(Debug, Serialize)]
struct Written {
    prompt: String,
    before: Option<String>,
    written: Vec<Piece>,
    expected: Vec<Piece>,
    right: bool,
}

pub(super) fn section(samples: &[Sample]) -> Option<Section> {
    if samples.is_empty() {
        return None;
    }
    let right = samples.iter().filter(|sample| is_right(sample)).count();
    let mut shown: Vec<Written> = samples.iter().take(MOST).map(written).collect();
    let folded = shown.split_off(shown.len().min(OPEN));
    Some(Section {
        right: format!("{} of {}", count(right), counted(samples.len(), "text is", "texts are")),
        compared: samples.iter().any(|sample| sample.before.is_some()),
        open: shown,
        folded,
        left_out: (samples.len() > MOST).then(|| count(samples.len() - MOST)),
    })
}

fn is_right(sample: &Sample) -> bool {
    sample.written.trim() == sample.expected.trim()
}

fn written(sample: &Sample) -> Written {
    let (written, expected) = difference(&cut(&sample.written, TEXT), &cut(&sample.expected, TEXT));
    Written {
        prompt: cut(&sample.prompt, TEXT),
        before: sample.before.as_ref().map(|text| cut(text, TEXT)),
        written,
        expected,
        right: is_right(sample),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_are_open_and_the_rest_is_folded() {
        let sample = |n: usize| Sample {
            prompt: format!("prompt {n}"),
            before: None,
            written: format!(" answer {n}\n"),
            expected: format!("answer {}", n % 10),
        };
        let section = section(&(0..250).map(sample).collect::<Vec<_>>()).expect("there are samples");
        assert_eq!((section.open.len(), section.folded.len()), (8, 192));
        assert_eq!((section.left_out.as_deref(), section.right.as_str()), (Some("50"), "10 of 250 texts are"));
        assert!(super::section(&[]).is_none());
    }
}
