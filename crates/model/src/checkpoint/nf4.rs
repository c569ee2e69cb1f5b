//! Matrices in nf4: codes, and beside them scales, maps and a JSON with the rest. Reference: `Params4bit` in bitsandbytes.

use kernels::Nf4Parts;
use safetensors::Dtype;
use serde::Deserialize;

use super::quantised::{Packed, floats};
use super::{Checkpoint, CheckpointError, Entry};

/// What the JSON's name ends in; so that of fp4 does in `fp4`.
const STATE: &str = ".quant_state.bitsandbytes__nf4";

const ABSMAX: &str = ".absmax";
const MAP: &str = ".quant_map";
const NESTED_ABSMAX: &str = ".nested_absmax";
const NESTED_MAP: &str = ".nested_quant_map";

/// Scales that share a scale in turn.
const NESTED_BLOCK: usize = 256;

/// The tensors of a matrix in nf4.
#[derive(Debug, Clone)]
pub(crate) struct Nf4 {
    absmax: Entry,
    nested: Option<Nested>,
}

/// What scales that are quantised in turn need.
#[derive(Debug, Clone)]
struct Nested {
    scales: Entry,
    offset: f32,
    map: Option<Entry>,
}

/// The JSON, as far as it has a bearing on the values.
#[derive(Debug, Deserialize)]
struct State {
    blocksize: usize,
    shape: Vec<usize>,
    #[serde(default)]
    nested_blocksize: Option<usize>,
    #[serde(default)]
    nested_offset: Option<f32>,
}

impl Checkpoint {
    /// Takes what belongs to matrices in nf4 out of the entries, whose codes are left with the shapes of the matrices.
    pub(super) fn collect_nf4(&mut self) -> Result<(), CheckpointError> {
        let names: Vec<String> =
            self.entries.keys().filter_map(|name| name.strip_suffix(STATE)).map(Into::into).collect();
        for name in names {
            let Some(state) = self.entries.shift_remove(&format!("{name}{STATE}")) else { continue };
            let file = self.file(&state).to_path_buf();
            let wrong = |reason: String| CheckpointError::Quantised {
                file: file.clone(),
                tensor: name.clone(),
                dtype: "nf4",
                reason,
            };
            let state: State = serde_json::from_slice(&self.bytes(&state)).map_err(|error| wrong(error.to_string()))?;
            let mut take = |ending: &str| self.entries.shift_remove(&format!("{name}{ending}"));
            let [absmax, map, nested, nested_map] = [ABSMAX, MAP, NESTED_ABSMAX, NESTED_MAP].map(&mut take);
            let absmax = absmax.ok_or_else(|| wrong(format!("`{name}{ABSMAX}` is missing")))?;
            let nested = match nested {
                Some(scales) => {
                    let offset = state.nested_offset.ok_or_else(|| wrong("`nested_offset` is missing".to_string()))?;
                    Some(Nested { scales, offset, map: nested_map })
                }
                None => None,
            };
            let nf4 = Nf4 { absmax, nested };
            self.check_nf4(&name, &nf4, &state).map_err(&wrong)?;
            self.check_maps(&name, &nf4, map.as_ref()).map_err(wrong)?;
            if let Some(codes) = self.entries.get_mut(&name) {
                codes.shape = state.shape;
            }
            self.packed.insert(name, Packed::Nf4(nf4));
        }
        Ok(())
    }

    /// What is wrong with the tensors of a matrix: they must be of one matrix, in blocks of the sizes that bitsandbytes has by default.
    fn check_nf4(&self, name: &str, nf4: &Nf4, state: &State) -> Result<(), String> {
        let expected = |what: &str, found: usize, expected: usize| match found == expected {
            true => Ok(()),
            false => Err(format!("{what} is {found}, this version reads {expected}")),
        };
        expected("`blocksize`", state.blocksize, 64)?;
        let &[rows, columns] = &state.shape[..] else { return Err("its shape is not that of a matrix".to_string()) };
        let codes = self.entries.get(name).ok_or_else(|| format!("`{name}` is missing"))?;
        let no_codes = || format!("`{name}` has not the codes of [{rows}, {columns}]");
        // The JSON may say anything.
        let count = rows.checked_mul(columns).ok_or_else(no_codes)?;
        let blocks = count.div_ceil(64);
        if !is(codes, Dtype::U8, count.div_ceil(2)) {
            return Err(no_codes());
        }
        let has_scales = match &nf4.nested {
            Some(Nested { scales, .. }) => {
                expected("`nested_blocksize`", state.nested_blocksize.unwrap_or(NESTED_BLOCK), NESTED_BLOCK)?;
                is(&nf4.absmax, Dtype::U8, blocks) && is(scales, Dtype::F32, blocks.div_ceil(NESTED_BLOCK))
            }
            None => is(&nf4.absmax, Dtype::F32, blocks),
        };
        if !has_scales {
            return Err(format!("its scales are not those of [{rows}, {columns}]"));
        }
        let (ending, scales) = match &nf4.nested {
            Some(Nested { scales, offset, .. }) => {
                (NESTED_ABSMAX, [floats(&self.bytes(scales)), vec![*offset]].concat())
            }
            None => (ABSMAX, floats(&self.bytes(&nf4.absmax))),
        };
        if !scales.iter().all(|scale| scale.is_finite()) {
            return Err(format!("`{name}{ending}` has scales that are NaN or infinite"));
        }
        Ok(())
    }

    /// What is wrong with the maps of a matrix: that of its values must be bitsandbytes' own, that of its scales may be any.
    fn check_maps(&self, name: &str, nf4: &Nf4, map: Option<&Entry>) -> Result<(), String> {
        if let Some(map) = map {
            if !is(map, Dtype::F32, kernels::NF4_VALUES.len()) {
                return Err(format!("`{name}{MAP}` has not 16 values in F32"));
            }
            let values = floats(&self.bytes(map));
            let mut both = values.iter().zip(kernels::NF4_VALUES).enumerate();
            if let Some((at, (found, known))) = both.find(|(_, (found, known))| *found != known) {
                return Err(format!("`{name}{MAP}` has {found} at {at}, where bitsandbytes has {known}"));
            }
        }
        let nested_map = nf4.nested.as_ref().and_then(|nested| nested.map.as_ref());
        let is_map =
            |map: &Entry| is(map, Dtype::F32, 256) && floats(&self.bytes(map)).iter().all(|value| value.is_finite());
        match nested_map.is_none_or(is_map) {
            true => Ok(()),
            false => Err(format!("`{name}{NESTED_MAP}` has not 256 finite values in F32")),
        }
    }

    /// The codes and scales of a matrix.
    pub(super) fn nf4_parts(&self, nf4: &Nf4, codes: &Entry) -> Nf4Parts {
        let Nf4 { absmax, nested } = nf4;
        let codes = self.shared(codes);
        let Some(Nested { scales, offset, map }) = nested else {
            return Nf4Parts { codes, scale_codes: None, scales: floats(&self.bytes(absmax)), offset: 0.0 };
        };
        let (scales, offset) = (floats(&self.bytes(scales)), *offset);
        // What bitsandbytes makes the map of is torch's, whose last bits are those of the processor that it ran on.
        let map = map.as_ref().map(|map| floats(&self.bytes(map)));
        match map.filter(|map| map[..] != kernels::dynamic_map()[..]) {
            None => Nf4Parts { codes, scale_codes: Some(self.shared(absmax)), scales, offset },
            Some(map) => {
                let scale =
                    |(block, code): (usize, &u8)| map[usize::from(*code)] * scales[block / NESTED_BLOCK] + offset;
                let scales = self.bytes(absmax).iter().enumerate().map(scale).collect();
                Nf4Parts { codes, scale_codes: None, scales, offset: 0.0 }
            }
        }
    }
}

fn is(entry: &Entry, dtype: Dtype, count: usize) -> bool {
    entry.dtype == dtype && entry.shape.iter().product::<usize>() == count
}
