//! Memory that is read next.

/// The caches of a core.
#[derive(Clone, Copy)]
pub(super) enum Cache {
    First,
    Second,
}

/// How many rows before their turn to ask for pieces of rows that lie far apart: fewer come too late, more drive out what is in use.
pub(super) const ROWS_AHEAD: usize = 8;

/// Asks for values before they are read, where the processor would hardly see which they are.
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "other processors find them themselves"))]
pub(super) fn prefetch<T>(values: &[T], cache: Cache) {
    #[cfg(target_arch = "x86_64")]
    for line in values.chunks((64 / size_of::<T>()).max(1)) {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        let place = line.as_ptr().cast::<i8>();
        // SAFETY: hints, which read nothing.
        #[expect(unsafe_code, reason = "hints to the processor; see SAFETY")]
        unsafe {
            match cache {
                Cache::First => _mm_prefetch::<_MM_HINT_T0>(place),
                Cache::Second => _mm_prefetch::<_MM_HINT_T1>(place),
            }
        }
    }
}
