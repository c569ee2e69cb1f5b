//! Changes of JSON documents: values, keys, types, depth, and what only the text can say, as a key that stands twice.

use serde_json::{Map, Value, json};

use super::{bytes, text};
use crate::random::Random;

pub(super) fn changed(input: Vec<u8>, other: &[u8], random: &mut Random) -> Vec<u8> {
    let Ok(mut document) = serde_json::from_slice::<Value>(&input) else {
        return bytes::changed(input, other, random);
    };
    if random.one_in(12) {
        return in_text(document.to_string(), random).into_bytes();
    }
    value_changed(&mut document, other, random);
    match random.one_in(8) {
        true => serde_json::to_vec_pretty(&document).unwrap_or(input),
        false => document.to_string().into_bytes(),
    }
}

/// One change somewhere in the document.
pub(super) fn value_changed(document: &mut Value, other: &[u8], random: &mut Random) {
    let donor = || serde_json::from_slice::<Value>(other).unwrap_or_default();
    let count = nodes(document);
    let taken = match random.below(10) {
        0 => node(&mut document.clone(), random.below(count)).cloned(),
        1 => {
            let mut donor = donor();
            let at = random.below(nodes(&donor));
            node(&mut donor, at).cloned()
        }
        _ => None,
    };
    // Large vocabularies would take nearly all changes if every value had the same chance.
    let at = if random.one_in(2) { random.below(count.min(60)) } else { random.below(count) };
    let Some(found) = node(document, at) else { return };
    match taken {
        Some(taken) => *found = taken,
        None => changed_here(found, random),
    }
}

fn changed_here(value: &mut Value, random: &mut Random) {
    if random.one_in(8) {
        *value = any(random);
        return;
    }
    match value {
        Value::Object(fields) => object(fields, random),
        Value::Array(values) => array(values, random),
        Value::String(string) => *string = string_changed(string, random),
        Value::Number(number) => *value = number_changed(number.as_f64().unwrap_or(0.0), random),
        Value::Bool(flag) => *flag = !*flag,
        Value::Null => *value = any(random),
    }
}

fn object(fields: &mut Map<String, Value>, random: &mut Random) {
    let Some(key) = fields.keys().nth(random.below(fields.len())).cloned() else {
        fields.insert(string_changed("key", random), any(random));
        return;
    };
    match random.below(6) {
        0 => drop(fields.shift_remove(&key)),
        1 => {
            let value = fields.shift_remove(&key).unwrap_or_default();
            fields.insert(string_changed(&key, random), value);
        }
        2 => {
            let value = fields[&key].clone();
            (0..random.count(3000)).for_each(|number| drop(fields.insert(format!("{key}{number}"), value.clone())));
        }
        3 => {
            let other = fields.keys().nth(random.below(fields.len())).cloned().unwrap_or_default();
            let (a, b) = (fields[&key].clone(), fields[&other].clone());
            fields.insert(key, b);
            fields.insert(other, a);
        }
        4 => fields[&key] = any(random),
        _ => changed_here(&mut fields[&key], random),
    }
}

fn array(values: &mut Vec<Value>, random: &mut Random) {
    if values.is_empty() {
        values.push(any(random));
        return;
    }
    let at = random.below(values.len());
    match random.below(6) {
        0 => drop(values.remove(at)),
        1 => {
            let value = values[at].clone();
            let times = random.count(3000);
            drop(values.splice(at..at, std::iter::repeat_n(value, times)));
        }
        2 => values.truncate(at),
        3 => {
            let other = random.below(values.len());
            values.swap(at, other);
        }
        4 => values[at] = any(random),
        _ => changed_here(&mut values[at], random),
    }
}

fn number_changed(number: f64, random: &mut Random) -> Value {
    match random.below(8) {
        0 => json!(number + 1.0),
        1 => json!((number as i64).wrapping_add(1)),
        2 => json!((number as i64).wrapping_sub(1)),
        3 => json!((number as i64).wrapping_mul(2)),
        4 => json!(-number),
        _ => any_number(random),
    }
}

fn any_number(random: &mut Random) -> Value {
    let numbers = [
        json!(0),
        json!(-0.0),
        json!(1),
        json!(-1),
        json!(0.5),
        json!(2),
        json!(3),
        json!(255),
        json!(65_536),
        json!(1_000_000),
        json!(1_000_000_007_u64),
        json!(i64::from(i32::MAX)),
        json!(u64::from(u32::MAX)),
        json!(1_u64 << 32),
        json!(1_u64 << 40),
        json!((1_u64 << 53) + 1),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e-300),
        json!(1e300),
        json!(f64::MAX),
        json!(1e30),
    ];
    random.of(&numbers).clone()
}

fn any(random: &mut Random) -> Value {
    match random.below(10) {
        0 => Value::Null,
        1 => json!(random.one_in(2)),
        2 => json!([]),
        3 => json!({}),
        4 => deep(random),
        5 | 6 => string_changed("", random).into(),
        _ => any_number(random),
    }
}

/// Within what serde_json reads, and beyond it.
fn deep(random: &mut Random) -> Value {
    let is_array = random.one_in(2);
    (0..random.count(200)).fold(json!(1), |inner, _| if is_array { json!([inner]) } else { json!({ "a": inner }) })
}

fn string_changed(string: &str, random: &mut Random) -> String {
    let changed = text::changed(string.as_bytes().to_vec(), b"", random);
    String::from_utf8_lossy(&changed).into_owned()
}

/// What a document cannot hold once it is read.
fn in_text(text: String, random: &mut Random) -> String {
    let places: Vec<usize> = text.match_indices(['{', '[']).map(|(at, _)| at + 1).collect();
    let Some(at) = (!places.is_empty()).then(|| *random.of(&places)) else { return text };
    let (before, after) = text.split_at(at);
    let made = match random.below(5) {
        // The first key once more.
        0 => match after.split_once(':') {
            Some((key, _)) if before.ends_with('{') && key.len() < 1000 => format!("{key}:1,"),
            _ => ",".to_owned(),
        },
        1 => "[".repeat(random.count(100_000)),
        2 => r#"{"a":"#.repeat(random.count(20_000)),
        3 => (*random.of(&["NaN,", "1e999,", "-,", "/**/", "\"\\ud800\",", "\"\\u0000\":1,", "\u{feff}"])).to_owned(),
        _ => "9".repeat(random.count(10_000)) + ",",
    };
    [before, &made, after].concat()
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(nodes).sum(),
        Value::Object(fields) => fields.values().map(nodes).sum::<usize>(),
        _ => 0,
    }
}

/// The value with this number, counted from the root.
fn node(value: &mut Value, mut number: usize) -> Option<&mut Value> {
    if number == 0 {
        return Some(value);
    }
    number -= 1;
    let children: Box<dyn Iterator<Item = &mut Value>> = match value {
        Value::Array(values) => Box::new(values.iter_mut()),
        Value::Object(fields) => Box::new(fields.values_mut()),
        _ => return None,
    };
    for child in children {
        let count = nodes(child);
        if number < count {
            return node(child, number);
        }
        number -= count;
    }
    None
}
