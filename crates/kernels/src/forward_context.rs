//! What a layer may know besides its input, handed down every `forward(x, pass)`.

use std::sync::Arc;

use crate::{DropoutMask, Layout, Noise, Offsets, Precision};

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
        let noise = self.noise.filter(|_| probability > 0.0)?;
        Some(DropoutMask::new(noise, site, probability as f32, self.layout.rows().clone()))
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
