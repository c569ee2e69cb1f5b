//! New values, made by the threads that fill them. `vec![0.0; n]` is cleared by one thread, through the memory and back, before
//! the others may begin.

use std::mem::MaybeUninit;

use rayon::prelude::*;

/// Values in parts of these lengths, each filled by one thread from its number and zeros.
pub(super) fn filled(lengths: impl IntoIterator<Item = usize>, fill: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let lengths: Vec<usize> = lengths.into_iter().collect();
    let count = lengths.iter().sum();
    let mut values = Vec::with_capacity(count);
    let mut rest = &mut values.spare_capacity_mut()[..count];
    let mut parts = Vec::with_capacity(lengths.len());
    for length in lengths {
        let (part, others) = rest.split_at_mut(length);
        parts.push(part);
        rest = others;
    }
    parts.into_par_iter().enumerate().for_each(|(index, part)| {
        part.fill(MaybeUninit::new(0.0));
        // SAFETY: every value of the part was written in the line above.
        #[expect(unsafe_code, reason = "memory that has just been cleared; see SAFETY")]
        fill(index, unsafe { part.assume_init_mut() });
    });
    // SAFETY: the parts are all of the first `count` values, and each has been cleared at least.
    #[expect(unsafe_code, reason = "memory that has been filled; see SAFETY")]
    unsafe {
        values.set_len(count);
    }
    values
}

/// As [`filled`], from parts of other values: `size` at a time, but for the last.
pub(super) fn mapped(values: &[f32], size: usize, map: impl Fn(usize, &[f32], &mut [f32]) + Sync) -> Vec<f32> {
    let parts: Vec<&[f32]> = values.chunks(size).collect();
    filled(parts.iter().map(|part| part.len()), |index, output| map(index, parts[index], output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_begin_as_zeros_and_stand_in_their_order() {
        let values = filled([2, 0, 3], |index, part| part.iter_mut().for_each(|value| *value += index as f32));
        assert_eq!(values, [0.0, 0.0, 2.0, 2.0, 2.0]);
        assert!(filled([], |_, _| ()).is_empty());
        let doubled = mapped(&[1.0, 2.0, 3.0], 2, |index, from, to| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = 2.0 * from + index as f32);
        });
        assert_eq!(doubled, [2.0, 4.0, 7.0]);
    }
}
