//! Which hidden states a head reads.

use burn::tensor::Tensor;
use kernels::Offsets;
use lora::ForwardContext;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// The first token of each sequence, as classifiers on encoders do.
    First,
    /// The last token of each sequence, as classifiers on decoders do: there is no padding whose side could be wrong.
    Last,
    /// The mean over the tokens of each sequence.
    Mean,
    /// All tokens of each sequence: a layer of the head takes their mean.
    Late,
    /// The tokens that are asked about.
    Rows,
}

impl Pooling {
    /// The tokens whose last hidden states are needed.
    pub(crate) fn rows(self, asked: &[usize], sequences: &Offsets) -> Vec<usize> {
        match self {
            Self::First => sequences.starts().to_vec(),
            Self::Last => last_tokens(sequences),
            Self::Mean | Self::Late => (0..sequences.tokens()).collect(),
            Self::Rows => asked.to_vec(),
        }
    }

    /// What a head reads of the hidden states `[rows, hidden]` of these tokens, with the context for it. `sequences` are those
    /// of the whole batch.
    pub(crate) fn pool(
        self,
        hidden: Tensor<2>,
        ctx: ForwardContext,
        sequences: &Offsets,
    ) -> (Tensor<2>, ForwardContext) {
        match self {
            Self::First | Self::Last | Self::Late | Self::Rows => (hidden, ctx),
            Self::Mean => mean(hidden, &ctx, sequences),
        }
    }
}

/// The mean of each sequence's rows, `[tokens, d]` to `[sequences, d]`, with the context of their first tokens.
fn mean(hidden: Tensor<2>, ctx: &ForwardContext, sequences: &Offsets) -> (Tensor<2>, ForwardContext) {
    let of = |sequence| {
        let tokens = sequences.range(sequence);
        hidden.clone().narrow(0, tokens.start, tokens.len()).mean_dim(0)
    };
    let means = (0..sequences.sequences()).map(of).collect();
    (Tensor::cat(means, 0), ctx.select(sequences.starts()))
}

/// The mean over the rows of each example, as `ctx` has them: what [`Pooling::Late`] leaves to a layer of the head.
pub(super) fn mean_of_examples(hidden: Tensor<2>, ctx: &ForwardContext) -> (Tensor<2>, ForwardContext) {
    let rows = ctx.layout().rows();
    // A row key begins with the number of the example.
    let begins = |row: &usize| *row == 0 || rows[*row] >> 32 != rows[row - 1] >> 32;
    let offsets: Vec<usize> = (0..rows.len()).filter(begins).chain([rows.len()]).collect();
    mean(hidden, ctx, &Offsets::new(&offsets))
}

/// The last token of each sequence.
fn last_tokens(sequences: &Offsets) -> Vec<usize> {
    (0..sequences.sequences()).map(|sequence| sequences.range(sequence).end - 1).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::tensor::Device;
    use kernels::Layout;

    use super::*;

    #[test]
    fn each_pooling_reads_its_tokens_of_sequences_of_different_lengths() {
        let sequences = Offsets::new(&[0, 3, 4, 6]);
        assert_eq!(Pooling::First.rows(&[1, 5], &sequences), [0, 3, 4]);
        assert_eq!(Pooling::Last.rows(&[1, 5], &sequences), [2, 3, 5]);
        assert_eq!(Pooling::Mean.rows(&[1, 5], &sequences), [0, 1, 2, 3, 4, 5]);
        assert_eq!(Pooling::Late.rows(&[1, 5], &sequences), [0, 1, 2, 3, 4, 5]);
        assert_eq!(Pooling::Rows.rows(&[1, 5], &sequences), [1, 5]);
    }

    #[test]
    fn the_mean_is_that_of_each_sequence_by_itself() {
        let sequences = Offsets::new(&[0, 3, 4, 6]);
        let layout = Arc::new(Layout::new(sequences.clone(), 7));
        let rows = [[1.0, 0.0], [2.0, 6.0], [6.0, 0.0], [5.0, -1.0], [0.5, 1.0], [1.5, 3.0]];
        let hidden = Tensor::<2>::from_data(rows, &Device::flex());
        let all = ForwardContext::new(layout.clone(), None);
        let late = Pooling::Late.pool(hidden.clone(), all.select(&[0, 1, 2, 3, 4, 5]), &sequences);
        for (pooled, ctx) in [Pooling::Mean.pool(hidden, all, &sequences), mean_of_examples(late.0, &late.1)] {
            assert_eq!(pooled.into_data().try_to_vec::<f32>().unwrap(), [3.0, 2.0, 5.0, -1.0, 1.0, 2.0]);
            // Dropout of what follows knows them as the first tokens of their examples.
            assert_eq!(ctx.layout().rows()[..], [layout.rows()[0], layout.rows()[3], layout.rows()[4]]);
        }
    }
}
