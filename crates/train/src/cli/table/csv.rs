//! A table with separators, quoted as RFC 4180 has it: what spreadsheets, pandas and kindling itself read.

use std::io;

use ::csv::WriterBuilder;

use super::super::sink::Sink;
use super::{Table, kind};

pub(super) fn write(mut table: Table, separator: u8, sink: &mut Sink) -> io::Result<()> {
    let mut writer = WriterBuilder::new().delimiter(separator).from_writer(sink);
    if !table.columns.is_empty() {
        writer.write_record(table.columns.iter().map(|(name, _)| name))?;
    }
    while let Some(row) = table.next()? {
        writer.write_record(table.columns.iter().map(|(name, _)| row.get(name).map(kind::text).unwrap_or_default()))?;
    }
    writer.flush()
}
