//! Activation functions by the names that `config.json` uses. Reference: `ACT2FN` in Transformers.

use std::str::FromStr;

use burn::tensor::{Tensor, activation};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// With the error function.
    Gelu,
    /// The approximation by a hyperbolic tangent.
    GeluTanh,
    Relu,
    Silu,
    Tanh,
}

/// A name that is none of [`Activation::NAMES`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownActivation(pub String);

impl Activation {
    pub const NAMES: [&str; 8] =
        ["gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh"];

    pub fn forward(self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Gelu => activation::gelu(x),
            Self::GeluTanh => {
                // sqrt(2 / pi); x * x * x because burn's powers are many times slower.
                let cube = x.clone() * x.clone() * x.clone();
                let inner = (x.clone() + cube * 0.044_715) * 0.797_884_560_802_865_4;
                x * 0.5 * (inner.tanh() + 1.0)
            }
            Self::Relu => activation::relu(x),
            Self::Silu => activation::silu(x),
            Self::Tanh => x.tanh(),
        }
    }
}

impl FromStr for Activation {
    type Err = UnknownActivation;

    fn from_str(name: &str) -> Result<Self, UnknownActivation> {
        match name {
            "gelu" => Ok(Self::Gelu),
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Ok(Self::GeluTanh),
            "relu" => Ok(Self::Relu),
            "silu" | "swish" => Ok(Self::Silu),
            "tanh" => Ok(Self::Tanh),
            _ => Err(UnknownActivation(name.to_string())),
        }
    }
}
