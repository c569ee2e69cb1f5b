//! A checkpoint's fingerprint: what a run and an adapter remember of their base.

use sha2::{Digest, Sha256};

use super::Checkpoint;

/// Of each tensor this much at its start, middle and end is hashed: any retrained weight shows, in milliseconds.
const SAMPLE: usize = 4096;

impl Checkpoint {
    /// SHA-256 over names, types, shapes and samples of all tensors, in hexadecimal. It does not depend on how the tensors
    /// are spread over shards.
    pub(crate) fn fingerprint(&self) -> String {
        let mut names: Vec<&str> = self.names().collect();
        names.sort_unstable();
        let mut hash = Sha256::new();
        for name in names {
            let Some(entry) = self.entry(name) else { continue };
            hash.update(format!("{name} {:?} {:?}\n", entry.dtype, entry.shape));
            let bytes = self.bytes(entry);
            let middle = bytes.len() / 2;
            for start in [0, middle.saturating_sub(SAMPLE / 2), bytes.len().saturating_sub(SAMPLE)] {
                hash.update(&bytes[start..(start + SAMPLE).min(bytes.len())]);
            }
            // The system reads more of the map than is looked at.
            self.release_pages();
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
