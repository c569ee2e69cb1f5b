//! The operators `~` and `%`, as filters that [`rewrite`](super::rewrite) puts in their place.

use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, State, Value};

use super::limits::Text;
use super::numbers::{Number, integer_value};
use super::rewrite::{CONCATENATE, MODULO};
use super::{check_defined, invalid, printf, text};

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter(CONCATENATE, concatenate);
    environment.add_filter(MODULO, modulo);
}

fn concatenate(state: &mut State<'_, '_>, first: &Value, others: Rest<Value>) -> Result<Value, Error> {
    let mut joined = Text::default();
    for value in std::iter::once(first).chain(others.iter()) {
        check_defined(state, value)?;
        match value.as_str() {
            Some(text) => joined.push_str(text)?,
            None => joined.push_str(&text::str(value)?)?,
        }
    }
    Ok(Value::from(joined.into_string()))
}

/// The remainder has the sign of the divisor; of a string it is its format.
fn modulo(state: &mut State<'_, '_>, left: &Value, right: &Value) -> Result<Value, Error> {
    check_defined(state, left)?;
    check_defined(state, right)?;
    if let Some(format) = left.as_str() {
        return printf::format(format, right).map(Value::from);
    }
    let unfit = || invalid(format!("`%` is not for {} and {}", text::type_name(left), text::type_name(right)));
    if left.kind() == ValueKind::Undefined || right.kind() == ValueKind::Undefined {
        return Err(unfit());
    }
    let (a, b) = (Number::of(left).ok_or_else(unfit)?, Number::of(right).ok_or_else(unfit)?);
    if b.float() == 0.0 {
        return Err(invalid("division by zero"));
    }
    Ok(match (a, b) {
        (Number::Integer(a), Number::Integer(b)) => {
            let remainder = a.checked_rem(b).unwrap_or(0);
            let is_beside = remainder != 0 && (remainder < 0) != (b < 0);
            integer_value(if is_beside { remainder + b } else { remainder })
        }
        (a, b) => {
            let (a, b) = (a.float(), b.float());
            let remainder = a % b;
            Value::from(match remainder {
                0.0 => 0.0_f64.copysign(b),
                _ if (remainder < 0.0) != (b < 0.0) => remainder + b,
                _ => remainder,
            })
        }
    })
}
