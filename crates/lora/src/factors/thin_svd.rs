//! The singular value decomposition of an update from those of small matrices alone: `B = Q·R` and `Aᵀ = P·S`, so that
//! `B·A = Q·(R·Sᵀ)·Pᵀ`, and the middle is as small as the rank.

use faer::{Mat, MatRef};

use super::Factors;

/// `U·diag(s)·Vᵀ`, as many singular values as the update can have.
#[derive(Debug, Clone)]
pub struct ThinSvd {
    /// `[d_output, k]`
    pub(super) u: Mat<f64>,
    pub(super) s: Vec<f64>,
    /// `[d_input, k]`
    pub(super) v: Mat<f64>,
}

impl Factors {
    /// `None` for factors with values that are not finite.
    pub fn svd(&self) -> Option<ThinSvd> {
        let ((q, r), (p, s)) = (qr(self.b.as_ref()), qr(self.a.transpose()));
        let middle = (r * s.transpose()).thin_svd().ok()?;
        let values: Vec<f64> = middle.S().column_vector().iter().copied().collect();
        let is_finite = values.iter().all(|value| value.is_finite());
        is_finite.then(|| ThinSvd { u: q * middle.U(), s: values, v: p * middle.V() })
    }
}

/// The thin Q and R of a matrix that is as high as wide, or higher.
fn qr(matrix: MatRef<'_, f64>) -> (Mat<f64>, Mat<f64>) {
    let qr = matrix.qr();
    (qr.compute_thin_Q(), qr.thin_R().to_owned())
}

impl ThinSvd {
    /// The largest first.
    pub fn singular_values(&self) -> &[f64] {
        &self.s
    }

    /// The nearest update of this rank (Eckart and Young 1936), or the whole of a lower one. B gets the singular values to the
    /// power of `share` and A to the rest: half each makes two factors of one size, and all in B is how PEFT writes them.
    pub fn factors(&self, rank: usize, share: f64) -> Factors {
        let k = rank.min(self.s.len());
        let power = |value: f64, share: f64| if value > 0.0 { value.powf(share) } else { 0.0 };
        let (u, v, s) = (&self.u, &self.v, &self.s);
        Factors {
            // A zero would be left out of `0^0 = 1`.
            a: Mat::from_fn(
                k,
                v.nrows(),
                |i, j| if share == 1.0 { v[(j, i)] } else { power(s[i], 1.0 - share) * v[(j, i)] },
            ),
            b: Mat::from_fn(u.nrows(), k, |i, j| power(s[j], share) * u[(i, j)]),
            rank: k,
        }
    }
}
