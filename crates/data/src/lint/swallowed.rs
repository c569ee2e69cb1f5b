//! Cells of tables that hold whole rows: two quotes that quote nothing, in cells of different rows, and all between them is
//! one text. The file reads without an error, and a look at the texts is all that can tell.

use std::path::Path;

use super::digest::{Number, folded, hash};
use super::{Finding, FindingKind, Look};
use crate::columns::Example;
use crate::labels;

/// What a text with line breaks shows.
#[derive(Debug)]
pub(super) struct Swallowed {
    row: Number,
    /// Several of its lines hold tabs.
    tabs: bool,
    /// The cells with which its lines would begin and end, hashed: rows of the file if they are labels.
    cells: Vec<u64>,
}

impl Swallowed {
    pub(super) fn of_row(self, row: Number) -> Self {
        Self { row, ..self }
    }
}

/// Lines of a text that are looked at.
const LINES: usize = 4;

/// No label is longer.
const LABEL: usize = 60;

/// Whether a file has cells at all.
pub(super) fn may_hold(file: &Path) -> bool {
    let name = file.to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.ends_with(".csv") || name.ends_with(".tsv")
}

pub(super) fn look(example: &Example) -> Option<Swallowed> {
    let texts = [Some(example.text.as_str()), example.text_pair.as_deref()].into_iter().flatten();
    let text = texts.into_iter().find(|text| text.contains('\n'))?;
    let lines: Vec<&str> = text.split('\n').take(LINES).collect();
    let tabs = lines.iter().filter(|line| line.contains('\t')).count() > 1;
    let mut cells = Vec::new();
    // What stands before the first line break is the end of a row, what stands behind the last the beginning of one.
    for (n, line) in lines.iter().enumerate() {
        for separator in [',', ';', '\t', '|'] {
            let ends = line.rsplit_once(separator).map(|(_, cell)| cell).filter(|_| n + 1 < lines.len());
            let begins = line.split_once(separator).map(|(cell, _)| cell).filter(|_| n > 0);
            let labels = [ends, begins].into_iter().flatten().map(|cell| cell.trim_matches(['"', '\r', ' ']));
            cells.extend(labels.filter(|cell| !cell.is_empty() && cell.len() <= LABEL).map(|cell| hash(&folded(cell))));
        }
    }
    (tabs || !cells.is_empty()).then_some(Swallowed { row: 0, tabs, cells })
}

pub(super) fn find(look: &Look<'_>, findings: &mut Vec<Finding>) {
    for (split, data) in look.splits() {
        let labels: Vec<u64> = match look.labels {
            Some(_) => split.digest.tally().seen().map(|label| hash(&folded(&labels::text(label)))).collect(),
            None => Vec::new(),
        };
        let holds_rows = |it: &&Swallowed| it.tabs || it.cells.iter().any(|cell| labels.contains(cell));
        let found = split.digest.swallowed.iter().filter(holds_rows).map(|it| it.row);
        let found: Vec<Number> = found.filter(|row| split.has(*row)).collect();
        if !found.is_empty() {
            let finding = Finding::new(FindingKind::Swallowed, found.len(), &data);
            findings.push(finding.at(found.iter().map(|row| split.place(*row))));
        }
    }
}
