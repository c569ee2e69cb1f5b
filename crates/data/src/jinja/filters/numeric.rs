//! Filters that compute: numbers of texts, roundings, sums.

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, State, Value};

use super::super::arguments::{Args, bind, flag, given, integer, string, values};
use super::super::numbers::{Number, base, integer_value, parse_float, parse_integer, rounded};
use super::super::{invalid, limits, text};
use super::lists::attribute_of;

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("float", float);
    environment.add_filter("int", int);
    environment.add_filter("abs", abs);
    environment.add_filter("round", round);
    environment.add_filter("sum", sum);
    environment.add_filter("filesizeformat", file_size);
}

/// `default` where the value is no number.
fn float(value: &Value, args: Args) -> Result<Value, Error> {
    let [default] = bind(&values(args), ["default"])?;
    let parsed = match value.as_str() {
        Some(text) => parse_float(text),
        None => Number::of(value).map(Number::float),
    };
    Ok(parsed.map(Value::from).or(default).unwrap_or_else(|| Value::from(0.0)))
}

fn int(value: &Value, args: Args) -> Result<Value, Error> {
    let [default, in_base] = bind(&values(args), ["default", "base"])?;
    let parsed = match value.as_str() {
        // As in Jinja2 `42.23` is read as a float, then.
        Some(text) => match parse_integer(text, base(in_base)?) {
            Some(integer) => Some(integer),
            None => parse_float(text).and_then(|float| Number::Float(float).truncated()),
        },
        None => Number::of(value).and_then(Number::truncated),
    };
    Ok(parsed.map(integer_value).or(default).unwrap_or_else(|| Value::from(0)))
}

fn abs(value: &Value) -> Result<Value, Error> {
    match Number::of(value) {
        Some(Number::Integer(integer)) => Ok(integer_value(integer.checked_abs().unwrap_or(i128::MAX))),
        Some(Number::Float(float)) => Ok(Value::from(float.abs())),
        None => Err(invalid(format!("bad operand type for abs(): {}", text::type_name(value)))),
    }
}

/// Always a float: `common` to the nearest, half to even.
fn round(value: &Value, args: Args) -> Result<Value, Error> {
    let [precision, method] = bind(&values(args), ["precision", "method"])?;
    let precision = precision.as_ref().map_or(Ok(0), integer)?;
    let method = method.as_ref().map_or(Ok("common"), string)?;
    let unfit = || invalid(format!("type {} doesn't define __round__ method", text::type_name(value)));
    let number = Number::of(value).ok_or_else(unfit)?;
    let factor = 10f64.powi(precision.clamp(-400, 400) as i32);
    Ok(match (method, number) {
        // An integer stays one.
        ("common", Number::Integer(integer)) => match precision < 0 {
            true => Number::Float(rounded(number, precision)?).truncated().map_or_else(|| value.clone(), integer_value),
            false => integer_value(integer),
        },
        ("common", number) => Value::from(rounded(number, precision)?),
        ("ceil", number) => Value::from((number.float() * factor).ceil() / factor),
        ("floor", number) => Value::from((number.float() * factor).floor() / factor),
        _ => return Err(invalid("method must be common, ceil or floor")),
    })
}

fn sum(state: &State<'_, '_>, value: &Value, args: Args) -> Result<Value, Error> {
    let [attribute, start] = bind(&values(args), ["attribute", "start"])?;
    if let Some(start) = start.as_ref().filter(|start| start.kind() == ValueKind::Seq) {
        return joined(state, start, value, given(attribute));
    }
    let mut total = match &start {
        Some(start) => Number::of(start).ok_or_else(|| invalid("`start` is no number"))?,
        None => Number::Integer(0),
    };
    let items = text::iterated(value)?;
    limits::pay_for_items(state, items.len())?;
    for item in items {
        let item = match given(attribute.clone()) {
            Some(attribute) => attribute_of(state, &item, &attribute)?,
            None => item,
        };
        let unfit = || invalid(format!("{} cannot be added to a number", text::type_name(&item)));
        total = match (total, Number::of(&item).ok_or_else(unfit)?) {
            (Number::Integer(a), Number::Integer(b)) => {
                Number::Integer(a.checked_add(b).ok_or_else(|| invalid("the sum is too large"))?)
            }
            (a, b) => Number::Float(a.float() + b.float()),
        };
    }
    Ok(total.value())
}

/// The lists of a list as one.
fn joined(state: &State<'_, '_>, start: &Value, lists: &Value, attribute: Option<Value>) -> Result<Value, Error> {
    let mut items = text::iterated(start)?;
    let lists = text::iterated(lists)?;
    limits::pay_for_items(state, lists.len())?;
    for list in lists {
        let list = attribute.as_ref().map_or(Ok(list.clone()), |attribute| attribute_of(state, &list, attribute))?;
        match list.kind() {
            ValueKind::Seq => {
                items.extend(text::iterated(&list)?);
                limits::check_items(items.len())?;
            }
            _ => return Err(invalid(format!("can only concatenate list (not {}) to list", text::type_name(&list)))),
        }
    }
    Ok(Value::from(items))
}

/// `1.2 MB`, or with `binary` `1.1 MiB`.
fn file_size(value: &Value, args: Args) -> Result<String, Error> {
    let [binary] = bind(&values(args), ["binary"])?;
    let (base, prefixes) = match flag(binary, false) {
        true => (1024.0, ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"]),
        false => (1000.0, ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"]),
    };
    let bytes = match value.kind() {
        ValueKind::String => value.as_str().and_then(parse_float),
        _ => Number::of(value).map(Number::float),
    };
    let bytes = bytes.ok_or_else(|| invalid("the size is no number"))?;
    if bytes == 1.0 {
        return Ok("1 Byte".to_owned());
    }
    if bytes < base {
        return Ok(format!("{} Bytes", bytes.trunc()));
    }
    let mut unit = base;
    for (index, prefix) in prefixes.into_iter().enumerate() {
        unit = base.powi(index as i32 + 2);
        if bytes < unit {
            return Ok(format!("{:.1} {prefix}", base * bytes / unit));
        }
    }
    Ok(format!("{:.1} {}", base * bytes / unit, prefixes[7]))
}
