//! The arguments of a call, by position or by name, as a Python function takes them.

use minijinja::value::{Kwargs, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Error, ErrorKind, Value};

use super::numbers::Number;
use super::{invalid, text};

/// What a filter is given behind its value.
pub(super) type Args = Rest<ValueOrKwargs>;

pub(super) fn values(args: Args) -> Vec<Value> {
    args.0.into_iter().map(ValueOrKwargs::into_value).collect()
}

/// The values of `N` parameters; `None` for those that are not given. A parameter that is named `""` is given by position
/// alone.
pub(super) fn bind<const N: usize>(args: &[Value], names: [&str; N]) -> Result<[Option<Value>; N], Error> {
    let (positional, named) = split(args)?;
    if positional.len() > N {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    let mut values = [const { None }; N];
    for (slot, value) in values.iter_mut().zip(positional) {
        *slot = Some(value.clone());
    }
    for (name, value) in named {
        let slot = names.iter().position(|known| *known == name).map(|index| &mut values[index]);
        match slot {
            Some(slot @ None) => *slot = Some(value),
            Some(Some(_)) => return Err(invalid(format!("`{name}` is given twice"))),
            None => return Err(Error::new(ErrorKind::TooManyArguments, format!("unknown keyword argument `{name}`"))),
        }
    }
    Ok(values)
}

/// Values by name, in the order in which they are given.
type Named = Vec<(String, Value)>;

/// Those by position, and those by name.
pub(super) fn split(args: &[Value]) -> Result<(&[Value], Named), Error> {
    match args.split_last() {
        Some((last, positional)) if last.is_kwargs() => {
            let named = Kwargs::try_from(last.clone())?;
            let get = |name: &str| Ok((name.to_owned(), named.get::<Value>(name)?));
            let named = named.args().map(get).collect::<Result<Vec<_>, Error>>()?;
            Ok((positional, named))
        }
        _ => Ok((args, Vec::new())),
    }
}

pub(super) fn required(value: Option<Value>, name: &str) -> Result<Value, Error> {
    value.ok_or_else(|| Error::new(ErrorKind::MissingArgument, format!("`{name}` is missing")))
}

/// A string, and nothing that would have to become one.
pub(super) fn string(value: &Value) -> Result<&str, Error> {
    let text = value.as_str().filter(|_| value.kind() == ValueKind::String);
    text.ok_or_else(|| invalid(format!("expected a string, found {}", text::type_name(value))))
}

pub(super) fn integer(value: &Value) -> Result<i64, Error> {
    let number = Number::of(value).and_then(Number::integer).and_then(|integer| i64::try_from(integer).ok());
    number.ok_or_else(|| invalid(format!("expected an integer, found {}", text::type_name(value))))
}

/// A number of characters or items, none if it is negative.
pub(super) fn count(value: Option<Value>, default: usize) -> Result<usize, Error> {
    match value {
        Some(value) => Ok(usize::try_from(integer(&value)?).unwrap_or(0)),
        None => Ok(default),
    }
}

/// As Python takes any value for true or false.
pub(super) fn flag(value: Option<Value>, default: bool) -> bool {
    value.map_or(default, |value| value.is_true())
}

/// `None` where Python's `None` stands for nothing.
pub(super) fn given(value: Option<Value>) -> Option<Value> {
    value.filter(|value| !value.is_none() && !value.is_undefined())
}
