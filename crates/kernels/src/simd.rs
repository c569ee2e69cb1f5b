//! Which vectors the CPU's code computes with: the widest that the processor has, or those that an environment variable names.
//! Everything that is compiled more than once asks here, and nowhere else.

use std::fmt;
use std::sync::LazyLock;

/// A kind of vectors, and with it the form of every operation that has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simd {
    /// What any processor of the target has.
    Portable,
    /// ARM, 128 bits.
    Neon,
    /// x86, 256 bits, with fused products.
    Avx2,
    /// x86, 512 bits.
    Avx512,
    /// x86, 512 bits, and products of pairs of bf16.
    Avx512Bf16,
}

/// A name in [`Simd::VARIABLE`] that this processor cannot follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SimdError {
    /// None of [`Simd::NAMES`].
    Unknown(String),
    /// More than this processor has.
    Lacking(Simd),
}

impl Simd {
    /// The environment variable that chooses.
    pub const VARIABLE: &str = "KINDLING_SIMD";

    pub const NAMES: [&str; 5] = ["avx512bf16", "avx512", "avx2", "neon", "portable"];

    const ALL: [Self; 5] = [Self::Avx512Bf16, Self::Avx512, Self::Avx2, Self::Neon, Self::Portable];

    /// The name that [`Simd::VARIABLE`] takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512Bf16 => "avx512bf16",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }

    /// All that this processor has, the fastest first.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|simd| simd.is_available()).collect()
    }

    /// The one in use: that of the environment variable, if it is set and not empty, otherwise the fastest. Read once.
    ///
    /// # Errors
    /// The variable holds no name, or that of vectors which this processor lacks.
    pub fn chosen() -> Result<Self, SimdError> {
        static CHOSEN: LazyLock<Result<Simd, SimdError>> = LazyLock::new(|| {
            let written = std::env::var_os(Simd::VARIABLE).unwrap_or_default();
            choose(&written.to_string_lossy())
        });
        CHOSEN.clone()
    }

    /// As [`Simd::chosen`], for the code that runs by it: a program asks before it computes whether the choice is one.
    pub(crate) fn current() -> Self {
        static CURRENT: LazyLock<Simd> = LazyLock::new(|| match Simd::chosen() {
            Ok(simd) => simd,
            Err(error) => panic!("{error}"),
        });
        *CURRENT
    }

    /// Whether code for these vectors runs with vectors of 256 bits on x86.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has_avx2(self) -> bool {
        matches!(self, Self::Avx2 | Self::Avx512 | Self::Avx512Bf16)
    }

    #[cfg(target_arch = "x86_64")]
    pub(crate) fn is_available(self) -> bool {
        let avx2 = || std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
        let avx512 = || avx2() && std::arch::is_x86_feature_detected!("avx512f");
        match self {
            Self::Avx512Bf16 => avx512() && std::arch::is_x86_feature_detected!("avx512bf16"),
            Self::Avx512 => avx512(),
            Self::Avx2 => avx2(),
            Self::Neon => false,
            Self::Portable => true,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn is_available(self) -> bool {
        match self {
            Self::Avx512Bf16 | Self::Avx512 | Self::Avx2 => false,
            // Every processor of the target has it.
            Self::Neon => cfg!(target_arch = "aarch64"),
            Self::Portable => true,
        }
    }
}

impl fmt::Display for Simd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for SimdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(written) => write!(f, "`{}={written}`: unknown vectors `{written}`", Simd::VARIABLE),
            Self::Lacking(simd) => write!(f, "`{}={simd}`: this processor has no {simd}", Simd::VARIABLE),
        }
    }
}

impl std::error::Error for SimdError {}

/// What was written, or the fastest if nothing was.
fn choose(written: &str) -> Result<Simd, SimdError> {
    if written.is_empty() {
        return Ok(Simd::available()[0]);
    }
    let named = Simd::ALL.into_iter().find(|simd| simd.name() == written);
    let simd = named.ok_or_else(|| SimdError::Unknown(written.to_owned()))?;
    if simd.is_available() { Ok(simd) } else { Err(SimdError::Lacking(simd)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_chooses_what_the_processor_has_and_nothing_beyond() {
        assert_eq!(Simd::ALL.map(Simd::name), Simd::NAMES);
        for simd in Simd::ALL {
            let expected = if Simd::available().contains(&simd) { Ok(simd) } else { Err(SimdError::Lacking(simd)) };
            assert_eq!(choose(simd.name()), expected);
        }
        assert_eq!(choose(""), Ok(Simd::available()[0]));
        assert_eq!(choose("AVX2"), Err(SimdError::Unknown("AVX2".to_owned())));
        assert_eq!(Simd::available().last(), Some(&Simd::Portable));
    }

    #[test]
    fn a_choice_that_is_none_names_the_variable() {
        assert_eq!(SimdError::Unknown("sse".into()).to_string(), "`KINDLING_SIMD=sse`: unknown vectors `sse`");
        assert_eq!(
            SimdError::Lacking(Simd::Avx512).to_string(),
            "`KINDLING_SIMD=avx512`: this processor has no avx512"
        );
    }
}
