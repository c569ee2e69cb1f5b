//! How A and B start, PEFT's `init_lora_weights`, and by which names.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// How A and B start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Init {
    /// A Kaiming uniform with a = sqrt 5, that is U(-1/sqrt(in), 1/sqrt(in)), B zero.
    Default,
    /// A normal with standard deviation 1/r, B zero.
    Gaussian,
    /// The largest singular triplets of the weight, which keeps the rest (Meng et al. 2024, arXiv 2404.02948); found by so many
    /// iterations of a random subspace, or exactly.
    Pissa { iterations: Option<NonZeroU32> },
    /// The first columns and rows of the weight's QR decomposition, which keeps the rest (Büyükakyüz 2024, arXiv 2406.01775).
    Olora,
    /// Of an adapter that PEFT started with MiCA, which trains A alone: nothing to one that is finished, but it cannot be
    /// trained on as others are. None is started so.
    Mica,
}

/// What stands before the number of iterations.
const ITERATIONS: &str = "pissa_niter_";

impl Init {
    /// Those that an adapter can be started with; N is a number from 1 to [`Self::MOST_ITERATIONS`].
    pub const NAMES: &[&str] = &["default", "gaussian", "pissa", "pissa_niter_N", "olora"];

    /// The largest N. PEFT's examples have 16; with some hundreds the exact decomposition is as fast.
    pub const MOST_ITERATIONS: u32 = 100;

    /// Whether A and B start as a part of the weight, which is left without it.
    pub(super) fn is_part_of_base(self) -> bool {
        match self {
            Self::Pissa { .. } | Self::Olora => true,
            Self::Default | Self::Gaussian | Self::Mica => false,
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "default" => Self::Default,
            "gaussian" => Self::Gaussian,
            "pissa" => Self::Pissa { iterations: None },
            "olora" => Self::Olora,
            "mica" => Self::Mica,
            _ => {
                let iterations: NonZeroU32 = name.strip_prefix(ITERATIONS)?.parse().ok()?;
                let is_possible = iterations.get() <= Self::MOST_ITERATIONS;
                return is_possible.then_some(Self::Pissa { iterations: Some(iterations) });
            }
        })
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::Gaussian => "gaussian".to_owned(),
            Self::Pissa { iterations: None } => "pissa".to_owned(),
            Self::Pissa { iterations: Some(iterations) } => format!("{ITERATIONS}{iterations}"),
            Self::Olora => "olora".to_owned(),
            Self::Mica => "mica".to_owned(),
        }
    }
}

impl TryFrom<String> for Init {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::named(&name).ok_or_else(|| format!("no initialisation is called `{name}`"))
    }
}

impl From<Init> for String {
    fn from(init: Init) -> Self {
        init.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_initialisation_is_found_by_its_name() {
        let names = Init::NAMES.iter().map(|name| name.replace('N', "16")).chain(["mica".to_owned()]);
        for name in names {
            assert_eq!(Init::named(&name).map(Init::name), Some(name));
        }
        assert!(Init::named("pissa_niter_100").is_some());
        for wrong in ["pissa_niter_", "pissa_niter_0", "pissa_niter_101", "pissa_niter_-1", "pissa_niter_1.5", "Pissa"]
        {
            assert_eq!(Init::named(wrong), None, "{wrong}");
        }
    }
}
