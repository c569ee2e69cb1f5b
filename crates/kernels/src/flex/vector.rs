//! Functions of one number that compilers turn into vector code: no branches, no calls, no table.

/// `e^x` for x at most 0, relative error 2e-7; 0 below -87. What is not a number stays so.
#[inline(always)]
pub(super) fn exp_of_negative(x: f32) -> f32 {
    // 2^y = 2^i * 2^f with i an integer and f in [-0.5, 0.5]; adding and subtracting 1.5 * 2^23 rounds.
    let y = x * std::f32::consts::LOG2_E;
    // Not `max`, which would make a number of what is none.
    let y = if y < -126.0 { -126.0 } else { y };
    let i = (y + 12_582_912.0) - 12_582_912.0;
    let f = y - i;
    // Taylor's polynomial of 2^f, of degree 6: its remainder on [-0.5, 0.5] is 1.2e-7.
    let p = 0.001_333_355_8 + f * 0.000_154_035_3;
    let p = 0.009_618_129 + f * p;
    let p = 0.055_504_11 + f * p;
    let p = 0.240_226_5 + f * p;
    let p = 1.0 + f * (std::f32::consts::LN_2 + f * p);
    p * f32::from_bits(((i as i32 + 127) << 23) as u32)
}

/// `e^x - 1` for x at most 0, in other respects as [`exp_of_negative`]: where x is small no digits are lost to the 1.
#[inline(always)]
fn exp_of_negative_minus_1(x: f32) -> f32 {
    let y = x * std::f32::consts::LOG2_E;
    let y = if y < -126.0 { -126.0 } else { y };
    let i = (y + 12_582_912.0) - 12_582_912.0;
    let power = f32::from_bits(((i as i32 + 127) << 23) as u32);
    let f = y - i;
    // Of degree 7, with a remainder of 6e-9.
    let p = 0.000_154_035_3 + f * 0.000_015_252_734;
    let p = 0.001_333_355_8 + f * p;
    let p = 0.009_618_129 + f * p;
    let p = 0.055_504_11 + f * p;
    let p = 0.240_226_5 + f * p;
    // 2^i * (2^f - 1) + (2^i - 1): the last is exact, and 0 where x is small.
    power * (f * (std::f32::consts::LN_2 + f * p)) + (power - 1.0)
}

/// The error function, given also `e = e^(-x²)`; absolute error 2e-7 (Abramowitz and Stegun 1964, 7.1.26).
#[inline(always)]
pub(super) fn erf(x: f32, e: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let polynomial = 1.061_405_4_f32;
    let polynomial = -1.453_152_1 + t * polynomial;
    let polynomial = 1.421_413_8 + t * polynomial;
    let polynomial = -0.284_496_72 + t * polynomial;
    let polynomial = 0.254_829_6 + t * polynomial;
    (1.0 - t * polynomial * e).copysign(x)
}

/// `1 / (1 + e^(-x))`
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    let e = exp_of_negative(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

#[inline(always)]
pub(super) fn largest(values: &[f32]) -> f32 {
    fold(values, f32::NEG_INFINITY, f32::max).into_iter().fold(f32::NEG_INFINITY, f32::max)
}

#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let e = exp_of_negative(-2.0 * x.abs());
    ((1.0 - e) / (1.0 + e)).copysign(x)
}

/// `cap * tanh(x / cap)`, relative error 5e-7, some eight roundings: [`tanh`] has an absolute one, which `cap` would multiply.
#[inline(always)]
pub(super) fn soft_capped(x: f32, cap: f32) -> f32 {
    let e = exp_of_negative_minus_1(-2.0 * (x / cap).abs());
    cap * (-e / (2.0 + e)).copysign(x)
}

/// The derivative of [`soft_capped`], given what it came to.
#[inline(always)]
pub(super) fn soft_cap_slope(capped: f32, cap: f32) -> f32 {
    let tanh = capped / cap;
    1.0 - tanh * tanh
}

/// Values of a sum or a maximum that are kept apart: a fixed number, so that the order is fixed and vectorises.
pub(super) const LANES: usize = 8;

/// What a sum or a maximum comes to in each lane, from `start` on, in an order that depends on the number of values alone.
#[inline(always)]
pub(super) fn fold(values: &[f32], start: f32, join: impl Fn(f32, f32) -> f32 + Copy) -> [f32; LANES] {
    let mut lanes = [start; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = join(*lane, *value);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane = join(*lane, *value);
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn approximations_are_within_their_errors() {
        for i in -120_000..=120_000 {
            let x = i as f32 / 10_000.0;
            let exact = f64::from(x);
            let e = (-exact * exact).exp();
            let found = f64::from(exp_of_negative(-x * x));
            // x² itself is rounded: its error comes on top.
            assert!((found - e).abs() <= 4e-7 * (1.0 + exact * exact) * e + 1e-37, "exp {x}: {found} {e}");
            let tanh_error = (f64::from(tanh(x)) - exact.tanh()).abs();
            assert!(tanh_error < 3e-7, "tanh {x}: {tanh_error:e}");
            assert!(exp_of_negative(f32::NAN).is_nan() && tanh(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
            for cap in [1.0, 30.0] {
                let capped = f64::from(cap) * (exact / f64::from(cap)).tanh();
                let cap_error = (f64::from(soft_capped(x, cap)) - capped).abs();
                assert!(cap_error <= 5e-7 * capped.abs(), "soft cap {x} {cap}: {cap_error:e}");
                let slope = 1.0 - (capped / f64::from(cap)).powi(2);
                assert!((f64::from(soft_cap_slope(capped as f32, cap)) - slope).abs() < 3e-7, "slope {x} {cap}");
            }
            assert!(soft_capped(f32::NAN, 1.0).is_nan());
            let sigmoid_error = (f64::from(sigmoid(x)) - 1.0 / (1.0 + (-exact).exp())).abs();
            assert!(sigmoid_error < 3e-7, "sigmoid {x}: {sigmoid_error:e}");
        }
        // From tables: erf(0.5), erf(1), erf(2).
        for (x, exact) in [(0.0_f32, 0.0), (0.5, 0.520_499_877_8), (1.0, 0.842_700_792_9), (2.0, 0.995_322_265_0)] {
            let found = f64::from(erf(x, exp_of_negative(-x * x)));
            assert!((found - exact).abs() < 3e-7, "erf {x}: {found}");
            assert_eq!(erf(-x, exp_of_negative(-x * x)), -erf(x, exp_of_negative(-x * x)));
        }
    }
}
