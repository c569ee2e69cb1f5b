//! What a bottleneck adapter does to its module: the output of a sublayer gets what a network makes of it, which is no weight's.

use crate::Form;

/// `down: [inner, d]`, an activation function, `up: [d, inner]`.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) down: String,
    pub(super) up: String,
}

impl Form for Network {
    fn tensors(&self) -> Vec<&str> {
        vec![&self.down, &self.up]
    }

    /// As if its activation function were the identity.
    fn measured_by(&self) -> Option<([&str; 2], f64)> {
        Some(([&self.down, &self.up], 1.0))
    }
}
