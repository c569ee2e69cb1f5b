//! What a layer may know besides its input, handed down every `forward(x, pass)`.

use std::sync::Arc;

use crate::{Layout, Mask, Noise};

#[derive(Debug, Clone)]
pub struct Pass {
    layout: Arc<Layout>,
    noise: Option<Noise>,
}

impl Pass {
    /// `noise` is there in training and absent in evaluation.
    pub fn new(layout: Arc<Layout>, noise: Option<Noise>) -> Self {
        Self { layout, noise }
    }

    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The dropout of the module `site`, or `None` where nothing is to be dropped.
    pub fn mask(&self, probability: f64, site: u64) -> Option<Mask> {
        let noise = self.noise.filter(|_| probability > 0.0)?;
        Some(Mask::new(noise, site, probability as f32, self.layout.rows().clone()))
    }

    /// The pass for layers behind the selection of these tokens.
    pub fn select(&self, tokens: &[usize]) -> Self {
        Self { layout: Arc::new(self.layout.select(tokens)), noise: self.noise }
    }
}
