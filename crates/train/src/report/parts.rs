//! Sections that a task is free to fill: tables, plots and rows below a title.

use std::path::Path;

use data::Place;
use serde::Serialize;

use super::Error;
use super::examples::cut;
use super::heat::shade;
use super::marks::{Piece, pieces};
use super::number::{count, interval};
use super::plots::Figure;
use super::points::{histogram, scatter};
use tasks::{Cell, Line, Part, Parts, ShownRow};

/// Rows that are open; the others are folded.
const OPEN: usize = 8;
/// Characters of a text that are shown.
const TEXT: usize = 320;

#[derive(Debug, Serialize)]
pub(super) struct Section {
    pub(super) id: String,
    pub(super) title: String,
    text: String,
    parts: Vec<Shown>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", content = "content", rename_all = "lowercase")]
enum Shown {
    Table(Table),
    Plot { title: String, keys: &'static str, figure: Figure },
    Rows { open: Vec<Row>, folded: Vec<Row> },
}

#[derive(Debug, Serialize)]
struct Table {
    caption: String,
    columns: Vec<Column>,
    lines: Vec<Cells>,
    footer: Vec<Cells>,
    /// Whether cells are shaded.
    heat: bool,
}

#[derive(Debug, Serialize)]
struct Column {
    name: String,
    barred: bool,
}

#[derive(Debug, Serialize)]
struct Cells {
    name: String,
    cells: Vec<Written>,
}

#[derive(Debug, Serialize)]
struct Written {
    text: String,
    /// In per cent.
    bar: Option<f64>,
    /// `r3` or `w3`.
    class: Option<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    place: String,
    text: Option<String>,
    text_pair: Option<String>,
    facts: Vec<(String, String)>,
    marked: Vec<(String, Vec<Piece>)>,
}

/// `file` is that of the rows.
pub(super) fn section((number, section): (usize, &Parts), file: &str) -> Result<Section, Error> {
    let file = Path::new(file).file_name().map_or(Path::new(file), Path::new);
    let id = format!("parts-{}", number + 1);
    let part = |(n, part): (usize, &Part)| shown(part, &format!("{id}-{}", n + 1), file);
    let parts = section.parts.iter().enumerate().map(part).collect::<Result<_, _>>()?;
    Ok(Section { title: section.title.clone(), text: section.text.clone(), parts, id })
}

fn shown(part: &Part, id: &str, file: &Path) -> Result<Shown, Error> {
    Ok(match part {
        Part::Table(found) => Shown::Table(table(found)),
        Part::Scatter(found) => {
            Shown::Plot { title: found.title.clone(), keys: "as it should be", figure: scatter(found, id)? }
        }
        Part::Histogram(found) => Shown::Plot { title: found.title.clone(), keys: "", figure: histogram(found, id)? },
        Part::Rows(rows) => {
            let mut open: Vec<Row> = rows.iter().map(|found| row(found, file)).collect();
            let folded = open.split_off(open.len().min(OPEN));
            Shown::Rows { open, folded }
        }
    })
}

fn table(table: &tasks::Table) -> Table {
    let first = table.lines.first().map_or(&[][..], |line| &line.cells);
    let barred = |n: usize| matches!(n.checked_sub(1).and_then(|n| first.get(n)), Some(Cell::Bar(_)));
    let lines = |lines: &[Line]| {
        let cells = |line: &Line| Cells { name: line.name.clone(), cells: line.cells.iter().map(written).collect() };
        lines.iter().map(cells).collect()
    };
    let columns = table.columns.iter().enumerate();
    Table {
        caption: table.caption.clone(),
        columns: columns.map(|(n, name)| Column { name: name.clone(), barred: barred(n) }).collect(),
        lines: lines(&table.lines),
        footer: lines(&table.footer),
        heat: first.iter().any(|cell| matches!(cell, Cell::Right { .. } | Cell::Wrong { .. })),
    }
}

fn written(cell: &Cell) -> Written {
    let score = |score: Option<f64>| score.map_or("–".to_string(), |score| format!("{score:.3}"));
    let plain = |text| Written { text, bar: None, class: None };
    let share = |number: usize, whole: usize| if whole == 0 { 0.0 } else { number as f64 / whole as f64 };
    match *cell {
        Cell::Count(number) => plain(count(number)),
        Cell::Score(value) => plain(score(value)),
        Cell::Bar(value) => {
            let bar = Some((value.unwrap_or(0.0).clamp(0.0, 1.0) * 1000.0).round() / 10.0);
            Written { text: score(value), bar, class: None }
        }
        Cell::Interval(ends) => plain(ends.map_or(String::new(), |ends| interval(ends, |end| format!("{end:.3}")))),
        Cell::Right { count: number, whole } => {
            Written { text: count(number), bar: None, class: Some(format!("r{}", shade(share(number, whole)))) }
        }
        // By its root, as in the confusion matrix.
        Cell::Wrong { count: number, whole } => {
            Written { text: count(number), bar: None, class: Some(format!("w{}", shade(share(number, whole).sqrt()))) }
        }
    }
}

fn row(row: &ShownRow, file: &Path) -> Row {
    let marked = row.marked.iter().map(|marked| (marked.name.clone(), pieces(&row.text, &marked.marks)));
    Row {
        place: Place::new(file, row.line).to_string(),
        text: row.marked.is_empty().then(|| cut(&row.text, TEXT)),
        text_pair: row.text_pair.as_ref().map(|text| cut(text, TEXT)),
        facts: row.facts.clone(),
        marked: marked.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_its_text_its_bar_and_its_shade() {
        let all = [
            Cell::Count(12_345),
            Cell::Score(None),
            Cell::Bar(Some(0.5)),
            Cell::Interval(Some((0.25, 0.75))),
            Cell::Right { count: 9, whole: 9 },
            Cell::Wrong { count: 0, whole: 0 },
        ];
        let found: Vec<_> = all.iter().map(written).map(|cell| (cell.text, cell.bar, cell.class)).collect();
        let wanted = [
            ("12\u{202f}345", None, None),
            ("–", None, None),
            ("0.500", Some(50.0), None),
            ("0.250\u{a0}–\u{2060}\u{a0}0.750", None, None),
            ("9", None, Some("r9")),
            ("0", None, Some("w0")),
        ];
        assert_eq!(found, wanted.map(|(text, bar, class)| (text.to_string(), bar, class.map(str::to_string))));
    }
}
