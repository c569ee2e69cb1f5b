//! Hashes of files that were written, by which damage is found.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The key of a sealed document's own hash.
const SEAL: &str = "sha256";

/// SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> io::Result<String> {
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hexadecimal(hash)),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// The document with a hash of the rest of it as its last key.
pub fn seal(document: &impl Serialize) -> serde_json::Result<Value> {
    let mut keys: Map<String, Value> = serde_json::from_value(serde_json::to_value(document)?)?;
    let hash = hash_of(&keys);
    keys.insert(SEAL.to_string(), Value::String(hash));
    Ok(Value::Object(keys))
}

/// What was sealed; `None` where it was changed since. A document without a seal is from a version that had none.
pub fn sealed(text: &str) -> Option<Value> {
    let mut keys: Map<String, Value> = json::parse(text.as_bytes()).ok()?;
    match keys.shift_remove(SEAL) {
        Some(seal) if seal != hash_of(&keys).as_str() => None,
        _ => Some(Value::Object(keys)),
    }
}

fn hash_of(keys: &Map<String, Value>) -> String {
    let mut hash = Sha256::new();
    hash.update(serde_json::to_vec(keys).unwrap_or_default());
    hexadecimal(hash)
}

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn any_bit_that_flips_in_a_sealed_document_is_found_or_changes_nothing() {
        let document = json!({ "step": 12, "loss": 0.1, "probe": [1.5, -2e-7], "best": null, "name": "a" });
        let text = serde_json::to_string_pretty(&seal(&document).unwrap()).unwrap();
        assert_eq!(sealed(&text), Some(document.clone()));
        for bit in 0..8 * text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flipped = String::from_utf8_lossy(&bytes);
            // A version that knew no seal wrote the same without one.
            let has_seal = flipped.contains(SEAL);
            assert!(sealed(&flipped).is_none_or(|found| found == document || !has_seal), "bit {bit}: {flipped}");
        }
    }
}
