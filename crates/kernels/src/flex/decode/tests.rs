//! Every kind of vectors against the definition, and against each other.

use super::form::SUMS;
use super::*;
use crate::Simd;
use crate::flex::quantised::{Absmax, Scales};

/// Whole numbers of eighths: with so few of them every sum is exact, in whatever order.
fn eighths(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7 + seed * 13) % 23) as f32 / 8.0 - 1.375).collect()
}

/// Values that a sum rounds.
fn thirds(count: usize, seed: usize) -> Vec<f32> {
    eighths(count, seed).into_iter().map(|value| value / 3.0).collect()
}

fn matrix(values: &[f32], rows: usize) -> Matrix<'_> {
    let columns = values.len() / rows;
    Matrix::new(values, rows, columns, columns)
}

#[test]
fn sums_of_every_form_are_exact_where_numbers_are_and_the_same_bits_where_they_are_not() {
    for [rows, d_output, d_input] in [[1, 1, 1], [2, 3, 31], [3, 5, 32], [7, 2, 95], [9, 33, 1700]] {
        let product = |simd, values: fn(usize, usize) -> Vec<f32>| {
            let (x, weight) = (values(rows * d_input, 1), values(d_output * d_input, 2));
            along_rows(Form::of(simd), matrix(&x, rows), matrix(&weight, d_output).into(), None)
        };
        let (x, weight) = (eighths(rows * d_input, 1), eighths(d_output * d_input, 2));
        let exact = |row: usize, output: usize| -> f32 {
            (0..d_input).map(|at| x[row * d_input + at] * weight[output * d_input + at]).sum()
        };
        let exact: Vec<f32> = (0..rows * d_output).map(|at| exact(at / d_output, at % d_output)).collect();
        let portable = product(Simd::Portable, thirds);
        for simd in Simd::available() {
            assert_eq!(product(simd, eighths), exact, "{simd}, {rows} x {d_output} x {d_input}");
            assert_eq!(product(simd, thirds), portable, "{simd}, {rows} x {d_output} x {d_input}");
        }
    }
}

/// As [`SUMS`] says: place by place, then by halves.
#[test]
fn a_sum_runs_in_the_order_that_is_written_down() {
    let (x, weight) = (thirds(1003, 1), thirds(1003, 2));
    let mut sums = [0.0_f32; SUMS];
    for (at, (x, weight)) in x.iter().zip(&weight).enumerate() {
        sums[at % SUMS] += x * weight;
    }
    let mut width = SUMS / 2;
    while width > 0 {
        for at in 0..width {
            sums[at] += sums[at + width];
        }
        width /= 2;
    }
    for simd in Simd::available() {
        let found = along_rows(Form::of(simd), matrix(&x, 1), matrix(&weight, 1).into(), None);
        assert_eq!(found, [sums[0]], "{simd}");
    }
}

/// The loops for nf4 with vectors of 16 words, by arrays: what [`super::avx512`] computes, on any processor.
mod words {
    use super::super::nf4::dots;
    use crate::flex::quantised::Scales;
    use crate::quantised::VALUES;

    type Sixteen = [f32; 16];

    #[expect(unsafe_code, reason = "reads through a pointer into a slice, as far as the body of the loops goes")]
    unsafe fn load(from: *const f32) -> Sixteen {
        // SAFETY: the body reads within the slice.
        unsafe { from.cast::<Sixteen>().read_unaligned() }
    }

    #[expect(unsafe_code, reason = "writes through a pointer to an array of as many")]
    unsafe fn store(to: *mut f32, values: Sixteen) {
        // SAFETY: the body gives an array of 16.
        unsafe { to.cast::<Sixteen>().write_unaligned(values) }
    }

    /// Little-endian, as x86 loads words.
    fn load_codes(bytes: &[u8]) -> [u32; 16] {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        std::array::from_fn(|word| u32::from_le_bytes(std::array::from_fn(|at| byte(4 * word + at))))
    }

    fn scale(scales: &Scales<'_>, group: usize) -> Sixteen {
        std::array::from_fn(|word| scales.get(2 * group + word / 8).unwrap_or(0.0))
    }

    fn multiply_add(left: Sixteen, right: Sixteen, sum: Sixteen) -> Sixteen {
        std::array::from_fn(|word| left[word].mul_add(right[word], sum[word]))
    }

    fn add(left: Sixteen, right: Sixteen) -> Sixteen {
        std::array::from_fn(|word| left[word] + right[word])
    }

    pub(super) fn dot<const ROWS: usize>(
        left: [&[f32]; ROWS],
        codes: &[u8],
        scales: &Scales<'_>,
        sums: &mut [[f32; ROWS]],
    ) {
        let look_up = |codes: [u32; 16]| codes.map(|code| VALUES[(code & 0xf) as usize]);
        let shift = |codes: [u32; 16]| codes.map(|code| code >> 4);
        // SAFETY: the body reads and writes within the slices.
        #[expect(unsafe_code, reason = "see SAFETY")]
        unsafe {
            dots!(
                left,
                codes,
                scales,
                sums,
                ROWS,
                16,
                [0.0; 16],
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
}

#[test]
fn nf4_is_looked_up_where_it_lies_by_every_form_and_by_vectors_of_16_words() {
    use crate::quantised::{BLOCK, VALUES};
    /// Rows of the weight.
    const OUTPUTS: usize = 3;
    for blocks in [1, 2, 3, 8, 13] {
        let count = blocks * BLOCK;
        let codes: Vec<u8> = (0..OUTPUTS * count / 2).map(|at| (at * 37 % 251) as u8).collect();
        let scales: Vec<f32> = (0..OUTPUTS * blocks).map(|block| 0.1 + block as f32).collect();
        let x = thirds(4 * count, 3);
        let value = |at: usize| {
            let code = if at.is_multiple_of(2) { codes[at / 2] >> 4 } else { codes[at / 2] & 0xf };
            f64::from(VALUES[usize::from(code)]) * f64::from(scales[at / BLOCK])
        };
        let exact = |output: usize, row: usize| {
            let products = (0..count).map(|at| f64::from(x[row * count + at]) * value(output * count + at));
            [products.clone().sum::<f64>(), products.map(f64::abs).sum()]
        };
        let laid = |group: usize, arrange: fn(&[f32], &mut [f32])| -> Vec<Vec<f32>> {
            let of_row = |row: &[f32]| {
                let padded = [row, &vec![0.0; count.next_multiple_of(group) - count][..]].concat();
                let mut laid = vec![0.0; padded.len()];
                arrange(&padded, &mut laid);
                laid
            };
            x.chunks_exact(count).map(of_row).collect()
        };
        let assert_close = |found: [[f32; 4]; OUTPUTS], name: &str| {
            for (output, found) in found.into_iter().enumerate() {
                for (row, found) in found.into_iter().enumerate() {
                    let [exact, magnitude] = exact(output, row);
                    let apart = (f64::from(found) - exact).abs();
                    assert!(
                        apart <= crate::bounds::gamma(count + 4) * magnitude,
                        "{name}, {blocks} blocks: {found} {exact}"
                    );
                }
            }
        };
        let scales = Scales { absmax: Absmax::Plain(&scales), blocks: 0..scales.len() };
        let rows = laid(128, nf4::arrange::<16>);
        let (mut four, mut one) = ([[0.0; 4]; OUTPUTS], [[0.0; 1]; OUTPUTS]);
        words::dot([0, 1, 2, 3].map(|row: usize| &rows[row][..]), &codes, &scales, &mut four);
        assert_close(four, "16 words");
        words::dot([&rows[2][..]], &codes, &scales, &mut one);
        assert_eq!(one, four.map(|of_output| [of_output[2]]));
        for simd in Simd::available() {
            let dots = &Form::of(simd).nf4;
            let rows = laid(dots.group, dots.arrange);
            let mut two = [[0.0; 2]; OUTPUTS];
            // SAFETY: the processor has the vectors.
            #[expect(unsafe_code, reason = "functions for certain processors; see SAFETY")]
            unsafe {
                (dots.four)([0, 1, 2, 3].map(|row: usize| &rows[row][..]), &codes, &scales, &mut four);
                (dots.two)([1, 2].map(|row: usize| &rows[row][..]), &codes, &scales, &mut two);
                (dots.one)([&rows[3][..]], &codes, &scales, &mut one);
            }
            assert_close(four, simd.name());
            assert_eq!(four.map(|of_output| [of_output[1], of_output[2]]), two, "{simd}");
            assert_eq!(four.map(|of_output| [of_output[3]]), one, "{simd}");
        }
    }
}

#[test]
fn scales_that_are_quantised_in_turn_are_as_if_they_lay_there_in_floats() {
    use crate::quantised::{BLOCK, DYNAMIC_MAP, NESTED_BLOCK};
    /// Rows of the weight, of which the first begins shortly before its scales have another scale.
    const OUTPUTS: usize = 3;
    let (first, blocks, offset) = (NESTED_BLOCK - 5, 13, 0.037);
    let codes: Vec<u8> = (0..OUTPUTS * blocks * BLOCK / 2).map(|at| (at * 37 % 251) as u8).collect();
    let of_blocks: Vec<u8> = (0..first + OUTPUTS * blocks).map(|at| (at * 101 % 256) as u8).collect();
    let nested = thirds(2, 5);
    let floats: Vec<f32> = of_blocks
        .iter()
        .enumerate()
        .map(|(at, code)| DYNAMIC_MAP[usize::from(*code)] * nested[at / NESTED_BLOCK] + offset)
        .collect();
    let blocks_used = first..floats.len();
    let absmax = [Absmax::Nested { codes: &of_blocks, scales: &nested, offset }, Absmax::Plain(&floats)];
    let row = thirds(blocks * BLOCK, 3);
    for simd in Simd::available() {
        let dots = &Form::of(simd).nf4;
        let mut laid = vec![0.0; row.len().next_multiple_of(dots.group)];
        let padded = [&row[..], &vec![0.0; laid.len() - row.len()]].concat();
        (dots.arrange)(&padded, &mut laid);
        let [found, expected] = absmax.map(|absmax| {
            let (scales, mut sums) = (Scales { absmax, blocks: blocks_used.clone() }, [[0.0; 2]; OUTPUTS]);
            // SAFETY: the processor has the vectors.
            #[expect(unsafe_code, reason = "functions for certain processors; see SAFETY")]
            unsafe {
                (dots.two)([&laid, &laid], &codes, &scales, &mut sums);
            }
            sums.map(|of_output| of_output.map(f32::to_bits))
        });
        assert_eq!(found, expected, "{simd}");
    }
}
