//! What a layer may know besides its input, handed down every `forward(x, ctx)`.

use std::sync::Arc;

use kernels::{DropoutMask, Layout, Noise, Offsets, Precision};

#[derive(Debug, Clone)]
pub struct ForwardContext {
    layout: Arc<Layout>,
    noise: Option<Noise>,
    precision: Precision,
}

impl ForwardContext {
    /// `noise` is there in training and absent in evaluation.
    pub fn new(layout: Arc<Layout>, noise: Option<Noise>) -> Self {
        Self { layout, noise, precision: Precision::F32 }
    }

    /// The same with products in another precision.
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Of products with frozen weights.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The dropout of the module `site`, or `None` where nothing is to be dropped.
    pub fn dropout_mask(&self, probability: f64, site: u64) -> Option<DropoutMask> {
        self.layout.dropout_mask(self.noise, probability, site)
    }

    /// The pass for a table of `rows` rows that all sequences read. Dropout treats it alike in every micro-batch of a step, and as no
    /// sequence.
    pub fn of_table(&self, rows: usize) -> Self {
        const NO_SEQUENCE: usize = u32::MAX as usize;
        Self { layout: Arc::new(Layout::new(Offsets::new(&[0, rows]), NO_SEQUENCE)), ..self.clone() }
    }

    /// The pass for layers behind the selection of these tokens.
    pub fn select(&self, tokens: &[usize]) -> Self {
        Self { layout: Arc::new(self.layout.select(tokens)), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};
    use kernels::dropout;

    use super::*;

    #[test]
    fn dropout_treats_a_table_alike_whatever_sequences_read_it_and_as_none_of_them() {
        let noise = Noise { seed: 3, step: 2 };
        let context = |offsets: &[usize], first_row| {
            ForwardContext::new(Arc::new(Layout::new(Offsets::new(offsets), first_row)), Some(noise))
        };
        let factors = |ctx: &ForwardContext| {
            let ones = Tensor::<2>::ones([6, 16], &Device::flex());
            dropout(ones, ctx.dropout_mask(0.5, 7)).into_data().try_to_vec::<f32>().unwrap()
        };
        let one = context(&[0, 6], 0);
        assert_eq!(factors(&one.of_table(6)), factors(&context(&[0, 2, 5], 4).of_table(6)));
        assert_ne!(factors(&one.of_table(6)), factors(&one));
    }
}
