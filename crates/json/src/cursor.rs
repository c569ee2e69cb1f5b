//! A document gone through piece by piece, so that a list of any length is read an element at a time.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Deserializer, Result};

/// A place in a document. What [`validate`](crate::validate) passes is read without an error.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    document: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// `at` counts bytes.
    pub fn new(document: &'a str, at: usize) -> Self {
        Self { document, at }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a str {
        self.document.get(self.at..).unwrap_or_default()
    }

    /// The next byte that is not white space; the place moves up to it.
    pub fn peek(&mut self) -> Option<u8> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_ascii_start().len();
        self.rest().bytes().next()
    }

    /// Goes past `byte`, and tells whether it stood there.
    pub fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    /// The next value; none at the end of the document.
    pub fn value<V: Deserialize<'a>>(&mut self) -> Option<Result<V>> {
        let mut values = Deserializer::from_str(self.rest()).into_iter();
        let value = values.next();
        self.at += values.byte_offset();
        value
    }

    /// Goes past the next value, and returns its text.
    pub fn text(&mut self) -> Option<Result<&'a str>> {
        let rest = self.rest();
        let begin = self.at;
        let value = self.value::<IgnoredAny>()?;
        Some(value.map(|_| &rest[..self.at - begin]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_objects_are_read_piece_by_piece() {
        let mut cursor = Cursor::new(" { \"a\\u0062\" : [1 ,\"x\",{}\n] , \"c\":null}", 0);
        assert!(cursor.take(b'{') && !cursor.take(b'{'));
        assert_eq!(cursor.value::<String>().unwrap().unwrap(), "ab");
        assert!(cursor.take(b':') && cursor.take(b'['));
        assert_eq!(cursor.value::<u8>().unwrap().unwrap(), 1);
        assert!(cursor.take(b','));
        assert_eq!(cursor.text().unwrap().unwrap(), "\"x\"");
        assert!(cursor.take(b','));
        assert_eq!(cursor.text().unwrap().unwrap(), "{}");
        assert!(cursor.take(b']') && cursor.take(b','));
        assert_eq!(cursor.value::<String>().unwrap().unwrap(), "c");
        assert!(cursor.take(b':') && cursor.text().unwrap().is_ok() && cursor.take(b'}'));
        assert!(cursor.peek().is_none() && cursor.value::<u8>().is_none());
    }

    #[test]
    fn what_is_no_value_is_an_error() {
        assert!(Cursor::new("[1, }", 0).text().unwrap().is_err());
        assert!(Cursor::new("1x", 0).value::<u8>().unwrap().is_err());
    }
}
