//! Filters that compare: sorting, grouping, and what is left of repetitions.

use std::cmp::Ordering;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, Tuple, ValueKind};
use minijinja::{Environment, Error, State, Value};

use super::super::arguments::{Args, bind, flag, given, required, string, values};
use super::super::containers::pairs;
use super::super::numbers::Number;
use super::super::{invalid, limits, text};
use super::lists::attribute_of;

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("sort", sort);
    environment.add_filter("dictsort", sort_dict);
    environment.add_filter("groupby", group);
}

/// As Python compares two values: numbers with numbers, texts with texts, lists item by item.
fn compare(a: &Value, b: &Value) -> Result<Ordering, Error> {
    let unfit = || invalid(format!("`<` is not for {} and {}", text::type_name(a), text::type_name(b)));
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return match (a, b) {
            (Number::Integer(a), Number::Integer(b)) => Ok(a.cmp(&b)),
            (a, b) => Ok(a.float().partial_cmp(&b.float()).unwrap_or(Ordering::Equal)),
        };
    }
    match (a.kind(), b.kind()) {
        (ValueKind::String, ValueKind::String) => Ok(a.as_str().cmp(&b.as_str())),
        (ValueKind::Seq, ValueKind::Seq) if a.is_tuple() == b.is_tuple() => {
            let (a, b) = (text::iterated(a)?, text::iterated(b)?);
            for (a, b) in a.iter().zip(&b) {
                let order = compare(a, b)?;
                if order.is_ne() {
                    return Ok(order);
                }
            }
            Ok(a.len().cmp(&b.len()))
        }
        _ => Err(unfit()),
    }
}

/// What a value counts as: a text without regard to case, unless that is asked for.
fn key(value: Value, case_sensitive: bool) -> Value {
    match value.as_str() {
        Some(text) if !case_sensitive => Value::from(text.to_lowercase()),
        _ => value,
    }
}

/// Sorts by keys that were made before; items of the same key keep their order.
fn sorted<T>(mut items: Vec<(Vec<Value>, T)>, reverse: bool) -> Result<Vec<(Vec<Value>, T)>, Error> {
    let mut failed = None;
    items.sort_by(|(a, _), (b, _)| {
        let orders = a.iter().zip(b).map(|(a, b)| {
            compare(a, b).unwrap_or_else(|error| {
                failed = failed.take().or(Some(error));
                Ordering::Equal
            })
        });
        let order = orders.fold(Ordering::Equal, Ordering::then);
        if reverse { order.reverse() } else { order }
    });
    failed.map_or(Ok(items), Err)
}

fn sort(state: &State<'_, '_>, value: &Value, args: Args) -> Result<Value, Error> {
    let [reverse, case_sensitive, attribute] = bind(&values(args), ["reverse", "case_sensitive", "attribute"])?;
    let (reverse, case_sensitive) = (flag(reverse, false), flag(case_sensitive, false));
    let attributes = match given(attribute) {
        Some(attribute) if attribute.as_str().is_some() => {
            string(&attribute)?.split(',').map(|name| Value::from(name.trim())).collect()
        }
        other => other.into_iter().collect::<Vec<_>>(),
    };
    limits::weigh(state, value)?;
    let items = text::iterated(value)?;
    limits::check_items(items.len().saturating_mul(attributes.len()))?;
    let keyed = items.into_iter().map(|item| {
        let keys = match attributes.as_slice() {
            [] => vec![key(item.clone(), case_sensitive)],
            attributes => {
                let of = |attribute: &Value| Ok(key(attribute_of(state, &item, attribute)?, case_sensitive));
                attributes.iter().map(of).collect::<Result<Vec<_>, Error>>()?
            }
        };
        Ok((keys, item))
    });
    let items = sorted(keyed.collect::<Result<Vec<_>, Error>>()?, reverse)?;
    Ok(items.into_iter().map(|(_, item)| item).collect())
}

/// The pairs of a dict by key or by value.
fn sort_dict(state: &State<'_, '_>, value: &Value, args: Args) -> Result<Value, Error> {
    let [case_sensitive, by, reverse] = bind(&values(args), ["case_sensitive", "by", "reverse"])?;
    let (case_sensitive, reverse) = (flag(case_sensitive, false), flag(reverse, false));
    let by_value = match by.as_ref().map_or(Ok("key"), string)? {
        "key" => false,
        "value" => true,
        _ => return Err(invalid("you can only sort by either `key` or `value`")),
    };
    limits::weigh(state, value)?;
    let keyed = pairs(value)?.into_iter().map(|(name, value)| {
        let by = if by_value { value.clone() } else { name.clone() };
        (vec![key(by, case_sensitive)], Value::from(Tuple::from([name, value])))
    });
    Ok(sorted(keyed.collect(), reverse)?.into_iter().map(|(_, pair)| pair).collect())
}

/// A value and the items that have it, unpacked or by the names `grouper` and `list`.
#[derive(Debug)]
pub(in super::super) struct Group {
    grouper: Value,
    list: Value,
}

impl Object for Group {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match (key.as_usize(), key.as_str()) {
            (Some(0), _) | (_, Some("grouper")) => Some(self.grouper.clone()),
            (Some(1), _) | (_, Some("list")) => Some(self.list.clone()),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(2)
    }
}

fn group(state: &State<'_, '_>, value: &Value, args: Args) -> Result<Value, Error> {
    let [attribute, default, case_sensitive] = bind(&values(args), ["attribute", "default", "case_sensitive"])?;
    let (attribute, case_sensitive) = (required(attribute, "attribute")?, flag(case_sensitive, false));
    limits::weigh(state, value)?;
    let keyed = text::iterated(value)?.into_iter().map(|item| {
        let found = attribute_of(state, &item, &attribute)?;
        let of = if found.is_undefined() { given(default.clone()).unwrap_or(found) } else { found };
        Ok((vec![key(of.clone(), case_sensitive)], (of, item)))
    });
    let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
    for (mut keys, (grouper, item)) in sorted(keyed.collect::<Result<Vec<_>, Error>>()?, false)? {
        let key = keys.pop().unwrap_or_default();
        match groups.last_mut().filter(|(last, ..)| *last == key) {
            Some((_, _, items)) => items.push(item),
            None => groups.push((key, grouper, vec![item])),
        }
    }
    let group = |(_, grouper, items)| Value::from_object(Group { grouper, list: Value::from(items) });
    limits::weighed(state, groups.into_iter().map(group).collect())
}
