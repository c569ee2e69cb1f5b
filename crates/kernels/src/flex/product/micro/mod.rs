//! The innermost loops: a tile of a product, whose sums stay in registers from the first step of the depth to the last. One
//! form for each kind of vectors, chosen when the program runs ([`Simd`]), and a portable one.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use std::sync::LazyLock;

use crate::Simd;

/// Up to so many rows and columns has a tile of any form.
pub(super) const LARGEST: usize = 8 * 48;

/// `output = start + factor * left·panel`, where `output` has the rows of the form and as many columns as the panel.
///
/// Pointers, since neighbouring tiles of one output are written by different threads; see [`Run`] for what must hold.
pub(super) struct Tile {
    pub depth: usize,
    /// The first value of each row of the left factor, and the distance between its values along the depth.
    pub left: *const f32,
    pub left_rows: usize,
    pub left_step: usize,
    /// Rows that exist, at least one; the last stands in for those that do not.
    pub rows: usize,
    /// Rows of the right factor, so far apart.
    pub panel: *const f32,
    pub panel_step: usize,
    /// What the sums are added to, in rows so far apart; all zero apart, it is one row for all.
    pub start: *const f32,
    pub start_step: usize,
    pub factor: f32,
    pub output: *mut f32,
    pub output_step: usize,
}

/// Computes a tile.
///
/// # Safety
/// The processor has the vectors of the form. Every value that [`Tile`] describes lies in memory that is readable, and of the output
/// writable by this thread alone; `start` may be `output`.
pub(super) type Run = unsafe fn(&Tile);

/// Writes eight rows of eight values as eight columns.
///
/// # Safety
/// The processor has the vectors of the form; eight values can be read from each of eight rows `step` apart, and written to
/// each of eight rows `output_step` apart.
pub(super) type Transpose = unsafe fn(from: *const f32, step: usize, to: *mut f32, output_step: usize);

/// What a kind of vectors computes at once.
pub(super) struct Form {
    /// Rows of a tile.
    pub rows: usize,
    /// Values of a vector: panels are a multiple of it wide.
    pub lanes: usize,
    /// By the number of vectors in a row of the panel, from one.
    pub run: &'static [Run],
    /// The same where each value is a pair of bf16 that belong to two steps of the depth; `None` where the processor has no such
    /// products.
    pub run_pairs: Option<&'static [Run]>,
    pub transpose: Transpose,
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
            Simd::Avx512Bf16 => &avx512::FORM_WITH_PAIRS,
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => &avx512::FORM,
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => &avx2::FORM,
            #[cfg(not(target_arch = "x86_64"))]
            Simd::Avx512Bf16 | Simd::Avx512 | Simd::Avx2 => &portable::FORM,
            #[cfg(target_arch = "aarch64")]
            Simd::Neon => &neon::FORM,
            #[cfg(not(target_arch = "aarch64"))]
            Simd::Neon => &portable::FORM,
            Simd::Portable => &portable::FORM,
        }
    }

    /// Columns of a whole panel.
    pub(super) fn columns(&self) -> usize {
        self.lanes * self.run.len()
    }
}

/// The body of a tile in terms of a few vector operations, once for all processors.
macro_rules! tile {
    ($tile:ident, $rows:literal, $vectors:ident, $lanes:literal, $zero:expr, $load:path, $broadcast:path, $multiply_add:path, $store:path) => {
        tile!($tile, $rows, $vectors, $lanes, $zero, $load, $broadcast, $multiply_add, $store, $multiply_add)
    };
    // With products of its own along the depth.
    ($tile:ident, $rows:literal, $vectors:ident, $lanes:literal, $zero:expr, $load:path, $broadcast:path, $multiply_add:path, $store:path, $along:path) => {{
        let mut sums = [[$zero; $vectors]; $rows];
        let mut left = [$tile.left; $rows];
        for (row, left) in left.iter_mut().enumerate() {
            *left = $tile.left.add(row.min($tile.rows - 1) * $tile.left_rows);
        }
        let (mut panel, mut along) = ($tile.panel, 0);
        for _ in 0..$tile.depth {
            let mut right = [$zero; $vectors];
            for (vector, right) in right.iter_mut().enumerate() {
                *right = $load(panel.add(vector * $lanes));
            }
            for row in 0..$rows {
                let value = $broadcast(*left[row].add(along));
                for vector in 0..$vectors {
                    sums[row][vector] = $along(value, right[vector], sums[row][vector]);
                }
            }
            along += $tile.left_step;
            panel = panel.add($tile.panel_step);
        }
        let factor = $broadcast($tile.factor);
        for (row, sums) in sums.iter().enumerate() {
            for (vector, sum) in sums.iter().enumerate() {
                let start = $load($tile.start.add(row * $tile.start_step + vector * $lanes));
                let output = $tile.output.add(row * $tile.output_step + vector * $lanes);
                $store(output, $multiply_add(factor, *sum, start));
            }
        }
    }};
}
use tile;
