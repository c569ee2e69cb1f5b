//! A table as Parquet: a column of the type that its values have, each of which may be null; lists and objects as JSON.

use std::io;
use std::sync::Arc;

use ::parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use ::parquet::column::writer::ColumnWriter;
use ::parquet::data_type::ByteArray;
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::types::Type;
use serde_json::{Map, Value};

use super::super::sink::Sink;
use super::Table;
use super::kind::{self, Kind};

/// Rows held at a time, which become a row group.
const GROUP: usize = 50_000;

pub(super) fn write(mut table: Table, sink: &mut Sink) -> io::Result<()> {
    let schema = schema(&table.columns).map_err(io::Error::other)?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(sink, Arc::new(schema), Arc::new(properties)).map_err(io_error)?;
    loop {
        let mut rows = Vec::new();
        while rows.len() < GROUP
            && let Some(row) = table.next()?
        {
            rows.push(row);
        }
        if rows.is_empty() {
            break;
        }
        let mut group = writer.next_row_group().map_err(io_error)?;
        for (name, kind) in &table.columns {
            column(&mut group, name, *kind, &rows).map_err(io_error)?;
        }
        group.close().map_err(io_error)?;
    }
    writer.close().map(drop).map_err(io_error)
}

fn schema(columns: &[(String, Kind)]) -> Result<Type, ParquetError> {
    let field = |(name, kind): &(String, Kind)| {
        let (physical, logical) = match kind {
            Kind::Bool => (Physical::BOOLEAN, None),
            Kind::Integer => (Physical::INT64, None),
            Kind::Float => (Physical::DOUBLE, None),
            Kind::Nothing | Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
        };
        let field = Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .build();
        field.map(Arc::new)
    };
    let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    Type::group_type_builder("rows").with_fields(fields).build()
}

/// One column of some rows: its values, and for each row whether it has one.
fn column(
    group: &mut SerializedRowGroupWriter<'_, &mut Sink>,
    name: &str,
    kind: Kind,
    rows: &[Map<String, Value>],
) -> Result<(), ParquetError> {
    let cells: Vec<Option<&Value>> = rows.iter().map(|row| row.get(name).filter(|value| !value.is_null())).collect();
    let present: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values = cells.into_iter().flatten();
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General(format!("the schema lacks the column {name}")));
    };
    match column.untyped() {
        ColumnWriter::BoolColumnWriter(writer) => {
            let values: Vec<bool> = values.map(|value| value == &Value::Bool(true)).collect();
            writer.write_batch(&values, Some(&present), None)?;
        }
        ColumnWriter::Int64ColumnWriter(writer) => {
            let values: Vec<i64> = values.filter_map(Value::as_i64).collect();
            writer.write_batch(&values, Some(&present), None)?;
        }
        ColumnWriter::DoubleColumnWriter(writer) => {
            let values: Vec<f64> = values.filter_map(Value::as_f64).collect();
            writer.write_batch(&values, Some(&present), None)?;
        }
        ColumnWriter::ByteArrayColumnWriter(writer) => {
            let text = |value: &Value| if kind == Kind::Json { value.to_string() } else { kind::text(value) };
            let values: Vec<ByteArray> = values.map(|value| ByteArray::from(text(value).into_bytes())).collect();
            writer.write_batch(&values, Some(&present), None)?;
        }
        _ => return Err(ParquetError::General(format!("the column {name} has a type that is not written"))),
    }
    column.close()
}

fn io_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => *source,
            Err(source) => io::Error::other(source),
        },
        other => io::Error::other(other),
    }
}
