//! The layers of a head, described and built.

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::{Activation, LogitsTransform};
use lora::{ForwardContext, Kind, Linear, OutputLayer, Projection, Weight};

use super::{Pooling, pooling};
use crate::Error;
use crate::layers::{Dropout, LayerNorm};
use crate::loader::{Bias, Loader};

/// What a head reads, its layers before the output layer, and what becomes of the logits.
#[derive(Debug, Clone)]
pub(crate) struct HeadConfig {
    pub(crate) pooling: Pooling,
    pub(crate) layers: Vec<HeadLayer>,
    pub(crate) logits: LogitsTransform,
}

impl HeadConfig {
    /// A head whose logits stay as they are.
    pub(crate) fn new(pooling: Pooling, layers: Vec<HeadLayer>) -> Self {
        Self { pooling, layers, logits: LogitsTransform::default() }
    }
}

/// One layer of a head, by the name of its module in Transformers.
#[derive(Debug, Clone)]
pub(crate) enum HeadLayer {
    /// A linear layer with an activation function after it.
    Dense {
        name: &'static str,
        width: usize,
        activation: Activation,
        kind: Kind,
        bias: Bias,
    },
    LayerNorm {
        name: &'static str,
        epsilon: f64,
        bias: Bias,
    },
    /// The name decides its random bits: two of one head have two names.
    Dropout {
        name: &'static str,
        probability: f64,
    },
    /// The mean over the tokens of each sequence, all of which the head reads ([`Pooling::Late`]).
    Mean,
}

impl HeadLayer {
    /// A layer below the head proper, a pooler or a transform: `all-linear` adapts it like those of the backbone.
    pub(crate) fn dense(name: &'static str, width: usize, activation: Activation) -> Self {
        Self::Dense { name, width, activation, kind: Kind::Linear, bias: Bias::Yes }
    }

    /// A layer of the head that is trained in full with it, as PEFT does: `all-linear` leaves it out.
    pub(crate) fn head_dense(name: &'static str, width: usize, activation: Activation) -> Self {
        Self::Dense { name, width, activation, kind: Kind::OutputLinear, bias: Bias::Yes }
    }

    pub(crate) fn layer_norm(name: &'static str, epsilon: f64) -> Self {
        Self::LayerNorm { name, epsilon, bias: Bias::Yes }
    }

    pub(crate) fn dropout(name: &'static str, probability: f64) -> Self {
        Self::Dropout { name, probability }
    }

    /// The same layer with or without a bias, where it can have one.
    pub(crate) fn with_bias(mut self, has: Bias) -> Self {
        match &mut self {
            Self::Dense { bias, .. } | Self::LayerNorm { bias, .. } => *bias = has,
            Self::Dropout { .. } | Self::Mean => {}
        }
        self
    }
}

/// The output layer of a head: a layer of its own, or one over the vocabulary, which may be tied to the word embeddings.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Output {
    Values { module: &'static str, bias: Bias },
    Vocabulary(OutputNames),
}

/// The names of an output layer over the vocabulary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputNames {
    /// `lm_head`
    pub(crate) module: &'static str,
    /// The module that owns its bias; `None`: it has no bias. Transformers ties the bias of `module` to that.
    pub(crate) bias_of: Option<&'static str>,
}

/// The sizes that a head is built for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Of the backbone's hidden states.
    pub(crate) hidden: usize,
    pub(crate) vocabulary: usize,
    /// Values of an output layer that is not over the vocabulary.
    pub(crate) values: usize,
}

/// A head, built.
#[derive(Module, Debug)]
pub(crate) struct HeadLayers {
    layers: Vec<Layer>,
    output: OutputModule,
    #[module(skip)]
    logits: LogitsTransform,
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a head has a handful of them")]
enum Layer {
    Dense(Dense),
    LayerNorm(LayerNorm),
    Dropout(Dropout),
    Mean(Mean),
}

/// The mean over the tokens of each sequence.
#[derive(Module, Debug)]
struct Mean {}

#[derive(Module, Debug)]
struct Dense {
    linear: Linear,
    #[module(skip)]
    activation: Activation,
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a model has one")]
enum OutputModule {
    Values(Linear),
    Vocabulary(OutputLayer),
}

impl HeadLayers {
    pub(crate) fn load(root: &Loader<'_>, config: &HeadConfig, output: Output, sizes: Sizes) -> Result<Self, Error> {
        let mut d_input = sizes.hidden;
        let mut load = |layer: &HeadLayer| {
            Ok(match *layer {
                HeadLayer::Dense { name, width, activation, kind, bias } => {
                    let linear = match kind {
                        Kind::OutputLinear => root.output_linear(name, d_input, width, bias)?,
                        _ => root.linear(name, d_input, width, bias)?,
                    };
                    d_input = width;
                    Layer::Dense(Dense { linear, activation })
                }
                HeadLayer::LayerNorm { name, epsilon, bias } => {
                    Layer::LayerNorm(root.layer_norm_of(name, d_input, epsilon, bias)?)
                }
                HeadLayer::Dropout { name, probability } => Layer::Dropout(root.dropout(name, probability)),
                HeadLayer::Mean => Layer::Mean(Mean {}),
            })
        };
        let layers = config.layers.iter().map(&mut load).collect::<Result<_, Error>>()?;
        let output = match output {
            Output::Values { module, bias } => {
                OutputModule::Values(root.output_linear(module, d_input, sizes.values, bias)?)
            }
            Output::Vocabulary(names) => {
                OutputModule::Vocabulary(root.output_layer(names, [d_input, sizes.vocabulary])?)
            }
        };
        Ok(Self { layers, output, logits: config.logits })
    }

    /// What the output layer reads, `[rows, d]`, of what the backbone gives, `[rows, hidden]`, and the context for that layer.
    pub(crate) fn before_output(&self, hidden: Tensor<2>, ctx: ForwardContext) -> (Tensor<2>, ForwardContext) {
        self.layers.iter().fold((hidden, ctx), |(x, ctx), layer| match layer {
            Layer::Dense(dense) => (dense.activation.forward(dense.linear.forward(x, &ctx)), ctx),
            Layer::LayerNorm(norm) => (norm.forward(x), ctx),
            Layer::Dropout(dropout) => (dropout.forward(x, &ctx), ctx),
            Layer::Mean(_) => pooling::mean_of_examples(x, &ctx),
        })
    }

    /// `[rows, hidden]` to logits, `[rows, values]` or `[rows, vocabulary]`.
    pub(crate) fn forward(&self, hidden: Tensor<2>, words: &Weight<2>, ctx: ForwardContext) -> Tensor<2> {
        let (x, ctx) = self.before_output(hidden, ctx);
        let logits = match &self.output {
            OutputModule::Values(linear) => linear.forward(x, &ctx),
            OutputModule::Vocabulary(layer) => layer.projection(words).forward(x, &ctx),
        };
        self.logits.apply(logits)
    }

    /// The output layer over the vocabulary, with the word embeddings `words` where it is tied to them.
    pub(crate) fn vocabulary<'a>(&'a self, words: &'a Weight<2>) -> Option<VocabularyOutput<'a>> {
        match &self.output {
            OutputModule::Values(_) => None,
            OutputModule::Vocabulary(layer) => {
                Some(VocabularyOutput { projection: layer.projection(words), logits: self.logits })
            }
        }
    }
}

/// The output layer of a language model with its weight at hand, and what becomes of its logits.
#[derive(Debug, Clone, Copy)]
pub struct VocabularyOutput<'a> {
    projection: Projection<'a>,
    logits: LogitsTransform,
}

impl VocabularyOutput<'_> {
    /// Whether nothing of it is trained.
    pub fn is_frozen(&self) -> bool {
        self.projection.is_frozen()
    }

    /// Losses in nats and margins of the rows `x: [rows, d]`, as [`kernels::linear_cross_entropy`] has them. The logits of all
    /// rows are held unless the layer [is frozen](Self::is_frozen).
    pub fn cross_entropy(&self, x: Tensor<2>, targets: &[usize], ctx: &ForwardContext) -> (Tensor<1>, Tensor<1>) {
        self.projection.cross_entropy(x, targets, self.logits, ctx)
    }
}
