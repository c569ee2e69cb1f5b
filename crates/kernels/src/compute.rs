//! How the products of a pass are computed: in what precision, and in which order their sums run.

use crate::Precision;

/// What a pass over a model is for. Within a phase a row's result does not depend on the number of other rows, bit for bit; between the
/// phases it may differ in its last bits, since sums run in different orders.
///
/// On the CPU alone: other backends compute both alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Many tokens at a time: training, evaluation, prompts.
    #[default]
    Prefill,
    /// The next token of each sequence: few rows, whose products wait for the weights to be read.
    Decode,
}

/// How products with weights are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compute {
    /// Of products with frozen weights.
    pub precision: Precision,
    pub phase: Phase,
}
