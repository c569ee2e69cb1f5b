//! What a model reads: token ids of several sequences, end to end.

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};
use kernels::Layout;

#[derive(Debug, Clone)]
pub struct Tokens {
    /// `[tokens]`
    pub(crate) ids: Tensor<1, Int>,
    /// `[tokens]`, from 0 in each sequence
    pub(crate) positions: Tensor<1, Int>,
    /// `[tokens]`, BERT's token types
    pub(crate) segments: Tensor<1, Int>,
    layout: Arc<Layout>,
}

impl Tokens {
    /// `ids` and `segments` have an entry for each token of the layout.
    pub fn new(ids: &[u32], segments: &[u32], layout: Arc<Layout>, device: &Device) -> Self {
        // Row keys end in the position within the sequence.
        let positions: Vec<i32> = layout.rows().iter().map(|row| *row as u32 as i32).collect();
        let tensor = |values: Vec<i32>| {
            let count = values.len();
            Tensor::from_data(TensorData::new(values, [count]), device)
        };
        let signed = |values: &[u32]| values.iter().map(|value| *value as i32).collect();
        Self { ids: tensor(signed(ids)), positions: tensor(positions), segments: tensor(signed(segments)), layout }
    }

    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }
}
