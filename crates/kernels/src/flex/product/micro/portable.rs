//! Any processor: arrays of four, which compilers turn into vectors where there are some.

use super::{Form, Tile, tile};

pub(super) static FORM: Form =
    Form { rows: 4, lanes: 4, run: &[run::<1>, run::<2>, run::<3>], run_pairs: None, transpose };

type Four = [f32; 4];

#[inline(always)]
fn broadcast(value: f32) -> Four {
    [value; 4]
}

#[inline(always)]
fn multiply_add(left: Four, right: Four, sum: Four) -> Four {
    std::array::from_fn(|i| sum[i] + left[i] * right[i])
}

#[inline(always)]
#[expect(unsafe_code, reason = "reads through a pointer of a tile, for which `Run` says what holds")]
unsafe fn load(from: *const f32) -> Four {
    // SAFETY: the contract of `Run`.
    unsafe { from.cast::<Four>().read() }
}

#[inline(always)]
#[expect(unsafe_code, reason = "writes through a pointer of a tile, for which `Run` says what holds")]
unsafe fn store(to: *mut f32, values: Four) {
    // SAFETY: the contract of `Run`.
    unsafe { to.cast::<Four>().write(values) }
}

#[expect(unsafe_code, reason = "the pointers of a tile, for which `Run` says what holds")]
unsafe fn run<const VECTORS: usize>(of: &Tile) {
    // SAFETY: the contract of `Run`.
    unsafe {
        tile!(of, 4, VECTORS, 4, broadcast(0.0), load, broadcast, multiply_add, store);
    }
}

#[expect(unsafe_code, reason = "reads and writes through pointers, for which `Transpose` says what holds")]
pub(super) unsafe fn transpose(from: *const f32, step: usize, to: *mut f32, output_step: usize) {
    for row in 0..8 {
        for column in 0..8 {
            // SAFETY: the contract of `Transpose`.
            unsafe { *to.add(column * output_step + row) = *from.add(row * step + column) };
        }
    }
}
