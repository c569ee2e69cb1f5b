//! What a layer may know besides its input, handed down every `forward(x, pass)`.

use std::sync::Arc;

use crate::{Compute, DropoutMask, Layout, Noise, Offsets, Phase, Precision};

#[derive(Debug, Clone)]
pub struct ForwardContext {
    layout: Arc<Layout>,
    noise: Option<Noise>,
    compute: Compute,
}

impl ForwardContext {
    /// `noise` is there in training and absent in evaluation.
    pub fn new(layout: Arc<Layout>, noise: Option<Noise>) -> Self {
        Self { layout, noise, compute: Compute::default() }
    }

    /// The same with products in another precision.
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { compute: Compute { precision, ..self.compute }, ..self }
    }

    /// The same in another phase.
    pub fn with_phase(self, phase: Phase) -> Self {
        Self { compute: Compute { phase, ..self.compute }, ..self }
    }

    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// How products are computed.
    pub fn compute(&self) -> Compute {
        self.compute
    }

    pub fn phase(&self) -> Phase {
        self.compute.phase
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_treats_a_table_alike_whatever_sequences_read_it_and_as_none_of_them() {
        let noise = Noise { seed: 3, step: 2 };
        let context = |offsets: &[usize], first_row| {
            ForwardContext::new(Arc::new(Layout::new(Offsets::new(offsets), first_row)), Some(noise))
        };
        let factors = |ctx: &ForwardContext| ctx.dropout_mask(0.5, 7).unwrap().factors(16);
        let one = context(&[0, 6], 0);
        assert_eq!(factors(&one.of_table(6)), factors(&context(&[0, 2, 5], 4).of_table(6)));
        assert_ne!(factors(&one.of_table(6)), factors(&one));
    }
}
