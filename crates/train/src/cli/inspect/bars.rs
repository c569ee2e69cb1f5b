//! Numbers as bars of characters.

const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A bar of `width` characters at most, as long as the share is of 1.
pub(super) fn bar(share: f64, width: usize) -> String {
    let eighths = if share > 0.0 { ((share.min(1.0) * 8.0 * width as f64).round() as usize).max(1) } else { 0 };
    let mut bar = EIGHTHS[7].to_string().repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8 - 1]);
    }
    let filled = bar.chars().count();
    bar + &" ".repeat(width - filled)
}

/// A column for each value, as high as it is of the largest; of many values `width` are shown.
pub(super) fn columns(values: &[f64], width: usize) -> String {
    let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(*value));
    let count = values.len().min(width);
    let column = |n: usize| {
        let value = values[n * values.len() / count];
        match value > 0.0 && largest > 0.0 {
            true => HEIGHTS[((value / largest * 8.0).ceil() as usize).clamp(1, 8) - 1],
            false => ' ',
        }
    };
    let shown: String = (0..count).map(column).collect();
    shown + &" ".repeat(width - count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_and_columns_as_high_as_their_values() {
        assert_eq!([0.0, 0.001, 0.5, 1.0, 2.0].map(|share| bar(share, 4)), ["    ", "▏   ", "██  ", "████", "████"]);
        assert_eq!(columns(&[4.0, 2.0, 1e-9, 0.0], 6), "█▄▁   ");
        assert_eq!(columns(&[8.0, 7.0, 4.0, 3.0, 2.0, 1.0], 3), "█▄▂");
        assert_eq!((columns(&[], 2), columns(&[0.0], 2)), ("  ".to_string(), "  ".to_string()));
    }
}
