//! How two updates of a module lie to one another.

use faer::{Mat, MatRef};

use super::ThinSvd;

/// A singular value below this share of the largest is what f32 leaves of a direction that is not there.
const NOTHING: f64 = 1e-6;

/// Principal angles between the spaces of two updates, in radians, the smallest first, as many as the smaller space has
/// dimensions.
#[derive(Debug, Clone, PartialEq)]
pub struct Angles {
    /// Between what they write: their column spaces, within `d_output` dimensions.
    pub outputs: Vec<f64>,
    /// Between what they read: their row spaces, within `d_input` dimensions.
    pub inputs: Vec<f64>,
}

/// The cosines are the singular values of `U₁ᵀU₂` and of `V₁ᵀV₂` (Björck and Golub 1973, "Numerical methods for computing angles
/// between linear subspaces"). `None` where one of the updates is nothing.
pub fn principal_angles(left: &ThinSvd, right: &ThinSvd) -> Option<Angles> {
    let [k_left, k_right] = [left, right].map(dimensions);
    if k_left * k_right == 0 {
        return None;
    }
    let between = |left: &Mat<f64>, right: &Mat<f64>| {
        let (left, right): (MatRef<'_, f64>, MatRef<'_, f64>) = (left.get(.., ..k_left), right.get(.., ..k_right));
        let cosines = (left.transpose() * right).singular_values().ok()?;
        Some(cosines.into_iter().map(|cosine| cosine.clamp(0.0, 1.0).acos()).collect())
    };
    Some(Angles { outputs: between(&left.u, &right.u)?, inputs: between(&left.v, &right.v)? })
}

fn dimensions(svd: &ThinSvd) -> usize {
    let largest = svd.s.first().copied().unwrap_or_default();
    svd.s.iter().take_while(|value| **value > NOTHING * largest).count()
}
