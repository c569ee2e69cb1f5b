//! Texts as bytes.

use minijinja::{Error, ErrorKind, Value};

use super::super::arguments::{bind, string};
use super::super::{invalid, text};

/// In UTF-8, Latin-1 or ASCII.
pub(super) fn encoded(text: &str, encoding: &str, errors: &str) -> Result<Vec<u8>, Error> {
    let largest = match largest(encoding)? {
        Some(largest) => largest,
        None => return Ok(text.as_bytes().to_vec()),
    };
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match (u8::try_from(u32::from(character)), errors) {
            (Ok(byte), _) if u32::from(byte) <= largest => bytes.push(byte),
            (_, "ignore") => (),
            (_, "replace") => bytes.push(b'?'),
            (_, "backslashreplace") => bytes.extend(text::escape(character).bytes()),
            (_, "xmlcharrefreplace") => bytes.extend(format!("&#{};", u32::from(character)).bytes()),
            _ => {
                let message = format!("`{encoding}` cannot encode `{character}`");
                return Err(invalid(message));
            }
        }
    }
    Ok(bytes)
}

/// The last code point of an encoding of single bytes; `None` for UTF-8.
fn largest(encoding: &str) -> Result<Option<u32>, Error> {
    match encoding.to_lowercase().replace(['-', '_'], "").as_str() {
        "utf8" => Ok(None),
        "latin1" | "iso88591" => Ok(Some(0xff)),
        "ascii" | "usascii" => Ok(Some(0x7f)),
        _ => Err(invalid(format!("unknown encoding: {encoding}"))),
    }
}

pub(in super::super) fn call_bytes(value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let bytes = value.as_bytes().unwrap_or_default();
    match method {
        "decode" => {
            let [encoding, errors] = bind(args, ["encoding", "errors"])?;
            let encoding = encoding.as_ref().map_or(Ok("utf-8"), string)?;
            let errors = errors.as_ref().map_or(Ok("strict"), string)?;
            let is_within = |largest: u32| bytes.iter().all(|byte| u32::from(*byte) <= largest);
            match largest(encoding)? {
                Some(largest) if is_within(largest) => {
                    Ok(Value::from(bytes.iter().map(|b| char::from(*b)).collect::<String>()))
                }
                None if errors == "replace" => Ok(Value::from(String::from_utf8_lossy(bytes).into_owned())),
                None => String::from_utf8(bytes.to_vec()).map(Value::from).map_err(|error| invalid(error.to_string())),
                Some(_) => Err(invalid(format!("`{encoding}` cannot decode these bytes"))),
            }
        }
        "hex" => {
            let [] = bind(args, [])?;
            Ok(Value::from(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
        }
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}
