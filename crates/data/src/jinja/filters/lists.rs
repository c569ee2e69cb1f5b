//! Filters over lists and dicts.

use minijinja::value::{Tuple, ValueKind};
use minijinja::{Environment, Error, State, Value};

use super::super::arguments::{Args, bind, flag, given, values};
use super::super::containers::pairs;
use super::super::{invalid, limits, text};

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("items", items);
    environment.add_filter("list", |value: &Value| text::iterated(value).map(Value::from));
    environment.add_filter("slice", slice);
    environment.add_filter("batch", batch);
    environment.add_filter("attr", attribute);
    environment.add_filter("random", |_: &Value, _: Args| -> Result<Value, Error> {
        Err(invalid("`random` gives another text each time: choose in the data"))
    });
    for name in ["default", "d"] {
        environment.add_filter(name, default);
    }
}

/// `a.b.0` of a value; what is not there is undefined. It is asked of each item of a list, so that its length is paid for each time.
pub(super) fn attribute_of(state: &State<'_, '_>, value: &Value, attribute: &Value) -> Result<Value, Error> {
    limits::pay_for_text(state, attribute)?;
    let Some(path) = attribute.as_str() else { return value.get_item(attribute) };
    let mut value = value.clone();
    for part in path.split('.') {
        value = match part.parse::<usize>() {
            Ok(index) => value.get_item(&Value::from(index))?,
            Err(_) => value.get_attr(part)?,
        };
    }
    Ok(value)
}

/// Attributes alone, no items, which `map` and `selectattr` look for as well.
fn attribute(value: &Value, name: &str) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Plain | ValueKind::Undefined => value.get_attr(name),
        _ => Ok(Value::UNDEFINED),
    }
}

/// For what is undefined, or with `boolean` for whatever Python takes for false.
fn default(value: &Value, args: Args) -> Result<Value, Error> {
    let [default, boolean] = bind(&values(args), ["default_value", "boolean"])?;
    let is_kept = !value.is_undefined() && (value.is_true() || !flag(boolean, false));
    Ok(if is_kept { value.clone() } else { default.unwrap_or_else(|| Value::from("")) })
}

/// Pairs of a dict; of what is undefined none.
fn items(value: &Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(Value::from(Vec::<Value>::new())),
        ValueKind::Map => {
            let pairs = pairs(value)?.into_iter().map(|(key, value)| Value::from(Tuple::from([key, value])));
            Ok(Value::from_iter(pairs))
        }
        _ => Err(invalid("Can only get item pairs from a mapping.")),
    }
}

fn number_of(value: Option<Value>) -> Result<usize, Error> {
    let count = super::super::arguments::count(value, 0)?;
    if count == 0 { Err(invalid("the number of lists must be above 0")) } else { Ok(count) }
}

/// So many lists, of which the first have the items left over; the others are filled up to their length.
fn slice(state: &State<'_, '_>, value: &Value, args: Args) -> Result<Value, Error> {
    let [slices, fill] = bind(&values(args), ["slices", "fill_with"])?;
    let (slices, items) = (number_of(slices)?, text::iterated(value)?);
    limits::check_items(slices)?;
    let (each, left) = (items.len() / slices, items.len() % slices);
    let mut rest = items.into_iter();
    let lists = (0..slices).map(|index| {
        let mut list: Vec<Value> = rest.by_ref().take(each + usize::from(index < left)).collect();
        list.extend(given(fill.clone()).filter(|_| index >= left && left > 0));
        Value::from(list)
    });
    limits::weighed(state, lists.collect())
}

/// Lists of so many items; the last may be filled up.
fn batch(state: &State<'_, '_>, value: &Value, args: Args) -> Result<Value, Error> {
    let [count, fill] = bind(&values(args), ["linecount", "fill_with"])?;
    let (count, items) = (number_of(count)?, text::iterated(value)?);
    // The last is filled up.
    limits::check_items(if fill.is_some() { count } else { items.len() })?;
    let lists = items.chunks(count).map(|items| {
        let mut list = items.to_vec();
        if let Some(fill) = given(fill.clone()) {
            list.resize(count, fill);
        }
        Value::from(list)
    });
    limits::weighed(state, lists.collect())
}
