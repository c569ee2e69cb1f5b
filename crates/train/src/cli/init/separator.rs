//! CSV and TSV files whose cells another separator divides: all of a row is a single cell then, and the columns cannot be
//! found.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use data::{Error, Profile, records};

use crate::cli::Failure;

/// A header is shorter.
const HEADER: u64 = 64 * 1024;

pub(super) fn profile(file: &Path) -> Result<Profile, Failure> {
    match records(file).and_then(Profile::of) {
        Ok(profile) => match profile.columns.as_slice() {
            [column] => wrong(file, &column.name).map_or(Ok(profile), Err),
            _ => Ok(profile),
        },
        // Whatever separates the cells, a text of some row holds what the format has for a separator.
        Err(error @ Error::Ragged { expected: 1, .. }) => {
            let header = first_line(file);
            Err(header.and_then(|header| wrong(file, &header)).unwrap_or_else(|| error.into()))
        }
        Err(error) => Err(error.into()),
    }
}

/// What to do about a header of a single column that looks like several.
fn wrong(file: &Path, header: &str) -> Option<Failure> {
    let name = file.file_name()?.to_str()?.to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let (is_csv, is_tsv) = (name.ends_with(".csv"), name.ends_with(".tsv"));
    let (separator, help) = if is_csv && header.contains('\t') {
        ("tabs", "rename it to .tsv, or save it with commas")
    } else if (is_csv || is_tsv) && header.contains(';') {
        ("semicolons", "save it as .csv with commas, or as .tsv with tabs")
    } else if is_tsv && header.contains(',') {
        ("commas", "rename it to .csv, or save it with tabs")
    } else {
        return None;
    };
    let expected = if is_csv { "commas" } else { "tabs" };
    let message = format!("{} has {separator} between its columns where {expected} are expected", file.display());
    Some(Failure::usage(message, help))
}

/// `None` for a compressed file, and where there is none.
fn first_line(file: &Path) -> Option<String> {
    let mut line = String::new();
    BufReader::new(File::open(file).ok()?.take(HEADER)).read_line(&mut line).ok()?;
    Some(line)
}
