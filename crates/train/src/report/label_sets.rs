//! Scores of labels of which a text may have several, each with the threshold that was fitted to it.

use serde::Serialize;

use super::number::{count, fixed};
use tasks::{LabelSets, OfLabel};

#[derive(Debug, Serialize)]
pub(super) struct Section<'a> {
    f1_micro: String,
    at_half: String,
    rows: Vec<Row<'a>>,
    /// More than a page shows without scrolling.
    many: bool,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    label: &'a str,
    threshold: String,
    precision: String,
    recall: String,
    f1: String,
    /// F1 in per cent, the length of a bar.
    bar: f64,
    at_half: String,
    support: String,
}

pub(super) fn section(found: &LabelSets) -> Section<'_> {
    fn row(of: &OfLabel) -> Row<'_> {
        Row {
            label: &of.name,
            threshold: fixed(of.threshold, 3),
            precision: fixed(of.precision, 3),
            recall: fixed(of.recall, 3),
            f1: fixed(of.f1, 3),
            bar: (of.f1 * 1000.0).round() / 10.0,
            at_half: fixed(of.f1_at_half, 3),
            support: count(of.support),
        }
    }
    Section {
        f1_micro: fixed(found.f1_micro, 3),
        at_half: fixed(found.f1_micro_at_half, 3),
        rows: found.labels.iter().map(row).collect(),
        many: found.labels.len() > super::classes::MANY,
    }
}
