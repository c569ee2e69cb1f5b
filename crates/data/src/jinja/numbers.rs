//! Python's numbers: how they are written and read, and their methods.

use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, ErrorKind, Value};

use super::arguments::{bind, integer, string};
use super::invalid;

/// A number, or a boolean, which is one in Python.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Integer(i128),
    Float(f64),
}

impl Number {
    pub(super) fn of(value: &Value) -> Option<Self> {
        match value.kind() {
            ValueKind::Bool => Some(Self::Integer(value.is_true().into())),
            ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok().map(Self::Integer),
            ValueKind::Number => f64::try_from(value.clone()).ok().map(Self::Float),
            _ => None,
        }
    }

    /// `None` for a float, even a whole one.
    pub(super) fn integer(self) -> Option<i128> {
        match self {
            Self::Integer(integer) => Some(integer),
            Self::Float(_) => None,
        }
    }

    pub(super) fn float(self) -> f64 {
        match self {
            Self::Integer(integer) => integer as f64,
            Self::Float(float) => float,
        }
    }

    /// `int(number)`: towards zero. `None`: there is no such integer.
    pub(super) fn truncated(self) -> Option<i128> {
        match self {
            Self::Integer(integer) => Some(integer),
            // 2^127, from which on an i128 ends.
            Self::Float(float) => (float.abs() < 1.7e38).then(|| float.trunc() as i128),
        }
    }

    pub(super) fn value(self) -> Value {
        match self {
            Self::Integer(integer) => integer_value(integer),
            Self::Float(float) => Value::from(float),
        }
    }
}

/// As minijinja keeps an integer that came out of a computation of its own.
pub(super) fn integer_value(integer: i128) -> Value {
    i64::try_from(integer).map_or_else(|_| Value::from(integer), Value::from)
}

pub(super) fn repr(value: &Value) -> String {
    match f64::try_from(value.clone()) {
        Ok(float) if !value.is_integer() => float_repr(float),
        _ => value.to_string(),
    }
}

/// The shortest digits that give the number again, with an exponent from 1e16 on and below 1e-4.
pub(super) fn float_repr(float: f64) -> String {
    if !float.is_finite() {
        return not_finite(float).to_owned();
    }
    let magnitude = float.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let text = format!("{float:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return match exponent.strip_prefix('-') {
            Some(exponent) => format!("{digits}e-{exponent:0>2}"),
            None => format!("{digits}e+{exponent:0>2}"),
        };
    }
    format!("{float:?}")
}

pub(super) fn not_finite(float: f64) -> &'static str {
    match (float.is_nan(), float < 0.0) {
        (true, _) => "nan",
        (false, true) => "-inf",
        (false, false) => "inf",
    }
}

/// `float(text)`
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.trim_start_matches(['+', '-']);
    let is_word = matches!(digits, "inf" | "infinity" | "nan");
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    match is_word || is_number && underscores_are_between_digits(&text) {
        true => text.replace('_', "").parse().ok(),
        false => None,
    }
}

/// `int(text, base)`
pub(super) fn parse_integer(text: &str, base: u32) -> Option<i128> {
    let text = text.trim().to_ascii_lowercase();
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)].into_iter().find_map(|(prefix, of_prefix)| {
        let digits = digits.strip_prefix(prefix).filter(|_| base == of_prefix || base == 0)?;
        Some((digits.strip_prefix('_').unwrap_or(digits), of_prefix))
    });
    let (digits, base) = prefixed.unwrap_or((digits, if base == 0 { 10 } else { base }));
    if !(2..=36).contains(&base) || digits.starts_with(['+', '-']) || !underscores_are_between_digits(digits) {
        return None;
    }
    let integer = i128::from_str_radix(&digits.replace('_', ""), base).ok()?;
    Some(if is_negative { -integer } else { integer })
}

fn underscores_are_between_digits(text: &str) -> bool {
    !text.starts_with('_') && !text.ends_with('_') && !text.contains("__")
}

/// The digits of a float with so many behind the point.
pub(super) fn fixed(float: f64, precision: usize) -> String {
    format!("{float:.precision$}")
}

/// `1.50e+00`
pub(super) fn exponential(float: f64, precision: usize) -> String {
    let text = format!("{float:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{digits}e-{exponent:0>2}"),
        None => format!("{digits}e+{exponent:0>2}"),
    }
}

/// C's `%g`: so many digits in all, in whichever of the two forms is shorter; zeros behind the point stay where they are
/// asked for.
pub(super) fn general(float: f64, precision: usize, keep_zeros: bool) -> String {
    let precision = precision.max(1);
    let exponent: i64 = match float == 0.0 {
        true => 0,
        false => {
            format!("{float:.0$e}", precision - 1).split_once('e').and_then(|(_, it)| it.parse().ok()).unwrap_or(0)
        }
    };
    let without_zeros = |digits: &str| match digits.contains('.') && !keep_zeros {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    };
    if exponent < -4 || exponent >= precision as i64 {
        let text = exponential(float, precision - 1);
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "+00"));
        return format!("{}e{exponent}", without_zeros(digits));
    }
    without_zeros(&fixed(float, (precision as i64 - 1 - exponent).max(0) as usize))
}

/// The methods of `int` and `float` that have a use in a text.
pub(super) fn call(value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let unknown = || Err(Error::from(ErrorKind::UnknownMethod));
    match (Number::of(value), method) {
        (Some(Number::Integer(integer)), "to_bytes") => to_bytes(integer, args),
        (Some(number), _) => {
            let [] = bind(args, [])?;
            Ok(match (number, method) {
                (number, "conjugate") => number.value(),
                (Number::Integer(integer), "bit_length") => Value::from(128 - integer.unsigned_abs().leading_zeros()),
                (Number::Integer(integer), "bit_count") => Value::from(integer.unsigned_abs().count_ones()),
                (Number::Integer(_), "is_integer") => Value::from(true),
                (Number::Integer(integer), "as_integer_ratio") => {
                    Value::from(Tuple::from([integer_value(integer), Value::from(1)]))
                }
                (Number::Float(float), "is_integer") => Value::from(float.is_finite() && float.fract() == 0.0),
                (Number::Float(float), "as_integer_ratio") => ratio(float)?,
                (Number::Float(float), "hex") => Value::from(hexadecimal(float)),
                _ => return unknown(),
            })
        }
        (None, _) => unknown(),
    }
}

fn to_bytes(integer: i128, args: &[Value]) -> Result<Value, Error> {
    let [length, order] = bind(args, ["length", "byteorder"])?;
    let length = super::arguments::count(length, 1)?;
    let order = order.as_ref().map_or(Ok("big"), string)?;
    let little = integer.to_le_bytes();
    if integer < 0 || little.iter().skip(length).any(|byte| *byte != 0) {
        return Err(invalid("int too big to convert"));
    }
    let mut bytes: Vec<u8> = little.iter().copied().chain(std::iter::repeat(0)).take(length).collect();
    if order == "big" {
        bytes.reverse();
    }
    Ok(Value::from_bytes(bytes))
}

/// Two integers whose quotient the float is.
fn ratio(float: f64) -> Result<Value, Error> {
    let (mut numerator, mut denominator) = (float, 1.0);
    while numerator.fract() != 0.0 {
        numerator *= 2.0;
        denominator *= 2.0;
    }
    let integer = |float: f64| Number::Float(float).truncated().ok_or_else(|| invalid("the number is too large"));
    Ok(Value::from(Tuple::from([integer_value(integer(numerator)?), integer_value(integer(denominator)?)])))
}

/// `0x1.8000000000000p+1`
fn hexadecimal(float: f64) -> String {
    if !float.is_finite() {
        return not_finite(float).to_owned();
    }
    let bits = float.to_bits();
    let sign = if float.is_sign_negative() { "-" } else { "" };
    let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i64, bits & ((1 << 52) - 1));
    match (exponent, fraction) {
        (0, 0) => format!("{sign}0x0.0p+0"),
        (0, _) => format!("{sign}0x0.{fraction:013x}p-1022"),
        _ => format!("{sign}0x1.{fraction:013x}p{:+}", exponent - 1023),
    }
}

/// The base of an `int` filter, and the like.
pub(super) fn base(value: Option<Value>) -> Result<u32, Error> {
    match value {
        Some(value) => u32::try_from(integer(&value)?).map_err(|_| invalid("a base is 0 or 2 to 36")),
        None => Ok(10),
    }
}

/// `round(number, precision)`, half to even.
pub(super) fn rounded(number: Number, precision: i64) -> Result<f64, Error> {
    let float = number.float();
    if !float.is_finite() {
        return Ok(float);
    }
    let text = match usize::try_from(precision) {
        // Digits are those of the exact value, so that 2.675 is below its half.
        Ok(precision) => fixed(float, precision.min(1100)),
        Err(_) => {
            let unit = 10f64.powi((-precision).min(400) as i32);
            return Ok((float / unit).round_ties_even() * unit);
        }
    };
    text.parse().map_err(|_| invalid("the number cannot be rounded"))
}
