//! Changes of safetensors files: the length of the header, types, shapes and places of tensors, their values.

use serde_json::{Value, json};

use super::{bytes, json};
use crate::random::Random;

const TYPES: [&str; 14] =
    ["F32", "F16", "BF16", "F64", "I64", "I32", "I8", "U8", "BOOL", "F8_E4M3", "F4", "C64", "", "X"];

pub(super) fn changed(input: Vec<u8>, random: &mut Random) -> Vec<u8> {
    let parts = || {
        let (length, rest) = input.split_first_chunk::<8>()?;
        let (header, data) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        Some((serde_json::from_slice::<Value>(header).ok()?, data.to_vec()))
    };
    let Some((mut header, mut data)) = parts() else { return bytes::changed(input, b"", random) };
    match random.below(10) {
        0 => json::value_changed(&mut header, b"", random),
        1 => values(&mut data, random),
        2 => data = bytes::changed(data, b"", random),
        _ => tensor(&mut header, random),
    }
    let text = header.to_string();
    let mut length = (text.len() as u64).to_le_bytes();
    if random.one_in(20) {
        bytes::number(&mut length, 0, random);
    }
    [&length[..], text.as_bytes(), &data].concat()
}

/// Numbers that are none, and the smallest and largest.
fn values(data: &mut [u8], random: &mut Random) {
    let patterns: [[u8; 4]; 7] = [
        f32::NAN.to_le_bytes(),
        f32::INFINITY.to_le_bytes(),
        f32::MIN.to_le_bytes(),
        f32::MIN_POSITIVE.to_le_bytes(),
        [0; 4],
        [0xff; 4],
        (-0.0_f32).to_le_bytes(),
    ];
    let pattern = random.of(&patterns);
    for _ in 0..random.count(64) {
        let at = random.below(data.len() / 4) * 4;
        if let Some(place) = data.get_mut(at..at + 4) {
            place.copy_from_slice(pattern);
        }
    }
}

fn tensor(header: &mut Value, random: &mut Random) {
    let Some(tensors) = header.as_object_mut() else { return };
    let names: Vec<String> = tensors.keys().filter(|name| *name != "__metadata__").cloned().collect();
    if names.is_empty() {
        return;
    }
    let name = random.of(&names).clone();
    // It may be changed so already that it has no such fields.
    let is_whole = |tensor: &Value| tensor["data_offsets"].as_array().is_some_and(|ends| ends.len() == 2);
    if !is_whole(&tensors[&name]) {
        return;
    }
    match random.below(8) {
        0 => drop(tensors.shift_remove(&name)),
        1 => {
            let tensor = tensors[&name].clone();
            let other = random.of(&names).clone();
            tensors.insert(other, tensor);
        }
        2 => {
            let tensor = tensors[&name].clone();
            let renamed = [".weight", ".bias", "x.", "lora_A.", "\u{1b}", "é"];
            tensors.insert(name + *random.of(&renamed), tensor);
        }
        3 => tensors[&name]["dtype"] = (*random.of(&TYPES)).into(),
        4 | 5 => shape(&mut tensors[&name], random),
        _ => {
            let offset = random.below(2);
            let there = tensors[&name]["data_offsets"][offset].as_u64().unwrap_or(0);
            let moved = match random.below(5) {
                0 => there.wrapping_add(1),
                1 => there.wrapping_sub(1),
                2 => there.wrapping_mul(2),
                _ => *random.of(&[0, 4, 1 << 31, 1 << 32, 1 << 62, u64::MAX]),
            };
            tensors[&name]["data_offsets"][offset] = moved.into();
        }
    }
}

fn shape(tensor: &mut Value, random: &mut Random) {
    let Some(shape) = tensor.get_mut("shape").and_then(Value::as_array_mut) else { return };
    let at = random.below(shape.len());
    let sizes = [json!(0), json!(1), json!(2), json!(1_u64 << 31), json!(1_u64 << 62), json!(u64::MAX), json!(-1)];
    match random.below(5) {
        0 => shape.reverse(),
        1 => shape.insert(at, json!(1)),
        // So many values as before, in one dimension less.
        2 if shape.len() > 1 => {
            let last = shape.pop().and_then(|side| side.as_u64()).unwrap_or(1);
            if let Some(side) = shape.last_mut() {
                *side = side.as_u64().unwrap_or(1).wrapping_mul(last).into();
            }
        }
        3 => (0..random.count(300)).for_each(|_| shape.push(json!(1))),
        _ => match shape.get_mut(at) {
            Some(side) => *side = random.of(&sizes).clone(),
            None => shape.push(random.of(&sizes).clone()),
        },
    }
}
