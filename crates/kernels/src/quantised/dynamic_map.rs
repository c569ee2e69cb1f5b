//! The 256 values of bitsandbytes' 8-bit dynamic map, with which nf4's scales are quantised in turn (Dettmers et al. 2021, arXiv
//! 2110.02861, section 2.3). Reference: `create_dynamic_map` and `quantize_blockwise` in bitsandbytes.

use std::sync::LazyLock;

/// In ascending order: a sign, an exponent of ten, and a linear fraction in the bits that the exponent leaves.
pub(crate) static DYNAMIC_MAP: LazyLock<[f32; 256]> = LazyLock::new(|| {
    let mut values = vec![0.0, 1.0];
    for exponent in 0..7 {
        let power = 10.0_f64.powi(exponent - 6) as f32;
        let fractions = 1 << exponent;
        let boundary = |at: i32| linear(at, fractions);
        for at in 0..fractions {
            let value = power * ((boundary(at) + boundary(at + 1)) / 2.0);
            values.extend([value, -value]);
        }
    }
    values.sort_by(f32::total_cmp);
    values.try_into().expect("127 values of each sign, zero and one")
});

/// The same for those who read scales from elsewhere.
pub fn dynamic_map() -> &'static [f32; 256] {
    &DYNAMIC_MAP
}

/// `torch.linspace(0.1, 1, steps + 1)` in f32, which goes from both ends to the middle, each value rounded once.
fn linear(at: i32, steps: i32) -> f32 {
    let step = (1.0 - 0.1_f32) / steps as f32;
    match at < (steps + 1) / 2 {
        true => step.mul_add(at as f32, 0.1),
        false => (-step).mul_add((steps - at) as f32, 1.0),
    }
}

/// Places between -1 and 1 for which bitsandbytes looks up the nearest value.
const PLACES: usize = 1 << 16;

/// The code at each of [`PLACES`].
static CODES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let map = &*DYNAMIC_MAP;
    let value = |place: usize| -1.0 + 2.0 * place as f64 / (PLACES - 1) as f64;
    let mut code = 0;
    (0..PLACES)
        .map(|place| {
            let above = |code: usize| (f64::from(map[code]) + f64::from(map[code + 1])) / 2.0;
            while code + 1 < map.len() && value(place) > above(code) {
                code += 1;
            }
            code as u8
        })
        .collect()
});

/// The code of a value between -1 and 1.
pub(super) fn code(value: f32) -> u8 {
    let place = (value + 1.0) * 0.5 * (PLACES - 1) as f32 + 0.5;
    CODES[(place as usize).min(PLACES - 1)]
}
