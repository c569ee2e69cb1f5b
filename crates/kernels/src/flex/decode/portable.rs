//! Any processor: arrays of four, which compilers turn into vectors where there are some.

use half::bf16;

use super::form::{Form, Sums, sums};
use super::nf4::{self, dots};
use crate::flex::quantised::Scales;
use crate::quantised::VALUES;

pub(super) static FORM: Form = Form {
    f32: Sums { four: f32::<4, 1>, two: f32::<2, 2>, one: f32::<1, 4> },
    bf16: Sums { four: bf16::<4, 1>, two: bf16::<2, 2>, one: bf16::<1, 4> },
    int8: Sums { four: int8::<4, 1>, two: int8::<2, 2>, one: int8::<1, 4> },
    nf4: nf4::Dots { group: 32, arrange: nf4::arrange::<4>, four: nf4::<4>, two: nf4::<2>, one: nf4::<1> },
};

type Four = [f32; 4];

#[inline(always)]
#[expect(unsafe_code, reason = "reads through a pointer into a slice, as far as the body of the loops goes")]
unsafe fn load<T: Copy>(from: *const T) -> [T; 4] {
    // SAFETY: the caller has four values there.
    unsafe { from.cast::<[T; 4]>().read_unaligned() }
}

#[inline(always)]
#[expect(unsafe_code, reason = "as above")]
unsafe fn load_bf16(from: *const bf16) -> Four {
    // SAFETY: as above.
    unsafe { load(from) }.map(widened)
}

#[inline(always)]
#[expect(unsafe_code, reason = "as above")]
unsafe fn load_int8(from: *const i8) -> Four {
    // SAFETY: as above.
    unsafe { load(from) }.map(f32::from)
}

#[inline(always)]
#[expect(unsafe_code, reason = "writes through a pointer into a slice, as far as the body of the loops goes")]
unsafe fn store(to: *mut f32, values: Four) {
    // SAFETY: the caller has room for four values there.
    unsafe { to.cast::<Four>().write_unaligned(values) }
}

#[inline(always)]
fn multiply(left: Four, right: Four) -> Four {
    std::array::from_fn(|i| left[i] * right[i])
}

#[inline(always)]
fn add(left: Four, right: Four) -> Four {
    std::array::from_fn(|i| left[i] + right[i])
}

#[inline(always)]
fn multiply_add(left: Four, right: Four, sum: Four) -> Four {
    add(sum, multiply(left, right))
}

pub(super) fn widened(value: bf16) -> f32 {
    f32::from_bits(u32::from(value.to_bits()) << 16)
}

macro_rules! run {
    ($name:ident, $type:ty, $load:path, $value:path) => {
        #[expect(unsafe_code, reason = "pointers into slices of the same length, which the body asserts")]
        unsafe fn $name<const ROWS: usize, const VECTORS: usize>(
            left: [&[f32]; ROWS],
            weight: [&[$type]; 2],
        ) -> [[f32; 2]; ROWS] {
            // SAFETY: the body reads and writes within the slices.
            unsafe { sums!(left, weight, ROWS, VECTORS, 4, [0.0; 4], load, $load, multiply, add, store, $value) }
        }
    };
}
run!(f32, f32, load, std::convert::identity);
run!(bf16, bf16, load_bf16, widened);
run!(int8, i8, load_int8, f32::from);

/// The codes of 32 values.
type Codes = [u32; 4];

#[inline(always)]
fn load_codes(bytes: &[u8]) -> Codes {
    std::array::from_fn(|lane| u32::from_le_bytes(std::array::from_fn(|at| bytes[4 * lane + at])))
}

#[inline(always)]
fn look_up(codes: Codes) -> Four {
    codes.map(|code| VALUES[(code & 0xf) as usize])
}

#[inline(always)]
fn shift(codes: Codes) -> Codes {
    codes.map(|code| code >> 4)
}

/// Half a block.
#[inline(always)]
fn scale(scales: &Scales<'_>, group: usize) -> Four {
    [scales.get(group / 2).unwrap_or(0.0); 4]
}

#[expect(unsafe_code, reason = "pointers into slices, whose lengths the body asserts")]
unsafe fn nf4<const ROWS: usize>(left: [&[f32]; ROWS], codes: &[u8], scales: &Scales<'_>, sums: &mut [[f32; ROWS]]) {
    // SAFETY: the body reads and writes within the slices.
    unsafe {
        dots!(
            left,
            codes,
            scales,
            sums,
            ROWS,
            4,
            [0.0; 4],
            load,
            load_codes,
            look_up,
            shift,
            multiply_add,
            add,
            scale,
            store
        )
    }
}
