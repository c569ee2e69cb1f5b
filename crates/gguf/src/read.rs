//! Reading: metadata and the tensors' descriptions at once, their data a tensor at a time. A file may come from anywhere: nothing it says
//! of itself is believed before it is compared with its size.

use std::io::{Read, Seek, SeekFrom};

use crate::value::{bytes, read_text};
use crate::{ALIGNMENT, Error, MAGIC, TensorInfo, TensorType, VERSION, Value};

/// An opened file.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    metadata: Vec<(String, Value)>,
    /// With the place of the data in the file.
    tensors: Vec<(TensorInfo, u64)>,
}

impl<R: Read + Seek> Reader<R> {
    /// # Errors
    /// Not a GGUF file of version 3, a damaged one, or one with tensors of a type that [`TensorType`] does not have.
    pub fn new(mut from: R) -> Result<Self, Error> {
        let size = from.seek(SeekFrom::End(0)).map_err(Error::Read)?;
        from.rewind().map_err(Error::Read)?;
        if size < 24 || &bytes::<4>(&mut from)? != MAGIC {
            return Err(Error::damaged("it does not begin as one"));
        }
        let version = u32::from_le_bytes(bytes(&mut from)?);
        if version != VERSION {
            return Err(Error::damaged(format!("its version is {version}")));
        }
        let [tensors, pairs] = [u64::from_le_bytes(bytes(&mut from)?), u64::from_le_bytes(bytes(&mut from)?)];
        if tensors > size || pairs > size {
            return Err(Error::damaged("it has more entries than bytes"));
        }
        let mut metadata = Vec::new();
        for _ in 0..pairs {
            metadata.push((read_text(&mut from, size)?, Value::read(&mut from, size)?));
        }
        let alignment = alignment(&metadata)?;
        let mut described = Vec::new();
        for _ in 0..tensors {
            described.push(describe(&mut from, size)?);
        }
        let data = from.stream_position().map_err(Error::Read)?.next_multiple_of(alignment);
        for (tensor, place) in &mut described {
            *place = place.checked_add(data).unwrap_or(u64::MAX);
            if place.checked_add(tensor.size() as u64).is_none_or(|end| end > size) {
                return Err(Error::damaged(format!("`{}` ends after the end of the file", tensor.name)));
            }
        }
        Ok(Self { from, metadata, tensors: described })
    }

    /// In the order of the file.
    pub fn metadata(&self) -> &[(String, Value)] {
        &self.metadata
    }

    pub fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// In the order of the file.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.iter().map(|(tensor, _)| tensor)
    }

    /// The values of a tensor; `None` where there is none of that name.
    pub fn values(&mut self, name: &str) -> Result<Option<Vec<f32>>, Error> {
        let Some((tensor, place)) = self.tensors.iter().find(|(tensor, _)| tensor.name == name) else {
            return Ok(None);
        };
        let mut bytes = vec![0; tensor.size()];
        self.from.seek(SeekFrom::Start(*place)).map_err(Error::Read)?;
        self.from.read_exact(&mut bytes).map_err(Error::Read)?;
        Ok(Some(tensor.kind.decode(&bytes)))
    }
}

fn alignment(metadata: &[(String, Value)]) -> Result<u64, Error> {
    match metadata.iter().find(|(key, _)| key == "general.alignment") {
        None => Ok(ALIGNMENT),
        Some((_, Value::U32(alignment))) if alignment.is_power_of_two() => Ok(u64::from(*alignment)),
        Some(_) => Err(Error::damaged("`general.alignment` is not a power of two")),
    }
}

/// A tensor with its offset in the data.
fn describe(from: &mut impl Read, size: u64) -> Result<(TensorInfo, u64), Error> {
    let name = read_text(from, size)?;
    let sides = u32::from_le_bytes(bytes(from)?);
    if sides > 4 {
        return Err(Error::damaged(format!("`{name}` has {sides} dimensions")));
    }
    let mut shape = Vec::new();
    let mut elements = 1_u64;
    for _ in 0..sides {
        let side = u64::from_le_bytes(bytes(from)?);
        // The smallest type that is read has more than a byte for each value.
        elements = elements
            .checked_mul(side)
            .filter(|elements| *elements <= size)
            .ok_or_else(|| Error::damaged(format!("`{name}` has more values than the file has bytes")))?;
        shape.insert(0, side as usize);
    }
    let code = u32::from_le_bytes(bytes(from)?);
    let kind = TensorType::of_code(code)
        .ok_or_else(|| Error::damaged(format!("`{name}` has the type {code}, which is not read here")))?;
    if !kind.takes_rows_of(shape.last().copied().unwrap_or(0)) {
        return Err(Error::damaged(format!("the rows of `{name}` are not made of whole blocks")));
    }
    Ok((TensorInfo { name, shape, kind }, u64::from_le_bytes(bytes(from)?)))
}
