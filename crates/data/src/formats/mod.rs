//! Files become streams of [`Record`]s. This room opens and unpacks a file; each format has a file of its own. JSON
//! lines, CSV, TSV, CoNLL and plain text are read row by row however large they are, Parquet page by page, the text of a `.json` array and a
//! compressed Parquet file as a whole.

mod conll;
mod encoding;
mod json;
mod json_slip;
mod jsonl;
mod lines;
mod parquet;
mod table;
mod text;
mod typed;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use crate::limits::{self, Exceeded, Packed, Unpacked};
use crate::place::name;
use crate::record::Record;
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
    records_as(path, None)
}

/// As [`records`], of a file that is of this `format`, whatever its extension says.
pub fn records_as(path: &Path, format: Option<Format>) -> Result<Records, Error> {
    let (format, source) = identify(path, format)?;
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
    let limit = RowLimit::of(format, &source);
    let rows = opened(format, source)?;
    Ok(Box::new((1..).zip(rows).map(move |(number, row)| limit.check(number, row?))))
}

fn opened(format: Format, source: Source) -> Result<Records, Error> {
    match format {
        Format::JsonLines => jsonl::records(source),
        Format::Json => json::records(source),
        Format::Csv => table::records(source, b','),
        Format::Tsv => table::records(source, b'\t'),
        Format::Parquet => parquet::records(source),
        Format::Conll => conll::records(source),
        Format::Text => text::records(source),
    }
}

/// How many rows a file may have.
struct RowLimit {
    file: PathBuf,
    format: Format,
    most: u64,
    /// The size of a file whose rows may take hardly any bytes.
    packed: Option<u64>,
}

impl RowLimit {
    fn of(format: Format, source: &Source) -> Self {
        // A pipe has no size to compare with.
        let size = || fs::metadata(&source.file).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len());
        let packed = if source.gzip || format == Format::Parquet { size() } else { None };
        let most = packed.map_or(limits::MOST_ROWS, limits::rows_of);
        Self { file: source.file.clone(), format, most, packed }
    }

    /// Of the row with this number, from 1.
    fn check(&self, number: u64, row: Record) -> Result<Record, Error> {
        match number <= self.most {
            true => Ok(row),
            false => {
                let place = Place::new(&self.file, row.line);
                Err(Error::TooManyRows { place, most: self.most, help: self.help() })
            }
        }
    }

    fn help(&self) -> String {
        if self.packed.is_none() || self.most == limits::MOST_ROWS {
            return "split it into several files: `data.train` takes a list of them".to_owned();
        }
        let rows = limits::PACKED_ROWS;
        match self.format {
            Format::Parquet => format!(
                "a Parquet file has {rows} rows and one for each of its bytes at most: if these many are meant, write them \
                 as JSON lines (.jsonl)"
            ),
            _ => format!(
                "a compressed file has {rows} rows and one for each of its bytes at most: if these many are meant, unpack it \
                 first (`gunzip {}`)",
                name(&self.file)
            ),
        }
    }
}

/// Whether places in this file are rows, because it has no lines.
pub(crate) fn counts_rows(path: &Path) -> bool {
    matches!(format_of(path), Ok((Format::Json | Format::Parquet, _)))
}

/// Whether each word has a line of its own.
pub(crate) fn has_word_a_line(path: &Path) -> bool {
    matches!(format_of(path), Ok((Format::Conll, _)))
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    JsonLines,
    Json,
    Csv,
    Tsv,
    Parquet,
    /// A word and its tags a line, a blank line between sentences.
    Conll,
    Text,
}

/// The file to read, and what error messages need to know of it.
#[derive(Debug, Clone)]
struct Source {
    file: PathBuf,
    gzip: bool,
    /// The bytes of what can be read only once, unpacked.
    held: Option<Bytes>,
}

impl Source {
    fn new(file: &Path, gzip: bool) -> Self {
        Self { file: file.to_owned(), gzip, held: None }
    }

    /// The unpacked bytes, as UTF-8 where they are UTF-16, without a byte order mark.
    fn open(&self) -> Result<Reader, Error> {
        let bytes: Reader = match &self.held {
            Some(held) => Box::new(Cursor::new(held.clone())),
            None => self.unpacked()?,
        };
        encoding::decoded(bytes, self)
    }

    fn unpacked(&self) -> Result<Reader, Error> {
        if self.file == Path::new("-") {
            return Ok(Box::new(BufReader::new(io::stdin())));
        }
        let file = self.open_packed()?;
        if !self.gzip {
            return Ok(Box::new(BufReader::new(file)));
        }
        // "Multi": a .gz file may be several streams in a row, as `cat a.gz b.gz` makes them.
        let unpacked = Unpacked::new(MultiGzDecoder::new(Packed::new(file)), MultiGzDecoder::get_ref);
        Ok(Box::new(BufReader::new(unpacked)))
    }

    /// A source that can be opened several times: a pipe is read into memory.
    fn rereadable(mut self) -> Result<Self, Error> {
        let is_file = fs::metadata(&self.file).is_ok_and(|metadata| metadata.is_file());
        if !is_file {
            let mut bytes = Vec::new();
            self.unpacked()?.read_to_end(&mut bytes).map_err(|error| self.read_error(error))?;
            self.held = Some(Bytes::from(bytes));
        }
        Ok(self)
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
        if let Some(broken) = source.get_ref().and_then(|source| source.downcast_ref::<encoding::BrokenUtf16>()) {
            return Error::Utf16 { place: Place::line(&self.file, broken.line) };
        }
        match Exceeded::of(&source) {
            Some(Exceeded::Row { line }) => return Error::LongRow { place: Place::line(&self.file, line) },
            Some(Exceeded::Unpacked) => return Error::Unpacked { file },
            Some(Exceeded::UnpackedLines) => return Error::UnpackedLines { file },
            None => {}
        }
        if self.gzip && source.raw_os_error().is_none() {
            return Error::Gzip { file, source };
        }
        Error::Read { file, source }
    }

    /// `start` is how the line begins and tells what the file is instead; `byte` counts from 1.
    fn utf8_error(&self, line: usize, byte: usize, start: &[u8]) -> Error {
        let help = match start {
            [0x1f, 0x8b, ..] => "the file is compressed: give it a name that ends in .gz".to_owned(),
            _ => format!(
                "the file is most likely in Windows-1252 or Latin-1: save it as UTF-8 (in Excel as `CSV UTF-8`), or \
                 convert it with `iconv -f windows-1252 -t utf-8 {} > utf8.{}`",
                name(&self.file),
                ending(&self.file)
            ),
        };
        Error::Utf8 { place: Place::line(&self.file, line), byte, help }
    }

    /// `text` is the line of the file with this number.
    fn json_error(&self, line: usize, text: &str, error: &serde_json::Error, help: &str) -> Error {
        let place = Place::line(&self.file, line);
        if let Some(slip) = json_slip::of(text, error) {
            return Error::Json { place, column: slip.column, reason: slip.reason, help: slip.help };
        }
        let reason = error.to_string();
        if reason.starts_with(::json::TOO_MANY_VALUES) {
            return Error::TooManyValues { place };
        }
        // serde_json ends its message with a position, which stands in `place` and `column`.
        let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason).to_owned();
        Error::Json { place, column: error.column(), reason, help: help.to_owned() }
    }
}

/// `written` takes the place of what the extension says.
fn identify(path: &Path, written: Option<Format>) -> Result<(Format, Source), Error> {
    if path == Path::new("-") {
        return Ok((written.unwrap_or(Format::JsonLines), Source::new(path, false)));
    }
    // Before the extension: of a misspelt path, that it does not exist is the more useful thing to say.
    check_exists(path)?;
    let (format, gzip) = match written {
        Some(format) => (format, path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))),
        None => format_of(path)?,
    };
    Ok((format, Source::new(path, gzip)))
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
    if fs::read_dir(directory).is_err() {
        return format!("the directory {} does not exist either", directory.display());
    }
    match suggest::nearest_path(path, |_| true) {
        Some(near) => format!("did you mean `{}`?", near.display()),
        None => "check the path: in a configuration file it is relative to that file, on the command line to the working directory".to_owned(),
    }
}

/// The format and whether the file is compressed.
fn format_of(path: &Path) -> Result<(Format, bool), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let (stem, gzip) = name.strip_suffix(".gz").map_or((name.as_str(), false), |stem| (stem, true));
    let extension = stem.rsplit_once('.').map(|(_, extension)| extension);
    let format = match extension {
        Some("jsonl" | "ndjson") => Format::JsonLines,
        Some("json") => Format::Json,
        Some("csv") => Format::Csv,
        Some("tsv") => Format::Tsv,
        Some("parquet") => Format::Parquet,
        Some("conll" | "bio" | "iob" | "iob2") => Format::Conll,
        Some("txt") => Format::Text,
        _ => {
            return Err(Error::UnknownType { file: path.to_owned(), extension: extension.map(str::to_owned) });
        }
    };
    Ok((format, gzip))
}

/// What its name ends in, without that of a compressed file.
fn ending(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".gz").unwrap_or(&name);
    stem.rsplit_once('.').map_or("txt", |(_, ending)| ending).to_owned()
}

#[cfg(test)]
mod tests;
