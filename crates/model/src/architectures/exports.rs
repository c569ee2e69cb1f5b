//! What other programs call the parts of a model: each architecture says it in its own file, the names of its tensors in one table.

use gguf::Value;

use crate::config::{Config, ConfigError};
use crate::head::Head;

/// The programs that models and adapters of an architecture are exported for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exports {
    /// For llama.cpp; `None` where it does not have the architecture, or where nobody has compared it there.
    pub(crate) gguf: Option<DescribeGguf>,
    /// For llama.cpp without any head: of encoders, whose embeddings are of use there.
    pub(crate) encoder: Option<DescribeEncoder>,
    /// Whether mlx-lm has the architecture under the names that Transformers gives its modules.
    pub(crate) mlx: bool,
}

/// # Errors
/// What llama.cpp computes otherwise than `config.json` asks for.
pub(crate) type DescribeGguf = fn(&Config, Head) -> Result<GgufModel, ConfigError>;

/// # Errors
/// What llama.cpp computes otherwise than `config.json` asks for.
pub(crate) type DescribeEncoder = fn(&Config) -> Result<GgufModel, ConfigError>;

impl Exports {
    pub(crate) const NONE: Self = Self { gguf: None, encoder: None, mlx: false };

    /// For both.
    pub(crate) const fn both(gguf: DescribeGguf) -> Self {
        Self { gguf: Some(gguf), encoder: None, mlx: true }
    }

    pub(crate) const fn gguf(gguf: DescribeGguf) -> Self {
        Self { gguf: Some(gguf), encoder: None, mlx: false }
    }
}

/// A model as llama.cpp has it. Reference: `conversion/` and `gguf-py/gguf/tensor_mapping.py` in llama.cpp.
#[derive(Debug)]
pub(crate) struct GgufModel {
    /// `general.architecture`
    pub(crate) architecture: &'static str,
    /// Metadata below the architecture's name.
    pub(crate) settings: Vec<(&'static str, Value)>,
    /// Metadata of other names.
    pub(crate) metadata: Vec<(&'static str, Value)>,
    /// The modules, each once.
    pub(crate) modules: Vec<GgufModule>,
    /// Modules that llama.cpp has no place for and can do without, by how their names begin.
    pub(crate) left_out: &'static [&'static str],
    /// Vectors that no checkpoint has.
    pub(crate) added: Vec<(&'static str, Vec<f32>)>,
    /// What whoever uses the file should know.
    pub(crate) notes: Vec<String>,
}

/// A module under both its names, in which `*` stands for the number of a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GgufModule {
    /// In Transformers.
    pub(crate) module: &'static str,
    pub(crate) name: &'static str,
    pub(crate) layout: Layout,
}

/// How a weight lies in the file, other than in Transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    AsIs,
    /// Of a `Conv1D`: `[d_output, d_input]`.
    Transposed,
    /// Outputs are of so many heads, and in each the two coordinates that turn together are neighbours, where Transformers has all the
    /// first ones before all the second.
    Interleaved(usize),
}

/// A table of modules that lie as they do in Transformers.
pub(crate) fn modules(table: &[(&'static str, &'static str)]) -> Vec<GgufModule> {
    table.iter().map(|&(module, name)| GgufModule { module, name, layout: Layout::AsIs }).collect()
}

impl GgufModel {
    /// With another layout of one of its modules.
    pub(crate) fn lay(&mut self, module: &str, layout: Layout) {
        self.modules.iter_mut().filter(|it| it.module == module).for_each(|it| it.layout = layout);
    }

    /// The name in the file of a module, and how it lies there.
    pub(crate) fn find(&self, module: &str) -> Option<(String, Layout)> {
        let found = |it: &GgufModule| {
            let (before, after) = match it.module.split_once('*') {
                None => return (it.module == module).then(|| it.name.to_owned()),
                Some(around) => around,
            };
            let layer = module.strip_prefix(before)?.strip_suffix(after)?;
            let is_number = !layer.is_empty() && layer.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| it.name.replacen('*', layer, 1))
        };
        self.modules.iter().find_map(|it| Some((found(it)?, it.layout)))
    }
}

impl Layout {
    pub(crate) fn shape(self, shape: &[usize]) -> Vec<usize> {
        match (self, shape) {
            (Self::Transposed, &[rows, columns]) => vec![columns, rows],
            _ => shape.to_vec(),
        }
    }

    /// The values of a tensor of this shape as they lie in the file.
    pub(crate) fn apply(self, values: Vec<f32>, shape: &[usize]) -> Vec<f32> {
        let columns: usize = shape.iter().skip(1).product();
        match (self, shape) {
            (Self::AsIs, _) => values,
            (Self::Transposed, &[rows, columns]) => transposed(&values, rows, columns),
            // A bias lies as it did.
            (Self::Transposed, _) => values,
            (Self::Interleaved(heads), _) => by_rows(&values, columns, |row| {
                let head = shape[0] / heads.max(1);
                let (base, within) = (row / head * head, row % head);
                base + within % 2 * (head / 2) + within / 2
            }),
        }
    }
}

/// Rows in another order: which of them comes to be in each row.
fn by_rows(values: &[f32], columns: usize, from: impl Fn(usize) -> usize) -> Vec<f32> {
    let rows = values.len() / columns.max(1);
    (0..rows).flat_map(|row| values[from(row) * columns..][..columns].iter().copied()).collect()
}

/// Of `[rows, columns]`.
pub(crate) fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_that_turn_together_become_neighbours() {
        // Two heads of four coordinates, of which 0 and 2, 1 and 3 turn together.
        let values: Vec<f32> = (0..8).map(|row| row as f32).collect();
        let laid = Layout::Interleaved(2).apply(values, &[8]);
        assert_eq!(laid, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
        // Whole rows move.
        let laid = Layout::Interleaved(1).apply((0..8).map(|value| value as f32).collect(), &[4, 2]);
        assert_eq!(laid, [0.0, 1.0, 4.0, 5.0, 2.0, 3.0, 6.0, 7.0]);
    }

    #[test]
    fn a_conv1d_is_transposed_and_its_bias_is_not() {
        let values: Vec<f32> = (0..6).map(|value| value as f32).collect();
        assert_eq!(Layout::Transposed.shape(&[2, 3]), [3, 2]);
        let laid = Layout::Transposed.apply(values.clone(), &[2, 3]);
        assert_eq!(laid, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(Layout::Transposed.apply(values.clone(), &[6]), values);
    }
}
