//! Matrices in int8: codes, and beside them in `SCB` a scale for each row. Reference: `Linear8bitLt` in bitsandbytes.

use safetensors::Dtype;

use super::quantised::{Packed, floats};
use super::{Checkpoint, CheckpointError};

const SCALES: &str = ".SCB";

/// How the codes lie: 0 is row by row, others were for tensor cores and are no longer written.
const FORMAT: &str = ".weight_format";

impl Checkpoint {
    /// Takes what belongs to matrices in int8 out of the entries.
    pub(super) fn collect_int8(&mut self) -> Result<(), CheckpointError> {
        let names: Vec<String> =
            self.entries.keys().filter_map(|name| name.strip_suffix(SCALES)).map(Into::into).collect();
        for module in names {
            let Some(scales) = self.entries.shift_remove(&format!("{module}{SCALES}")) else { continue };
            let format = self.entries.shift_remove(&format!("{module}{FORMAT}"));
            let (file, name) = (self.file(&scales).to_path_buf(), format!("{module}.weight"));
            let wrong = |reason: String| CheckpointError::Quantised {
                file: file.clone(),
                tensor: name.clone(),
                dtype: "int8",
                reason,
            };
            let Some(codes) = self.entries.get(&name) else { return Err(wrong(format!("`{name}` is missing"))) };
            let &[rows, columns] = &codes.shape[..] else {
                return Err(wrong("its shape is not that of a matrix".to_string()));
            };
            if codes.dtype != Dtype::I8 {
                return Err(wrong(format!("`{name}` is {:?}", codes.dtype)));
            }
            if format.is_some_and(|format| self.bytes(&format).iter().any(|byte| *byte != 0)) {
                return Err(wrong(format!("`{module}{FORMAT}` is not 0: its codes do not lie row by row")));
            }
            let is_scale_a_row = scales.dtype == Dtype::F32 && scales.shape.iter().product::<usize>() == rows;
            if !is_scale_a_row || !floats(&self.bytes(&scales)).iter().all(|scale| scale.is_finite()) {
                return Err(wrong(format!("`{module}{SCALES}` has not the scales of [{rows}, {columns}]")));
            }
            self.packed.insert(name, Packed::Int8 { scales });
        }
        Ok(())
    }
}
