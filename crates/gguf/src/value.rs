//! The values of metadata: each lies in the file with its type before it, an array with the type of all its items.

use std::io::{Read, Write};

use crate::Error;

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    /// Of one type; what has no items is not written.
    Array(Vec<Value>),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl Value {
    pub fn strings<'a>(items: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Array(items.into_iter().map(Self::from).collect())
    }

    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    fn code(&self) -> u32 {
        match self {
            Self::U8(_) => 0,
            Self::I8(_) => 1,
            Self::U16(_) => 2,
            Self::I16(_) => 3,
            Self::U32(_) => 4,
            Self::I32(_) => 5,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::String(_) => 8,
            Self::Array(_) => ARRAY,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
        }
    }

    pub(crate) fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        out.write_all(&self.code().to_le_bytes())?;
        self.write_bare(out)
    }

    /// Without its type.
    fn write_bare(&self, out: &mut impl Write) -> std::io::Result<()> {
        match self {
            Self::U8(value) => out.write_all(&value.to_le_bytes()),
            Self::I8(value) => out.write_all(&value.to_le_bytes()),
            Self::U16(value) => out.write_all(&value.to_le_bytes()),
            Self::I16(value) => out.write_all(&value.to_le_bytes()),
            Self::U32(value) => out.write_all(&value.to_le_bytes()),
            Self::I32(value) => out.write_all(&value.to_le_bytes()),
            Self::F32(value) => out.write_all(&value.to_le_bytes()),
            Self::Bool(value) => out.write_all(&[u8::from(*value)]),
            Self::String(text) => write_text(text, out),
            Self::Array(items) => {
                let code = items.first().map_or(Self::U8(0).code(), Self::code);
                out.write_all(&code.to_le_bytes())?;
                out.write_all(&(items.len() as u64).to_le_bytes())?;
                items.iter().try_for_each(|item| item.write_bare(out))
            }
            Self::U64(value) => out.write_all(&value.to_le_bytes()),
            Self::I64(value) => out.write_all(&value.to_le_bytes()),
            Self::F64(value) => out.write_all(&value.to_le_bytes()),
        }
    }

    /// `left` is how much of the file there is to read: no length in it is believed beyond that.
    pub(crate) fn read(from: &mut impl Read, left: u64) -> Result<Self, Error> {
        let code = u32::from_le_bytes(bytes(from)?);
        Self::read_bare(code, from, left, 0)
    }

    fn read_bare(code: u32, from: &mut impl Read, left: u64, depth: usize) -> Result<Self, Error> {
        Ok(match code {
            0 => Self::U8(u8::from_le_bytes(bytes(from)?)),
            1 => Self::I8(i8::from_le_bytes(bytes(from)?)),
            2 => Self::U16(u16::from_le_bytes(bytes(from)?)),
            3 => Self::I16(i16::from_le_bytes(bytes(from)?)),
            4 => Self::U32(u32::from_le_bytes(bytes(from)?)),
            5 => Self::I32(i32::from_le_bytes(bytes(from)?)),
            6 => Self::F32(f32::from_le_bytes(bytes(from)?)),
            7 => Self::Bool(bytes::<1>(from)? != [0]),
            8 => Self::String(read_text(from, left)?),
            ARRAY => {
                let items = u32::from_le_bytes(bytes(from)?);
                let count = u64::from_le_bytes(bytes(from)?);
                // Every item takes a byte at least; arrays of arrays of arrays nobody writes.
                if count > left || depth > 2 {
                    return Err(Error::damaged("an array is longer than the file"));
                }
                Self::Array(
                    (0..count).map(|_| Self::read_bare(items, from, left, depth + 1)).collect::<Result<_, _>>()?,
                )
            }
            10 => Self::U64(u64::from_le_bytes(bytes(from)?)),
            11 => Self::I64(i64::from_le_bytes(bytes(from)?)),
            12 => Self::F64(f64::from_le_bytes(bytes(from)?)),
            other => return Err(Error::damaged(format!("a value has the unknown type {other}"))),
        })
    }
}

const ARRAY: u32 = 9;

pub(crate) fn write_text(text: &str, out: &mut impl Write) -> std::io::Result<()> {
    out.write_all(&(text.len() as u64).to_le_bytes())?;
    out.write_all(text.as_bytes())
}

pub(crate) fn read_text(from: &mut impl Read, left: u64) -> Result<String, Error> {
    let length = u64::from_le_bytes(bytes(from)?);
    if length > left {
        return Err(Error::damaged("a text is longer than the file"));
    }
    let mut text = vec![0; length as usize];
    from.read_exact(&mut text).map_err(Error::Read)?;
    String::from_utf8(text).map_err(|_| Error::damaged("a text is not UTF-8"))
}

pub(crate) fn bytes<const N: usize>(from: &mut impl Read) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes).map_err(Error::Read)?;
    Ok(bytes)
}
