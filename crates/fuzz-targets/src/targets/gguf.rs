//! GGUF files, as the exporter reads its own again.

use std::io::Cursor;

use gguf::Reader;

use super::{Form, Target};
use crate::corpus;

pub(super) fn targets() -> [Target; 1] {
    let seeds = || vec![corpus::file("crates/gguf/tests/fixtures/reference.gguf")];
    [Target { name: "gguf", form: Form::Bytes, seeds, run }]
}

fn run(input: &[u8]) {
    let Ok(mut reader) = Reader::new(Cursor::new(input)) else { return };
    let names: Vec<String> = reader.tensors().map(|tensor| tensor.name.clone()).collect();
    for name in names {
        let _ = reader.values(&name);
    }
}
