//! What a layer may know besides its input, handed down every `forward(x, ctx)`.

use std::ops::Range;
use std::sync::Arc;

use kernels::{Compute, DropoutMask, Layout, Noise, Offsets, Phase, Precision};

use crate::Routes;

#[derive(Debug, Clone)]
pub struct ForwardContext {
    layout: Arc<Layout>,
    noise: Option<Noise>,
    compute: Compute,
    routes: Routes,
}

impl ForwardContext {
    /// `noise` is there in training and absent in evaluation.
    pub fn new(layout: Arc<Layout>, noise: Option<Noise>) -> Self {
        Self { layout, noise, compute: Compute::default(), routes: Routes::default() }
    }

    /// The same with products in another precision.
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { compute: Compute { precision, ..self.compute }, ..self }
    }

    /// The same in another phase.
    pub fn with_phase(self, phase: Phase) -> Self {
        Self { compute: Compute { phase, ..self.compute }, ..self }
    }

    /// The same with these rows going through adapters beside those of the model. There is no gradient then.
    pub fn with_routes(self, routes: Routes) -> Self {
        Self { routes, ..self }
    }

    pub fn routes(&self) -> &Routes {
        &self.routes
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
        self.layout.dropout_mask(self.noise, probability, site)
    }

    /// The pass for a table of `rows` rows that all sequences read, which go through [one adapter](Self::by_adapter). Dropout treats
    /// it alike in every micro-batch of a step, and as no sequence.
    pub fn of_table(&self, rows: usize) -> Self {
        const NO_SEQUENCE: usize = u32::MAX as usize;
        let layout = Arc::new(Layout::new(Offsets::new(&[0, rows]), NO_SEQUENCE));
        Self { layout, routes: self.routes.of_table(rows), ..self.clone() }
    }

    /// The pass for layers behind the selection of these tokens.
    pub fn select(&self, tokens: &[usize]) -> Self {
        let routes = self.routes.select(tokens.iter().copied());
        Self { layout: Arc::new(self.layout.select(tokens)), routes, ..self.clone() }
    }

    /// The pass of some rows by themselves, through the model alone.
    pub(crate) fn of_rows(&self, rows: Range<usize>) -> Self {
        let tokens: Vec<usize> = rows.collect();
        Self { layout: Arc::new(self.layout.select(&tokens)), routes: Routes::default(), ..self.clone() }
    }

    /// Consecutive sequences that go through the same adapter, with their rows, for what one adapter's sequences have in common. Of
    /// sequences without earlier tokens in a cache.
    pub fn by_adapter(&self) -> Vec<(Range<usize>, Self)> {
        let sequences = self.layout.queries();
        let is_first = |sequence: &usize| {
            *sequence == 0
                || self.routes.changes_between(sequences.range(sequence - 1).start, sequences.range(*sequence).start)
        };
        let firsts: Vec<usize> = (0..sequences.sequences()).filter(is_first).collect();
        let ends = firsts.iter().skip(1).copied().chain([sequences.sequences()]);
        let part = |(first, end): (&usize, usize)| {
            let rows = sequences.range(*first).start..sequences.range(end - 1).end;
            let layout = Arc::new(self.layout.sequences(*first..end));
            (rows.clone(), Self { layout, routes: self.routes.select(rows), ..self.clone() })
        };
        firsts.iter().zip(ends).map(part).collect()
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
