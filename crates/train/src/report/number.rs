//! Numbers as a reader wants them: as many digits as mean something, groups of three, no `0.00002`.

/// Between groups of three digits, so that a number never breaks at the end of a line.
const NARROW_SPACE: char = '\u{202f}';

/// About `digits` significant digits, without trailing zeros: `0.0312`, `1.25`, `2e-5`, `123 457`.
pub(super) fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_string();
    }
    if !value.is_finite() {
        return value.to_string();
    }
    let digits = digits.max(1);
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').expect("`{:e}` writes an exponent");
    let exponent: i32 = exponent.parse().expect("`{:e}` writes its exponent as an integer");
    match exponent {
        -3..=5 => {
            let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
            trimmed(&grouped(&format!("{value:.decimals$}"))).to_string()
        }
        _ => format!("{}e{exponent}", trimmed(mantissa)),
    }
}

/// A fixed number of decimals: scores stand below one another and are compared by eye.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    match value.abs() {
        size if size < 10.0 => format!("{value:.decimals$}"),
        size if size < 1000.0 => format!("{value:.*}", decimals.min(2)),
        _ => significant(value, 4),
    }
}

pub(super) fn count(value: usize) -> String {
    grouped(&value.to_string())
}

/// `0.0312` as `3.1 %`; what is neither none nor all does not read as if it were.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        value if value > 0.0 && value < 0.05 => "< 0.1\u{a0}%".to_string(),
        value if value < 100.0 && value > 99.95 => "> 99.9\u{a0}%".to_string(),
        value => format!("{value:.1}\u{a0}%"),
    }
}

/// `0.851 – 0.934`
pub(super) fn interval((low, high): (f64, f64), shown: impl Fn(f64) -> String) -> String {
    // A line may break behind a dash, even before a space that does not break; a word joiner keeps it together.
    format!("{}\u{a0}–\u{2060}\u{a0}{}", shown(low), shown(high))
}

/// `1 text`, `3 texts`
pub(super) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

fn grouped(number: &str) -> String {
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(whole, rest)| (whole, Some(rest)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut text = sign.to_string();
    for (i, digit) in digits.chars().enumerate() {
        // Four digits are read at a glance.
        if i > 0 && digits.len() > 4 && (digits.len() - i).is_multiple_of(3) {
            text.push(NARROW_SPACE);
        }
        text.push(digit);
    }
    match fraction {
        Some(fraction) => format!("{text}.{fraction}"),
        None => text,
    }
}

fn trimmed(number: &str) -> &str {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        let texts: Vec<String> = [0.0, 0.031_24, 1.25, -2.5, 2e-5, 1.234e-4, 99.96, 12_345.6, 1e6, 1.5e9, 0.1 + 0.2]
            .iter()
            .map(|value| significant(*value, 3))
            .collect();
        assert_eq!(
            texts,
            ["0", "0.0312", "1.25", "-2.5", "2e-5", "1.23e-4", "100", "12\u{202f}346", "1e6", "1.5e9", "0.3"]
        );
        assert_eq!(significant(f64::NAN, 3), "NaN");
        assert_eq!(significant(100.0, 3), "100");
    }

    #[test]
    fn scores_keep_their_decimals_and_large_ones_lose_them() {
        assert_eq!(fixed(0.9, 4), "0.9000");
        assert_eq!(fixed(-0.125, 3), "-0.125");
        assert_eq!(fixed(17.344_44, 4), "17.34");
        assert_eq!(fixed(12_345.6, 4), "12\u{202f}346");
        assert_eq!(fixed(f64::INFINITY, 4), "inf");
    }

    #[test]
    fn shares_are_not_rounded_to_none_or_all() {
        let texts: Vec<String> = [0.0, 0.0001, 0.0312, 0.9999, 1.0].iter().map(|share| percent(*share)).collect();
        assert_eq!(texts, ["0.0\u{a0}%", "< 0.1\u{a0}%", "3.1\u{a0}%", "> 99.9\u{a0}%", "100.0\u{a0}%"]);
    }

    #[test]
    fn counts_are_grouped_from_five_digits_on() {
        assert_eq!(count(1234), "1234");
        assert_eq!(count(12_345), "12\u{202f}345");
        assert_eq!(counted(1, "text", "texts"), "1 text");
        assert_eq!(counted(1_234_567, "text", "texts"), "1\u{202f}234\u{202f}567 texts");
    }
}
