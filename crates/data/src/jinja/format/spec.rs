//! `[[fill]align][sign][z][#][0][width][grouping][.precision][type]`

use minijinja::value::ValueKind;
use minijinja::{Error, Value};

use super::super::numbers::{self, Number};
use super::super::{invalid, text};

/// A width or precision beyond this is no layout of a text.
const MOST: usize = 100_000;

#[derive(Debug, Clone, PartialEq)]
struct Spec {
    fill: char,
    align: Option<char>,
    sign: char,
    no_negative_zero: bool,
    alternate: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

impl Spec {
    fn read(spec: &str) -> Result<Self, Error> {
        let unfit = || invalid(format!("invalid format specifier `{spec}`"));
        let characters: Vec<char> = spec.chars().collect();
        let is_align = |at: usize| characters.get(at).is_some_and(|c| "<>=^".contains(*c));
        let mut at = 0;
        let (mut fill, mut align) = (None, None);
        if is_align(1) {
            (fill, align, at) = (Some(characters[0]), Some(characters[1]), 2);
        } else if is_align(0) {
            (align, at) = (Some(characters[0]), 1);
        }
        let mut one_of = |signs: &str| {
            let found = characters.get(at).copied().filter(|c| signs.contains(*c));
            at += usize::from(found.is_some());
            found
        };
        let sign = one_of("+- ").unwrap_or('-');
        let no_negative_zero = one_of("z").is_some();
        let alternate = one_of("#").is_some();
        if one_of("0").is_some() {
            (fill, align) = (fill.or(Some('0')), align.or(Some('=')));
        }
        let fill = fill.unwrap_or(' ');
        let number = |at: &mut usize| -> Result<Option<usize>, Error> {
            let digits: String = characters[*at..].iter().take_while(|c| c.is_ascii_digit()).collect();
            *at += digits.len();
            match digits.is_empty() {
                true => Ok(None),
                false => digits.parse().ok().filter(|number| *number <= MOST).map(Some).ok_or_else(unfit),
            }
        };
        let width = number(&mut at)?.unwrap_or(0);
        let grouping = characters.get(at).copied().filter(|c| ",_".contains(*c));
        at += usize::from(grouping.is_some());
        let mut precision = None;
        if characters.get(at) == Some(&'.') {
            at += 1;
            precision = Some(number(&mut at)?.ok_or_else(|| invalid("format specifier missing precision"))?);
        }
        let kind = characters.get(at).copied();
        match characters.len() - at {
            0 | 1 => Ok(Self { fill, align, sign, no_negative_zero, alternate, width, grouping, precision, kind }),
            _ => Err(unfit()),
        }
    }
}

/// `format(value, spec)`
pub(in super::super) fn formatted(value: &Value, spec: &str) -> Result<String, Error> {
    if spec.is_empty() {
        return text::str(value);
    }
    let name = text::type_name(value);
    let spec = Spec::read(spec)?;
    let unknown = |kind: char| invalid(format!("unknown format code `{kind}` for object of type `{name}`"));
    if let Some(string) = value.as_str() {
        return match spec.kind {
            None | Some('s') if spec.align != Some('=') => {
                let kept: String = string.chars().take(spec.precision.unwrap_or(usize::MAX)).collect();
                Ok(aligned("", &kept, &spec, '<'))
            }
            None | Some('s') => Err(invalid("`=` alignment not allowed in string format specifier")),
            Some(kind) => Err(unknown(kind)),
        };
    }
    // `True` and the like are text only without a kind of number.
    let is_word = value.kind() == ValueKind::Bool && spec.kind.is_none_or(|kind| kind == 's');
    if is_word && spec.kind.is_some() {
        return Err(unknown('s'));
    }
    match Number::of(value) {
        Some(Number::Integer(integer)) if spec.kind.is_none_or(|kind| "bcdoxXn".contains(kind)) => {
            of_integer(integer, &spec)
        }
        Some(number) if spec.kind.is_none_or(|kind| "eEfFgGn%".contains(kind)) => Ok(of_float(number.float(), &spec)),
        Some(_) => Err(unknown(spec.kind.unwrap_or(' '))),
        None => Err(invalid(format!("unsupported format string passed to {name}.__format__"))),
    }
}

fn of_integer(integer: i128, spec: &Spec) -> Result<String, Error> {
    if spec.precision.is_some() || spec.no_negative_zero {
        return Err(invalid("neither a precision nor `z` is allowed in an integer format specifier"));
    }
    let magnitude = integer.unsigned_abs();
    let (prefix, digits) = match spec.kind {
        Some('b') => ("0b", format!("{magnitude:b}")),
        Some('o') => ("0o", format!("{magnitude:o}")),
        Some('x') => ("0x", format!("{magnitude:x}")),
        Some('X') => ("0X", format!("{magnitude:X}")),
        Some('c') => {
            let character = u32::try_from(integer).ok().and_then(char::from_u32);
            let character = character.ok_or_else(|| invalid("%c arg not in range(0x110000)"))?;
            return Ok(aligned("", &character.to_string(), spec, '<'));
        }
        _ => ("", magnitude.to_string()),
    };
    let group = if matches!(spec.kind, Some('b' | 'o' | 'x' | 'X')) { 4 } else { 3 };
    let prefix = format!("{}{}", sign(integer < 0, spec), if spec.alternate { prefix } else { "" });
    Ok(of_digits(&prefix, &digits, "", group, spec))
}

fn of_float(float: f64, spec: &Spec) -> String {
    let kind = spec.kind.unwrap_or(' ');
    let (shown, percent) = if kind == '%' { (float * 100.0, "%") } else { (float, "") };
    let precision = spec.precision.unwrap_or(6);
    let magnitude = shown.abs();
    let mut digits = match kind.to_ascii_lowercase() {
        _ if !shown.is_finite() => numbers::not_finite(magnitude).to_owned(),
        'e' => numbers::exponential(magnitude, precision),
        'f' | '%' => numbers::fixed(magnitude, precision),
        ' ' => match spec.precision {
            None => numbers::float_repr(magnitude),
            Some(precision) => without_kind(magnitude, precision),
        },
        _ => numbers::general(magnitude, precision, spec.alternate),
    };
    if spec.alternate && shown.is_finite() && !digits.contains('.') {
        digits.insert(digits.find('e').unwrap_or(digits.len()), '.');
    }
    if kind.is_uppercase() {
        digits = digits.to_uppercase();
    }
    let is_zero = !digits.contains(|c: char| ('1'..='9').contains(&c)) && shown.is_finite();
    let is_negative = shown.is_sign_negative() && !shown.is_nan() && !(spec.no_negative_zero && is_zero);
    let whole = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (whole, rest) = digits.split_at(whole);
    of_digits(sign(is_negative, spec), whole, &format!("{rest}{percent}"), 3, spec)
}

/// As `%g`, but with a digit behind the point, and with an exponent where there are no more digits than are asked for.
fn without_kind(magnitude: f64, precision: usize) -> String {
    let text = numbers::general(magnitude, precision, false);
    if text.contains(['.', 'e']) {
        return text;
    }
    match text.len() >= precision.max(1) && magnitude >= 1.0 {
        true => {
            let text = numbers::exponential(magnitude, precision.max(1) - 1);
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "+00"));
            match digits.contains('.') {
                true => format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.')),
                false => text,
            }
        }
        false => text + ".0",
    }
}

fn sign(is_negative: bool, spec: &Spec) -> &'static str {
    match (is_negative, spec.sign) {
        (true, _) => "-",
        (false, '+') => "+",
        (false, ' ') => " ",
        (false, _) => "",
    }
}

/// Whole digits in groups, filled with zeros within these where zeros fill the width.
fn of_digits(prefix: &str, whole: &str, rest: &str, group: usize, spec: &Spec) -> String {
    let grouped = match spec.grouping {
        None => whole.to_owned(),
        Some(separator) => {
            let zeros = spec.fill == '0' && spec.align == Some('=');
            let room = spec.width.saturating_sub(prefix.chars().count() + rest.chars().count());
            let length = |digits: usize| digits + digits.saturating_sub(1) / group;
            let mut missing = 0;
            while zeros && length(whole.len() + missing) < room {
                missing += 1;
            }
            let digits: Vec<char> = std::iter::repeat_n('0', missing).chain(whole.chars()).collect();
            let mut text = String::new();
            for (index, digit) in digits.iter().enumerate() {
                if index > 0 && (digits.len() - index).is_multiple_of(group) {
                    text.push(separator);
                }
                text.push(*digit);
            }
            text
        }
    };
    aligned(prefix, &format!("{grouped}{rest}"), spec, '>')
}

fn aligned(prefix: &str, body: &str, spec: &Spec, default: char) -> String {
    let missing = spec.width.saturating_sub(prefix.chars().count() + body.chars().count());
    let fill = |count: usize| spec.fill.to_string().repeat(count);
    match spec.align.unwrap_or(default) {
        '<' => format!("{prefix}{body}{}", fill(missing)),
        '^' => format!("{}{prefix}{body}{}", fill(missing / 2), fill(missing - missing / 2)),
        '=' => format!("{prefix}{}{body}", fill(missing)),
        _ => format!("{}{prefix}{body}", fill(missing)),
    }
}
