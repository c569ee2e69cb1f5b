//! Where in a file something stands, as messages say it: `train.jsonl, line 17`.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::formats;

/// A row of a file. Lines are counted from 1, the header of a CSV file included, as editors count them; the rows of a
/// `.json` array or of a Parquet file have no line of their own and are counted as rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    file: PathBuf,
    unit: &'static str,
    number: usize,
}

impl Place {
    /// The place of a [`Record`](crate::Record) or [`Example`](crate::Example) with this `line`.
    pub fn new(file: &Path, line: usize) -> Self {
        let unit = if formats::counts_rows(file) { "row" } else { "line" };
        Self { file: file.to_owned(), unit, number: line }
    }

    /// A line of any file, for what is wrong before there are rows.
    pub(crate) fn line(file: &Path, line: usize) -> Self {
        Self { file: file.to_owned(), unit: "line", number: line }
    }

    /// Rows of one file without its name: `line 17`, `rows 3, 4, 9`; nothing of none.
    pub fn numbers(places: &[Place]) -> String {
        let numbers: Vec<String> = places.iter().map(|place| place.number.to_string()).collect();
        match places {
            [] => String::new(),
            [place] => format!("{} {}", place.unit, place.number),
            [place, ..] => format!("{}s {}", place.unit, numbers.join(", ")),
        }
    }

    pub(crate) fn is_in_file_of(&self, other: &Self) -> bool {
        self.file == other.file
    }

    /// As messages name it.
    pub(crate) fn file(&self) -> String {
        name(&self.file)
    }

    /// `line` or `row`.
    pub(crate) fn unit(&self) -> &'static str {
        self.unit
    }

    pub(crate) fn number(&self) -> usize {
        self.number
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} {}", name(&self.file), self.unit, self.number)
    }
}

/// The file as the user wrote it; `-` is spelt out.
pub(crate) fn name(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_as_file_and_line_or_row() {
        let says = |file: &str| Place::new(Path::new(file), 17).to_string();
        assert_eq!(says("data/train.jsonl.gz"), "data/train.jsonl.gz, line 17");
        assert_eq!(says("train.csv"), "train.csv, line 17");
        assert_eq!(says("train.json"), "train.json, row 17");
        assert_eq!(says("train.JSON.gz"), "train.JSON.gz, row 17");
        assert_eq!(says("train.parquet"), "train.parquet, row 17");
        assert_eq!(says("train.txt.gz"), "train.txt.gz, line 17");
        assert_eq!(says("-"), "standard input, line 17");
        let numbers = |file: &str, lines: &[usize]| {
            Place::numbers(&lines.iter().map(|line| Place::new(Path::new(file), *line)).collect::<Vec<_>>())
        };
        assert_eq!(numbers("train.jsonl", &[]), "");
        assert_eq!(numbers("train.jsonl", &[17]), "line 17");
        assert_eq!(numbers("train.parquet", &[3, 4, 9]), "rows 3, 4, 9");
        assert_eq!(Place::line(Path::new("train.json"), 3).to_string(), "train.json, line 3");
    }
}
