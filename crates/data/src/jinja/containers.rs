//! The methods of Python's lists, tuples and dicts that change nothing: those that do are refused by the sandbox.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::arguments::{bind, integer, required, split};
use super::{invalid, limits, text};

const CHANGE_LISTS: [&str; 8] = ["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"];
const CHANGE_DICTS: [&str; 5] = ["clear", "pop", "popitem", "setdefault", "update"];

fn refused(method: &str, of: &str) -> Error {
    invalid(format!("access to attribute `{method}` of `{of}` object is unsafe: a template changes no values"))
}

pub(super) fn call_list(state: &State<'_, '_>, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    if CHANGE_LISTS.contains(&method) && !value.is_tuple() {
        return Err(refused(method, "list"));
    }
    limits::weigh(state, value)?;
    let items = text::iterated(value)?;
    match method {
        "count" => {
            let [item] = bind(args, [""])?;
            let item = required(item, "value")?;
            Ok(Value::from(items.iter().filter(|it| **it == item).count()))
        }
        "index" => {
            let [item, start, stop] = bind(args, ["", "", ""])?;
            let item = required(item, "value")?;
            let range = bounds(start, stop, items.len())?;
            let found = range.clone().find(|index| items[*index] == item);
            let shown = text::repr(&item)?;
            found.map(Value::from).ok_or_else(|| invalid(format!("{shown} is not in the list")))
        }
        "copy" if !value.is_tuple() => {
            let [] = bind(args, [])?;
            Ok(Value::from(items))
        }
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

/// What Python makes of a start and an end, either of them counted from the end where it is negative.
pub(super) fn bounds(
    start: Option<Value>,
    stop: Option<Value>,
    length: usize,
) -> Result<std::ops::Range<usize>, Error> {
    let place = |value: Option<Value>, default: usize| -> Result<usize, Error> {
        let Some(value) = super::arguments::given(value) else { return Ok(default) };
        let at = integer(&value)?;
        Ok(match at < 0 {
            true => length.saturating_sub(usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX)),
            false => usize::try_from(at).unwrap_or(usize::MAX).min(length),
        })
    };
    Ok(place(start, 0)?..place(stop, length)?)
}

pub(super) fn call_map(state: &State<'_, '_>, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    if CHANGE_DICTS.contains(&method) {
        return Err(refused(method, "dict"));
    }
    match method {
        "get" => {
            let [key, default] = bind(args, ["", ""])?;
            let found = value.get_item(&required(key, "key")?)?;
            Ok(match found.is_undefined() {
                true => default.unwrap_or_else(|| Value::from(())),
                false => found,
            })
        }
        "keys" | "values" | "items" => {
            let [] = bind(args, [])?;
            limits::pay_for_items(state, value.len().unwrap_or(0))?;
            View::of(value, method)
        }
        "copy" => {
            let [] = bind(args, [])?;
            Ok(value.clone())
        }
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

/// `dict.keys()` and the like: not indexed, and no sequence.
#[derive(Debug)]
pub(super) struct View {
    name: &'static str,
    items: Vec<Value>,
}

impl View {
    fn of(map: &Value, method: &str) -> Result<Value, Error> {
        let pairs = pairs(map)?.into_iter();
        let (name, items) = match method {
            "keys" => ("dict_keys(", pairs.map(|(key, _)| key).collect()),
            "values" => ("dict_values(", pairs.map(|(_, value)| value).collect()),
            _ => ("dict_items(", pairs.map(|(key, value)| Value::from(Tuple::from([key, value]))).collect()),
        };
        Ok(Value::from_object(Self { name, items }))
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }
}

impl Object for View {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.items.clone())
    }
}

/// `range(start, stop, step)`
#[derive(Debug)]
pub(super) struct Range {
    start: i64,
    stop: i64,
    step: i64,
}

/// As many as Jinja2's sandbox allows.
const LONGEST_RANGE: usize = 100_000;

impl Range {
    pub(super) fn of(first: i64, second: Option<i64>, step: Option<i64>) -> Result<Value, Error> {
        let (start, stop) = second.map_or((0, first), |second| (first, second));
        let range = Self { start, stop, step: step.unwrap_or(1) };
        match range.step {
            0 => Err(invalid("range() arg 3 must not be zero")),
            _ if range.len() > LONGEST_RANGE => Err(invalid("the range is too long: a template has at most 100000")),
            _ => Ok(Value::from_object(range)),
        }
    }

    fn len(&self) -> usize {
        let span = i128::from(self.stop) - i128::from(self.start);
        let (span, step) = if self.step < 0 { (-span, -i128::from(self.step)) } else { (span, self.step.into()) };
        usize::try_from((span.max(0) + step - 1) / step).unwrap_or(usize::MAX)
    }
}

impl Object for Range {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let index = key.as_usize().filter(|index| *index < self.len())?;
        Some(Value::from(self.start + index as i64 * self.step))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.len())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            1 => write!(f, "range({}, {})", self.start, self.stop),
            step => write!(f, "range({}, {}, {step})", self.start, self.stop),
        }
    }
}

/// The entries of a map in their order.
pub(super) fn pairs(map: &Value) -> Result<Vec<(Value, Value)>, Error> {
    let pair = |key: Value| map.get_item(&key).map(|value| (key, value));
    limits::collected(map.try_iter()?)?.into_iter().map(pair).collect()
}

/// The type `dict`, which makes dicts.
pub(super) fn dict_type() -> Value {
    Value::from_object(DictType)
}

#[derive(Debug)]
struct DictType;

impl fmt::Display for DictType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<class 'dict'>")
    }
}

impl Object for DictType {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    /// Of a map or of pairs, and of what is named.
    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let (positional, named) = split(args)?;
        let mut entries = match positional {
            [] => Vec::new(),
            [map] if map.kind() == ValueKind::Map => pairs(map)?,
            [list] => text::iterated(list)?.iter().map(pair).collect::<Result<_, Error>>()?,
            _ => return Err(Error::from(ErrorKind::TooManyArguments)),
        };
        entries.extend(named.into_iter().map(|(name, value)| (Value::from(name), value)));
        limits::weighed(state, Value::from_pairs(entries))
    }

    fn call_method(self: &Arc<Self>, state: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        if method != "fromkeys" {
            return Err(Error::from(ErrorKind::UnknownMethod));
        }
        let [keys, value] = bind(args, ["", ""])?;
        let value = value.unwrap_or_else(|| Value::from(()));
        let keys = text::iterated(&required(keys, "iterable")?)?;
        limits::weighed(state, Value::from_pairs(keys.into_iter().map(|key| (key, value.clone()))))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

fn pair(value: &Value) -> Result<(Value, Value), Error> {
    match text::iterated(value)?.as_slice() {
        [key, value] => Ok((key.clone(), value.clone())),
        items => Err(invalid(format!("an entry of a dict is a pair, found {} items", items.len()))),
    }
}
