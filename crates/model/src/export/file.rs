//! A GGUF file on its way: written under another name, read again, compared, and only then there.

use std::io::{BufReader, BufWriter};
use std::path::Path;

use gguf::{Reader, TensorInfo, Value, Writer};

use super::{ExportError, Exported};
use crate::Error;
use crate::files::{OutputFile, create_parents};

/// A tensor that is to be in the file.
#[derive(Debug)]
pub(super) struct Planned<S> {
    pub(super) info: TensorInfo,
    /// What its values are computed from.
    pub(super) source: S,
}

/// Writes a file, with the directories that lead there, and compares it. `values` computes the values of a tensor as they lie in the
/// file; it is asked for each twice, so that no two of them are in memory.
pub(super) fn write<S>(
    path: &Path,
    metadata: &[(String, Value)],
    tensors: &[Planned<S>],
    values: impl Fn(&Planned<S>) -> Result<Vec<f32>, Error>,
) -> Result<Exported, Error> {
    let failed = |source| ExportError::Write { file: path.into(), source };
    let of_writer = |error| match error {
        gguf::Error::Write(source) => failed(source),
        other => other.into(),
    };
    create_parents(path).map_err(failed)?;
    let mut output = OutputFile::create(path).map_err(failed)?;
    let infos = tensors.iter().map(|tensor| tensor.info.clone()).collect();
    let mut writer = Writer::new(BufWriter::new(&mut output), metadata, infos).map_err(of_writer)?;
    for tensor in tensors {
        writer.write(&values(tensor)?).map_err(of_writer)?;
    }
    writer.finish().map_err(of_writer)?;
    let written = output.read_again().map_err(failed)?;
    let bytes = written.metadata().map_err(failed)?.len();
    compare(Reader::new(BufReader::new(written)).map_err(ExportError::from)?, metadata, tensors, values)?;
    output.finish().map_err(failed)?;
    Ok(Exported { tensors: tensors.len(), bytes, notes: Vec::new() })
}

fn compare<S>(
    mut reader: Reader<BufReader<std::fs::File>>,
    metadata: &[(String, Value)],
    tensors: &[Planned<S>],
    values: impl Fn(&Planned<S>) -> Result<Vec<f32>, Error>,
) -> Result<(), Error> {
    let differs = |what: String| Error::from(ExportError::Differs { what });
    for (key, value) in metadata {
        let is_empty = matches!(value, Value::Array(items) if items.is_empty());
        if reader.value(key) != Some(value) && !is_empty {
            return Err(differs(format!("`{key}` is another")));
        }
    }
    if !reader.tensors().eq(tensors.iter().map(|tensor| &tensor.info)) {
        return Err(differs("it has other tensors".to_owned()));
    }
    for tensor in tensors {
        let TensorInfo { name, shape, kind } = &tensor.info;
        let expected = values(tensor)?;
        let found = reader.values(name).map_err(ExportError::from)?.unwrap_or_default();
        let block = shape.last().copied().unwrap_or(1).clamp(1, 32);
        let is_off = |(expected, found): (&[f32], &[f32])| {
            let largest = expected.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
            // Of what is no number nothing is near.
            let is_near = |(value, found): (&f32, &f32)| (value - found).abs() <= kind.rounding(*value, largest);
            !expected.iter().zip(found).all(is_near)
        };
        if found.len() != expected.len() || expected.chunks(block).zip(found.chunks(block)).any(is_off) {
            return Err(differs(format!("`{name}` has other values")));
        }
    }
    Ok(())
}
