//! Shades of a heat table. Ten of them, as classes of `style.css`, so that each can be given text that reads on it.

/// From 0, nothing, to 9, all.
pub(super) fn shade(share: f64) -> u8 {
    if share > 0.0 { (share * 9.0).ceil().clamp(1.0, 9.0) as u8 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_more_than_nothing_has_a_shade() {
        let shares = [f64::NAN, 0.0, 1e-9, 0.1, 0.5, 0.99, 1.0, 1.5];
        assert_eq!(shares.map(shade), [0, 0, 1, 1, 5, 9, 9, 9]);
    }
}
