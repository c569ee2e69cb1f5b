//! Sizes as they are typed.

use bytesize::ByteSize;

/// `500MB`, `2GB`, or a number of bytes.
pub(super) fn size(text: &str) -> Result<usize, String> {
    match text.parse::<ByteSize>() {
        Ok(size) if size.as_u64() > 0 => Ok(size.as_u64() as usize),
        _ => Err(format!("expected a size such as 500MB or 2GB, found `{text}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_units_of_transformers() {
        assert_eq!((size("120KB"), size("2gb"), size("77")), (Ok(120_000), Ok(2_000_000_000), Ok(77)));
        assert!(size("2XB").is_err() && size("0GB").is_err() && size("-1MB").is_err() && size("MB").is_err());
    }
}
