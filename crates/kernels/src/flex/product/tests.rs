//! Every form of the innermost loop against the definition of a product, and any number of threads against one.

use super::*;
use crate::Simd;
use crate::bounds::gamma;
use crate::flex::matrix::Stored;

fn values(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7 + seed * 13) % 23) as f32 / 8.0 - 1.375).collect()
}

/// Row by row and step by step, in double precision: the sum, and that of the magnitudes.
fn definition(terms: &[Term<'_>], start: impl Fn(usize, usize) -> f32, row: usize, column: usize) -> [f64; 2] {
    let left = |factor: Factor<Matrix<'_>>, step: usize| match factor {
        Factor::Plain(matrix) => matrix.row(row)[step],
        Factor::Transposed(matrix) => matrix.row(step)[row],
    };
    let right = |factor: Factor<Stored<'_>>, step: usize| match factor {
        Factor::Plain(stored) => stored.as_matrix().unwrap().row(step)[column],
        Factor::Transposed(stored) => stored.as_matrix().unwrap().row(column)[step],
    };
    let product = |term: &Term<'_>, step: usize| {
        f64::from(term.factor) * f64::from(left(term.left, step)) * f64::from(right(term.right, step))
    };
    let steps = || terms.iter().flat_map(|term| (0..term.left.shape()[1]).map(move |step| (term, step)));
    let start = f64::from(start(row, column));
    [
        start + steps().map(|(term, step)| product(term, step)).sum::<f64>(),
        start.abs() + steps().map(|(term, step)| product(term, step).abs()).sum::<f64>(),
    ]
}

/// A factor of this shape, with more between its rows than belongs to it.
fn factor(values: &[f32], shape: [usize; 2], transposed: bool) -> Factor<Matrix<'_>> {
    let [rows, columns] = shape;
    if transposed {
        Factor::Transposed(Matrix::new(values, columns, rows, rows + 3))
    } else {
        Factor::Plain(Matrix::new(values, rows, columns, columns + 3))
    }
}

#[test]
fn every_form_multiplies_by_the_definition_whatever_the_shapes_and_how_factors_lie() {
    let shapes = [[1, 1, 1], [3, 5, 7], [8, 48, 16], [17, 49, 50], [70, 131, 97], [9, 200, 800], [33, 12, 1601]];
    for simd in Simd::available() {
        let form = Form::of(simd);
        for [rows, columns, depth] in shapes {
            for way in 0..8 {
                let (left_turned, right_turned) = (way % 2 == 1, way / 2 % 2 == 1);
                // The values of the first term are whole eighths below 4: rounding to bf16 leaves them as they are.
                let precision = if way < 4 { Precision::F32 } else { Precision::Bf16 };
                let (left, right) = (values((rows + 3) * (depth + 3), 1), values((depth + 3) * (columns + 3), 2));
                let (thin, narrow) = (values((rows + 3) * 6, 3), values((columns + 3) * 6, 4));
                let terms = [
                    Term {
                        left: factor(&left, [rows, depth], left_turned),
                        right: factor(&right, [depth, columns], right_turned).stored(),
                        factor: 0.5,
                        precision,
                    },
                    Term {
                        left: factor(&thin, [rows, 3], !left_turned),
                        right: factor(&narrow, [3, columns], !right_turned).stored(),
                        factor: -2.0,
                        precision: Precision::F32,
                    },
                ];
                let (row, before) = (values(columns, 5), values(rows * (columns + 2), 6));
                for start in [Start::Zero, Start::Row(&row), Start::Output] {
                    let value = |row_index: usize, column: usize| match start {
                        Start::Zero => 0.0,
                        Start::Row(row) => row[column],
                        Start::Output => before[row_index * (columns + 2) + column],
                    };
                    let mut output = before.clone();
                    let room = Room { place: output.as_mut_ptr(), values: output.len(), stride: columns + 2 };
                    write(form, &terms, start, room, Threads::One);
                    for (i, of_row) in output.chunks_exact(columns + 2).enumerate() {
                        for (j, found) in of_row[..columns].iter().enumerate() {
                            let [exact, magnitude] = definition(&terms, value, i, j);
                            // Beside the products of both terms, each adds its factor and what it is added to, once for each
                            // stretch of the depth, and the start is one more.
                            let roundings = depth + 3 + 2 * (depth.div_ceil(SHORT_DEPTH) + 1) + 1;
                            let apart = (f64::from(*found) - exact).abs();
                            let close = apart <= gamma(roundings) * magnitude;
                            assert!(close, "{simd}, {rows} x {columns} x {depth}, way {way}: {found} {exact}");
                        }
                        let beyond = &before[i * (columns + 2) + columns..][..2];
                        assert_eq!(&of_row[columns..], beyond, "what lies between the rows stays");
                    }
                }
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let (rows, columns, depth) = (150, 500, 901);
    let (left, right) = (values((rows + 3) * (depth + 3), 1), values((depth + 3) * (columns + 3), 2));
    for (turned, precision) in [(false, Precision::F32), (true, Precision::F32), (false, Precision::Bf16)] {
        let terms = [Term {
            left: factor(&left, [rows, depth], turned),
            right: factor(&right, [depth, columns], true).stored(),
            factor: 0.3,
            precision,
        }];
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| product(&terms, None))
        };
        let one = with(1);
        assert_eq!(one, with(2));
        assert_eq!(one, with(13));
        // On one thread a factor that lies transposed is read strip by strip.
        let mut serial = vec![0.0; rows * columns];
        let room = Room { place: serial.as_mut_ptr(), values: serial.len(), stride: columns };
        write(Form::current(), &terms, Start::Zero, room, Threads::One);
        assert_eq!(one, serial);
    }
}
