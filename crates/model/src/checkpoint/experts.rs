//! Experts that a checkpoint joins in one tensor, as Transformers 5 has them in memory: each is a part of the file, under the name it
//! has where experts are stored one by one.

use super::{Checkpoint, Entry};

impl Checkpoint {
    /// The parts of a joined tensor, by name: of `experts.gate_up_proj`, `[experts, 2 * inner, hidden]`, each expert's `gate_proj` and
    /// then its `up_proj`; of `experts.down_proj`, `[experts, hidden, inner]`, each expert's. `None` of another tensor.
    pub(super) fn experts_of(name: &str, entry: &Entry) -> Option<Vec<(String, Entry)>> {
        let (experts, joined) = name.rsplit_once('.').filter(|(experts, _)| experts.ends_with(".experts"))?;
        let layers: &[&str] = match joined {
            "gate_up_proj" => &["gate_proj", "up_proj"],
            "down_proj" => &["down_proj"],
            _ => return None,
        };
        let &[count, rows, columns] = entry.shape.as_slice() else { return None };
        let parts = count * layers.len();
        if parts == 0 || !rows.is_multiple_of(layers.len()) || !entry.range.len().is_multiple_of(parts) {
            return None;
        }
        let (shape, bytes) = (vec![rows / layers.len(), columns], entry.range.len() / parts);
        let of_part = |part: usize| {
            let (expert, layer) = (part / layers.len(), layers[part % layers.len()]);
            let start = entry.range.start + part * bytes;
            (
                format!("{experts}.{expert}.{layer}.weight"),
                Entry { shape: shape.clone(), range: start..start + bytes, ..*entry },
            )
        };
        Some((0..parts).map(of_part).collect())
    }
}
