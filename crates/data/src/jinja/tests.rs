//! Jinja2's tests where they decide otherwise than those of the engine.

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::characters::is_cased;
use super::containers::View;
use super::numbers::Number;
use super::{invalid, limits, text};

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_test("sequence", is_sequence);
    environment.add_test("iterable", |value: &Value| is_sequence(value) || value.kind() == ValueKind::Iterable);
    environment.add_test("number", |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool));
    environment.add_test("integer", |value: &Value| value.kind() == ValueKind::Number && value.is_integer());
    environment.add_test("float", |value: &Value| value.kind() == ValueKind::Number && !value.is_integer());
    environment.add_test("lower", |value: &Value| -> Result<bool, Error> {
        let text = text::str(value)?;
        Ok(text.chars().any(is_cased) && text == text.to_lowercase())
    });
    environment.add_test("upper", |value: &Value| -> Result<bool, Error> {
        let text = text::str(value)?;
        Ok(text.chars().any(is_cased) && text == text.to_uppercase())
    });
    environment.add_test("odd", |value: &Value| remainder(value, &Value::from(2)).map(|rest| rest == 1.0));
    environment.add_test("even", |value: &Value| remainder(value, &Value::from(2)).map(|rest| rest == 0.0));
    environment.add_test("divisibleby", |value: &Value, by: &Value| remainder(value, by).map(|rest| rest == 0.0));
    environment.add_test("sameas", |state: &mut State<'_, '_>, value: &Value, other: &Value| {
        limits::weigh(state, other).map(|()| same_as(value, other))
    });
    environment.add_test("callable", is_callable);
    environment.add_test("filter", |state: &mut State<'_, '_>, name: String| {
        is_known(state.apply_filter(&name, &[]), ErrorKind::UnknownFilter)
    });
}

/// What has a length and items by number or key. Two lists that were joined are something to go through to the engine.
fn is_sequence(value: &Value) -> bool {
    match value.kind() {
        ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Bytes | ValueKind::Undefined => true,
        ValueKind::Iterable => value.downcast_object_ref::<View>().is_none(),
        _ => false,
    }
}

/// As Python's `%` gives it, of whatever is a number.
fn remainder(value: &Value, by: &Value) -> Result<f64, Error> {
    let number =
        |value: &Value| Number::of(value).ok_or_else(|| invalid(format!("{} is no number", text::type_name(value))));
    let (number, by) = (number(value)?, number(by)?);
    match (number, by) {
        (_, by) if by.float() == 0.0 => Err(invalid("division by zero")),
        (Number::Integer(a), Number::Integer(b)) => Ok(a.checked_rem_euclid(b).unwrap_or(0) as f64),
        (a, b) => Ok(a.float().rem_euclid(b.float())),
    }
}

/// Python's `is`: of the same type and one object, which numbers and texts of the same value mostly are.
fn same_as(value: &Value, other: &Value) -> bool {
    text::type_name(value) == text::type_name(other) && value == other
}

/// Functions, macros and types; the methods of values are not seen as values here.
fn is_callable(value: &Value) -> bool {
    value.kind() == ValueKind::Plain
}

fn is_known(result: Result<Value, Error>, unknown: ErrorKind) -> bool {
    !matches!(result, Err(error) if error.kind() == unknown)
}
