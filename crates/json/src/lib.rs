//! JSON of strangers, read into no more memory than its size gives reason for. A value takes 72 bytes of memory, an object
//! hundreds, and `0,` and `{},` take two and three bytes of a file: a document with far more values than it has bytes for is an error.

mod count;
mod cursor;
mod lean;

use serde::de::DeserializeOwned;
use serde_json::{Result, Value};

pub use cursor::Cursor;

/// What an error of [`parse`] says, without its place.
pub const TOO_MANY_VALUES: &str = "too many values for its size";

/// What values may come to in a document of any size, and the bytes of it that allow for one more. A value counts as one, and as two
/// under a key, an object as three more: each is at most 144 bytes of memory.
const VALUES: u64 = 400_000;
const BYTES_PER_VALUE: u64 = 8;

fn most(document: &[u8]) -> u64 {
    VALUES + document.len() as u64 / BYTES_PER_VALUE
}

/// As [`serde_json::from_slice`].
///
/// # Errors
/// Also for a document that has far more values than bytes for them; the error's place is where they become too many.
pub fn parse<T: DeserializeOwned>(document: &[u8]) -> Result<T> {
    check(document)?;
    serde_json::from_slice(document)
}

/// As [`parse`], with lists that have no room to grow: in a vocabulary's pairs that is most of them.
///
/// # Errors
/// Those of [`parse`].
pub fn value(document: &[u8]) -> Result<Value> {
    check(document)?;
    serde_json::from_slice(document).map(|lean::Lean(value)| value)
}

/// Whether a document is JSON, without memory for what is in it.
///
/// # Errors
/// Those of [`serde_json::from_slice`].
pub fn validate(document: &[u8]) -> Result<()> {
    count::count(document, u64::MAX)
}

/// That a document has no more values than [`parse`] takes; one that is not JSON may pass.
///
/// # Errors
/// Where it has more, or is not JSON.
pub fn check(document: &[u8]) -> Result<()> {
    match at_most(document) <= most(document) {
        true => Ok(()),
        false => count::count(document, most(document)),
    }
}

/// What its values come to at most: what divides them may stand in texts too. Counting bytes is many times as fast as parsing.
fn at_most(document: &[u8]) -> u64 {
    let of_byte = |byte: &u8| match byte {
        b',' | b'[' | b':' => 1,
        b'{' => 4,
        _ => 0,
    };
    1 + document.iter().map(of_byte).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(begin: &str, part: &str, times: usize, end: &str) -> Vec<u8> {
        [begin, &part.repeat(times), end].concat().into_bytes()
    }

    #[test]
    fn far_more_values_than_bytes_for_them_are_an_error_with_their_place() {
        let parts = ["0,", "{},", "[],", r#"{"a":0},"#, r#"{"a":{}},"#, "[[[[]]]],"];
        for part in parts {
            let document = repeated("[\n", part, 3_000_000 / part.len(), "0]");
            let error = parse::<Value>(&document).unwrap_err();
            assert_eq!(error.to_string().split(" at line ").next().unwrap(), TOO_MANY_VALUES, "{part}");
            assert!(error.line() == 2 && error.column() > 500_000, "{part}: {error}");
        }
        let keys: String = (0..1_000_000).map(|n| format!("\"{n}\":0,")).collect();
        assert!(parse::<Value>(&repeated("{", &keys, 1, "\"\":0}")).is_err());
    }

    #[test]
    fn documents_of_tokens_and_texts_that_look_like_values_are_read() {
        let tokens: String = (0..300_000).map(|n| format!("\"token{n}\":{n},")).collect();
        let tokens = repeated("{", &tokens, 1, "\"last\":0}");
        assert_eq!(parse::<Value>(&tokens).unwrap()["token299999"], 299_999);
        let merges = repeated("[", r#"["abcd","efg"],"#, 300_000, "0]");
        assert_eq!(parse::<Vec<Value>>(&merges).unwrap().len(), 300_001);
        let text = repeated("[\"", "[{,:", 1_000_000, "\"]");
        assert!(at_most(&text) > most(&text));
        assert_eq!(parse::<Vec<String>>(&text).unwrap()[0].len(), 4_000_000);
    }

    #[test]
    fn a_document_is_valid_where_it_can_be_parsed() {
        let documents = [
            "",
            " ",
            "0",
            "[0,]",
            "[0 1]",
            "{\"a\":}",
            "{a:0}",
            "{\"a\":0,}",
            "\"\\ud83d\"",
            "\"\\ud83d\\ude00\"",
            "1e999",
            "[1e999]",
            "-0.5e-3",
            "nul",
            "null",
            "true",
            "{\"a\":{\"b\":[null,true,\"\\n\",1.5,-3]}}",
            "[] []",
            "\"\u{1}\"",
        ];
        let deep = [126, 127, 128].map(|depth| ["[".repeat(depth), "]".repeat(depth)].concat());
        for document in documents.into_iter().chain(deep.iter().map(String::as_str)) {
            let parsed = serde_json::from_str::<Value>(document).map(|_| ()).map_err(|error| error.to_string());
            let valid = validate(document.as_bytes()).map_err(|error| error.to_string());
            assert_eq!(valid, parsed, "{document:?}");
            let lean = value(document.as_bytes()).map_err(|error| error.to_string());
            assert_eq!(lean, serde_json::from_str(document).map_err(|error| error.to_string()), "{document:?}");
        }
    }
}
