//! The innermost loops of products along the rows of a weight, one form for each kind of vectors ([`Simd`]). All of them add up in the same
//! order and round alike: products of floats and of int8 have the same bits with any vectors.

use std::sync::LazyLock;

use half::bf16;

#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use super::{nf4, portable};
use crate::Simd;

/// Sums that run beside each other: a fixed number, so that their order is fixed, and enough to keep every unit busy.
pub(super) const SUMS: usize = 32;

/// The loops for a weight of one type, by left rows; two rows of the weight at a time.
pub(super) struct Sums<W> {
    pub four: Run<W, 4>,
    pub two: Run<W, 2>,
    pub one: Run<W, 1>,
}

/// The sums of the products of left rows with rows of a weight that are as long.
///
/// # Safety
/// The processor has the vectors of the form.
pub(super) type Run<W, const ROWS: usize> = unsafe fn(left: [&[f32]; ROWS], weight: [&[W]; 2]) -> [[f32; 2]; ROWS];

macro_rules! call {
    ($name:ident, $run:ident, $rows:literal) => {
        pub(super) fn $name(&self, left: [&[f32]; $rows], weight: [&[W]; 2]) -> [[f32; 2]; $rows] {
            // SAFETY: no form is handed out but of vectors that the processor has.
            #[expect(unsafe_code, reason = "a function for certain processors; see SAFETY")]
            unsafe {
                (self.$run)(left, weight)
            }
        }
    };
}

impl<W> Sums<W> {
    call!(of_four, four, 4);
    call!(of_two, two, 2);
    call!(of_one, one, 1);
}

/// What a kind of vectors computes with.
pub(super) struct Form {
    pub f32: Sums<f32>,
    pub bf16: Sums<bf16>,
    pub int8: Sums<i8>,
    pub nf4: nf4::Dots,
}

impl Form {
    /// That of the vectors in use.
    pub(super) fn current() -> &'static Self {
        static CURRENT: LazyLock<&Form> = LazyLock::new(|| Form::of(Simd::current()));
        *CURRENT
    }

    /// That of vectors which the processor has: no other form is ever handed out.
    pub(super) fn of(simd: Simd) -> &'static Self {
        assert!(simd.is_available(), "the processor has {simd}");
        match simd {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512Bf16 | Simd::Avx512 => &avx512::FORM,
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => &avx2::FORM,
            #[cfg(not(target_arch = "x86_64"))]
            Simd::Avx512Bf16 | Simd::Avx512 | Simd::Avx2 => &portable::FORM,
            // Arrays of four are what the vectors of ARM hold.
            Simd::Neon | Simd::Portable => &portable::FORM,
        }
    }
}

/// Steps of [`SUMS`] values after which the sums go to memory and the next of them come to the registers: so many values of four left
/// rows and two of a weight stay in a core's first cache.
pub(super) const STEPS: usize = 32;

/// The body of [`Run`] in terms of a few vector operations, once for all processors and types: `load_weight` makes a vector of f32 of as
/// many values of the weight. So many vectors of the sums of a pair of rows are in registers at a time. No product is fused with its
/// sum.
macro_rules! sums {
    (
        $left:ident, $weight:ident, $rows:ident, $vectors:ident, $lanes:literal,
        $zero:expr, $load:path, $load_weight:path, $multiply:path, $add:path, $store:path, $value:path
    ) => {{
        use $crate::flex::decode::form::{STEPS, SUMS};
        let depth = $weight[0].len();
        assert!(
            $left.iter().all(|row| row.len() == depth) && $weight[1].len() == depth,
            "left rows are as long as those of a weight"
        );
        let whole = depth / SUMS;
        let mut sums = [[[0.0_f32; SUMS]; 2]; $rows];
        for first in (0..whole).step_by(STEPS) {
            let steps = first * SUMS..whole.min(first + STEPS) * SUMS;
            for group in (0..SUMS).step_by($vectors * $lanes) {
                let mut kept = [[[$zero; $vectors]; 2]; $rows];
                for (row, kept) in kept.iter_mut().enumerate() {
                    for (output, kept) in kept.iter_mut().enumerate() {
                        for (vector, kept) in kept.iter_mut().enumerate() {
                            *kept = $load(sums[row][output].as_ptr().add(group + vector * $lanes));
                        }
                    }
                }
                for step in steps.clone().step_by(SUMS) {
                    for vector in 0..$vectors {
                        let at = step + group + vector * $lanes;
                        let of_weight =
                            [$load_weight($weight[0].as_ptr().add(at)), $load_weight($weight[1].as_ptr().add(at))];
                        for row in 0..$rows {
                            let of_left = $load($left[row].as_ptr().add(at));
                            for output in 0..2 {
                                let product = $multiply(of_left, of_weight[output]);
                                kept[row][output][vector] = $add(kept[row][output][vector], product);
                            }
                        }
                    }
                }
                for (row, kept) in kept.iter().enumerate() {
                    for (output, kept) in kept.iter().enumerate() {
                        for (vector, kept) in kept.iter().enumerate() {
                            $store(sums[row][output].as_mut_ptr().add(group + vector * $lanes), *kept);
                        }
                    }
                }
            }
        }
        let mut found = [[0.0; 2]; $rows];
        for row in 0..$rows {
            for output in 0..2 {
                let sums = &mut sums[row][output];
                let rest = $left[row][whole * SUMS..].iter().zip(&$weight[output][whole * SUMS..]);
                for (sum, (left, weight)) in sums.iter_mut().zip(rest) {
                    *sum += left * $value(*weight);
                }
                let mut width = SUMS / 2;
                while width > 0 {
                    for at in 0..width {
                        sums[at] += sums[at + width];
                    }
                    width /= 2;
                }
                found[row][output] = sums[0];
            }
        }
        found
    }};
}
pub(super) use sums;
