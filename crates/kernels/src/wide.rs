//! Functions compiled more than once, for processors with wider vectors.

/// Runs a function that is compiled a second time for 256-bit vectors, where those are chosen ([`crate::Simd`]). No fused products: both versions
/// give the same bits.
macro_rules! with_wide_vectors {
    ($(#[$doc:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$doc])*
        $visibility fn $name($($argument: $type),*) {
            #[inline(always)]
            fn body($($argument: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn wide($($argument: $type),*) {
                    body($($argument),*)
                }
                if $crate::simd::Simd::current().has_avx2() {
                    // SAFETY: the processor has the feature, or these vectors would not have been chosen.
                    #[expect(unsafe_code, reason = "a function for certain processors; see SAFETY")]
                    return unsafe { wide($($argument),*) };
                }
            }
            body($($argument),*)
        }
    };
}
pub(crate) use with_wide_vectors;
