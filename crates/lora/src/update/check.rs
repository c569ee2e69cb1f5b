//! What a merged tensor must be by the files alone, for whoever compares one. A method says it beside its form, in f64 and without
//! anything that folds: a mistake in that would be the same on both sides.

/// What an update makes of a tensor of the base.
pub trait Expected {
    /// Whether every row has to be [looked at](Self::look) before the first is compared.
    fn looks_first(&self) -> bool {
        false
    }

    /// Takes note of some whole rows of the base, from the value of index `start` on.
    fn look(&mut self, _start: usize, _base: &[f32]) {}

    /// The first of some whole rows' values, from the one of index `start` on, that is another than rounding explains.
    fn first_beyond_rounding(&self, start: usize, base: &[f32], found: &[f32], precision: Precision) -> Option<usize>;
}

/// How exactly a type holds a value.
#[derive(Debug, Clone, Copy)]
pub struct Precision {
    /// The largest error of rounding to it, relative to the value.
    pub relative: f64,
    /// The largest error of rounding values so small that they lose digits.
    pub smallest: f64,
}

impl Precision {
    /// Whether a value is the expected one but for one rounding, and for what roundings in f32 before it come to. Not so of what is
    /// no number.
    pub(crate) fn explains(self, found: f32, expected: f64, before: f64) -> bool {
        let allowed = self.relative * expected.abs() + self.smallest + before;
        (f64::from(found) - expected).abs() <= allowed
    }
}
