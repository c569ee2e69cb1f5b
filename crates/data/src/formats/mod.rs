//! Files become streams of [`Record`]s. This room opens and unpacks a file; each format has a file of its own. JSON
//! lines, CSV, TSV and plain text are read row by row however large they are, Parquet page by page, a `.json` array and a
//! compressed Parquet file as a whole.

mod csv;
mod json;
mod jsonl;
mod lines;
mod parquet;
mod text;
mod typed;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::record::Record;
use crate::suggest;
use crate::{Error, Place};

pub use typed::Line;

/// Rows of a file, or the error at which reading ends.
type Records = Box<dyn Iterator<Item = Result<Record, Error>> + Send>;
type Reader = Box<dyn BufRead + Send>;

/// Streams the rows of a file, or of standard input (JSON lines) for `-`; the extension picks the format.
///
/// The first row is read at once, so that a file without rows, or not of its format, is refused here. After an error
/// the stream ends.
pub fn records(path: &Path) -> Result<Records, Error> {
    let (format, source) = identify(path, None)?;
    let mut rows = open(format, source)?;
    let first = rows.next().ok_or_else(|| Error::Empty { file: path.to_owned() })??;
    let mut failed = false;
    Ok(Box::new(std::iter::once(Ok(first)).chain(rows).take_while(move |row| {
        let goes_on = !failed;
        failed = row.is_err();
        goes_on
    })))
}

/// Whether a file of this name is read as data.
pub fn is_data(path: &Path) -> bool {
    format_of(path).is_ok()
}

/// As [`records`], for those who answer row by row. Without a `format` standard input holds lines as people type them, see
/// [`Line`]; a row that cannot be read is an error after which the next one comes.
pub fn lines(
    path: &Path,
    format: Option<Format>,
) -> Result<Box<dyn Iterator<Item = Result<Line, Error>> + Send>, Error> {
    let mut lines: Box<dyn Iterator<Item = Result<Line, Error>> + Send> = match format {
        None if path == Path::new("-") => Box::new(typed::TypedLines::open(identify(path, None)?.1)?),
        format => {
            let (format, source) = identify(path, format)?;
            Box::new(open(format, source)?.map(|row| row.map(Line::Row)))
        }
    };
    let first = lines.next().ok_or_else(|| Error::Empty { file: path.to_owned() })?;
    let mut failed = false;
    Ok(Box::new(std::iter::once(first).chain(lines).take_while(move |line| {
        let goes_on = !failed;
        failed = line.as_ref().is_err_and(|error| error.line().is_none());
        goes_on
    })))
}

fn open(format: Format, source: Source) -> Result<Records, Error> {
    match format {
        Format::JsonLines => jsonl::records(source),
        Format::Json => json::records(source),
        Format::Csv => csv::records(source, b','),
        Format::Tsv => csv::records(source, b'\t'),
        Format::Parquet => parquet::records(source),
        Format::Text => text::records(source),
    }
}

/// Whether places in this file are rows, because it has no lines.
pub(crate) fn counts_rows(path: &Path) -> bool {
    matches!(format_of(path), Ok((Format::Json | Format::Parquet, _)))
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    JsonLines,
    Json,
    Csv,
    Tsv,
    Parquet,
    Text,
}

/// The file to read, and what error messages need to know of it.
#[derive(Debug, Clone)]
struct Source {
    file: PathBuf,
    gzip: bool,
}

impl Source {
    /// The unpacked bytes, without a byte order mark.
    fn open(&self) -> Result<Reader, Error> {
        if self.file == Path::new("-") {
            return without_byte_order_mark(BufReader::new(io::stdin()), self);
        }
        let file = self.open_packed()?;
        if self.gzip {
            // "Multi": a .gz file may be several streams in a row, as `cat a.gz b.gz` makes them.
            return without_byte_order_mark(BufReader::new(MultiGzDecoder::new(BufReader::new(file))), self);
        }
        without_byte_order_mark(BufReader::new(file), self)
    }

    fn open_packed(&self) -> Result<File, Error> {
        File::open(&self.file).map_err(|source| Error::Read { file: self.file.clone(), source })
    }

    /// The unpacked bytes, all of them.
    fn read(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.open()?.read_to_end(&mut bytes).map_err(|error| self.read_error(error))?;
        Ok(bytes)
    }

    /// Decompression reports broken data as an I/O error; errors of the operating system have a number.
    fn read_error(&self, source: io::Error) -> Error {
        let file = self.file.clone();
        if self.gzip && source.raw_os_error().is_none() {
            return Error::Gzip { file, source };
        }
        Error::Read { file, source }
    }

    /// `start` is how the line begins and tells what the file is instead; `byte` counts from 1.
    fn utf8_error(&self, line: usize, byte: usize, start: &[u8]) -> Error {
        let help = match start {
            [0x1f, 0x8b, ..] => "the file is compressed: give it a name that ends in .gz".to_owned(),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "the file is UTF-16: save it as UTF-8".to_owned(),
            _ => "save the file as UTF-8, for example with `iconv -f latin1 -t utf-8`".to_owned(),
        };
        Error::Utf8 { place: Place::line(&self.file, line), byte, help }
    }

    fn json_error(&self, line: usize, error: &serde_json::Error, help: &str) -> Error {
        let text = error.to_string();
        // serde_json ends its message with a position, which stands in `place` and `column`.
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned();
        Error::Json { place: Place::line(&self.file, line), column: error.column(), reason, help: help.to_owned() }
    }
}

/// `written` takes the place of what the extension says.
fn identify(path: &Path, written: Option<Format>) -> Result<(Format, Source), Error> {
    if path == Path::new("-") {
        return Ok((written.unwrap_or(Format::JsonLines), Source { file: path.to_owned(), gzip: false }));
    }
    // Before the extension: of a misspelt path, that it does not exist is the more useful thing to say.
    check_exists(path)?;
    let (format, gzip) = match written {
        Some(format) => (format, path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))),
        None => format_of(path)?,
    };
    Ok((format, Source { file: path.to_owned(), gzip }))
}

fn check_exists(path: &Path) -> Result<(), Error> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(Error::Directory { file: path.to_owned() }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Error::NotFound { file: path.to_owned(), suggestion: neighbour(path) })
        }
        Err(source) => Err(Error::Read { file: path.to_owned(), source }),
    }
}

/// The file of the same directory that may have been meant.
fn neighbour(path: &Path) -> String {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let Ok(entries) = fs::read_dir(directory) else {
        return format!("the directory {} does not exist either", directory.display());
    };
    let mut names: Vec<String> = entries.flatten().map(|it| it.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let wanted = path.file_name().unwrap_or_default().to_string_lossy();
    match suggest::nearest(&wanted, names.iter().map(String::as_str)) {
        Some(name) => format!("did you mean `{}`?", path.with_file_name(name).display()),
        None => "check the path: in a configuration file it is relative to that file, on the command line to the working directory".to_owned(),
    }
}

/// The format and whether the file is compressed.
fn format_of(path: &Path) -> Result<(Format, bool), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let (stem, gzip) = name.strip_suffix(".gz").map_or((name.as_str(), false), |stem| (stem, true));
    let extension = stem.rsplit_once('.').map(|(_, extension)| extension);
    let format = match extension {
        Some("jsonl") => Format::JsonLines,
        Some("json") => Format::Json,
        Some("csv") => Format::Csv,
        Some("tsv") => Format::Tsv,
        Some("parquet") => Format::Parquet,
        Some("txt") => Format::Text,
        _ => {
            return Err(Error::UnknownType { file: path.to_owned(), extension: extension.map(str::to_owned) });
        }
    };
    Ok((format, gzip))
}

/// Spreadsheets begin UTF-8 files with a byte order mark, which would become part of the first column's name.
fn without_byte_order_mark(mut reader: impl BufRead + Send + 'static, source: &Source) -> Result<Reader, Error> {
    let mut start = Vec::with_capacity(3);
    reader.by_ref().take(3).read_to_end(&mut start).map_err(|error| source.read_error(error))?;
    if start == [0xef, 0xbb, 0xbf] {
        start.clear();
    }
    Ok(Box::new(Cursor::new(start).chain(reader)))
}

#[cfg(test)]
mod tests;
