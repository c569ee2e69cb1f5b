//! What is taken for what: a table of counts, and for many classes the pairs most often confused and a map of dots.

use serde::Serialize;

use super::answers::Answer;
use super::classes::{MANY, confusion};
use super::heat::shade;
use super::number::{count, counted, percent};

/// The pairs shown of many classes.
const PAIRS: usize = 15;

#[derive(Debug, Serialize)]
pub(super) struct Section<'a> {
    /// `3 of 200 texts`
    wrong: String,
    table: Option<Table<'a>>,
    pairs: Vec<Pair<'a>>,
    map: Option<Map>,
}

#[derive(Debug, Serialize)]
struct Table<'a> {
    labels: &'a [String],
    rows: Vec<Row<'a>>,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    label: &'a str,
    cells: Vec<Cell>,
}

#[derive(Debug, Serialize)]
struct Cell {
    count: String,
    shade: u8,
    right: bool,
}

#[derive(Debug, PartialEq, Serialize)]
struct Pair<'a> {
    given: &'a str,
    predicted: &'a str,
    count: String,
    /// Of those that were given this label.
    share: String,
}

/// Cells of one shade are one path: thousands of elements would be most of the page.
#[derive(Debug, Serialize)]
struct Map {
    size: usize,
    /// Shade, whether of right answers, and the squares.
    paths: Vec<(u8, bool, String)>,
}

pub(super) fn section<'a>(labels: &'a [String], answers: &[Answer<'_>]) -> Section<'a> {
    let confusion = confusion(labels, answers);
    let rows: Vec<&[u64]> = confusion.rows().collect();
    let wrong = answers.iter().filter(|answer| !answer.is_correct()).count();
    let many = labels.len() > MANY;
    Section {
        wrong: format!("{} of {}", count(wrong), counted(answers.len(), "text", "texts")),
        table: (!many).then(|| table(labels, &rows)),
        pairs: if many { pairs(labels, &rows) } else { Vec::new() },
        map: many.then(|| map(&rows)),
    }
}

/// The share of its row that a cell holds: what becomes of the texts with this label.
fn share(rows: &[&[u64]], given: usize, predicted: usize) -> f64 {
    let of_label: u64 = rows[given].iter().sum();
    if of_label == 0 { 0.0 } else { rows[given][predicted] as f64 / of_label as f64 }
}

/// Confusions by the root of their share: one in a hundred must be seen beside ninety-nine that are none.
fn shade_of(rows: &[&[u64]], given: usize, predicted: usize) -> u8 {
    let share = share(rows, given, predicted);
    shade(if given == predicted { share } else { share.sqrt() })
}

fn table<'a>(labels: &'a [String], rows: &[&[u64]]) -> Table<'a> {
    let cell = |given: usize, predicted: usize| Cell {
        count: count(rows[given][predicted] as usize),
        shade: shade_of(rows, given, predicted),
        right: given == predicted,
    };
    let row = |(given, label): (usize, &'a String)| Row {
        label,
        cells: (0..labels.len()).map(|predicted| cell(given, predicted)).collect(),
    };
    Table { labels, rows: labels.iter().enumerate().map(row).collect() }
}

fn pairs<'a>(labels: &'a [String], rows: &[&[u64]]) -> Vec<Pair<'a>> {
    let mut found: Vec<(usize, usize)> = (0..labels.len())
        .flat_map(|given| (0..labels.len()).map(move |predicted| (given, predicted)))
        .filter(|(given, predicted)| given != predicted && rows[*given][*predicted] > 0)
        .collect();
    found.sort_by_key(|(given, predicted)| std::cmp::Reverse(rows[*given][*predicted]));
    let pair = |(given, predicted): (usize, usize)| Pair {
        given: &labels[given],
        predicted: &labels[predicted],
        count: count(rows[given][predicted] as usize),
        share: percent(share(rows, given, predicted)),
    };
    found.into_iter().take(PAIRS).map(pair).collect()
}

fn map(rows: &[&[u64]]) -> Map {
    let squares = |shade_wanted: u8, right: bool| {
        let mut path = String::new();
        for given in 0..rows.len() {
            for predicted in 0..rows.len() {
                if (given == predicted) == right && shade_of(rows, given, predicted) == shade_wanted {
                    path.push_str(&format!("M{predicted} {given}h1v1h-1z"));
                }
            }
        }
        (shade_wanted, right, path)
    };
    let shades = (1..=9).flat_map(|shade| [(shade, false), (shade, true)]);
    let paths = shades.map(|(shade, right)| squares(shade, right)).filter(|(_, _, path)| !path.is_empty()).collect();
    Map { size: rows.len(), paths }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<String> {
        ["a", "b", "c"].map(str::to_string).to_vec()
    }

    const ROWS: [&[u64]; 3] = [&[8, 2, 0], &[5, 5, 0], &[0, 1, 99]];

    #[test]
    fn pairs_are_sorted_by_how_often_they_are_confused() {
        let labels = labels();
        let found: Vec<String> = pairs(&labels, &ROWS)
            .iter()
            .map(|pair| format!("{} > {}: {} ({})", pair.given, pair.predicted, pair.count, pair.share))
            .collect();
        assert_eq!(found, ["b > a: 5 (50.0\u{a0}%)", "a > b: 2 (20.0\u{a0}%)", "c > b: 1 (1.0\u{a0}%)"]);
    }

    #[test]
    fn cells_are_shaded_by_the_share_of_their_row() {
        let labels = labels();
        let shades: Vec<Vec<u8>> =
            table(&labels, &ROWS).rows.iter().map(|row| row.cells.iter().map(|cell| cell.shade).collect()).collect();
        assert_eq!(shades, [[8, 5, 0], [7, 5, 0], [0, 1, 9]]);
    }

    #[test]
    fn a_map_has_a_square_for_each_cell_that_is_not_empty() {
        let squares: usize = map(&ROWS).paths.iter().map(|(_, _, path)| path.matches('M').count()).sum();
        assert_eq!(squares, 6);
    }
}
