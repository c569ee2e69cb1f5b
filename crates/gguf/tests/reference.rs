//! Against the `gguf` package, which made the file: what it wrote is read, and the same is written byte for byte.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Cursor;

use gguf::{Error, Reader, TensorInfo, TensorType, Value, Writer};

const REFERENCE: &[u8] = include_bytes!("fixtures/reference.gguf");

const TYPES: [TensorType; 4] = [TensorType::F32, TensorType::F16, TensorType::Bf16, TensorType::Q8_0];

/// As `make.py` has them.
fn values() -> Vec<f32> {
    let value = |at: usize| ((at * 37 % 101) as f32 - 50.0) / 7.0;
    (0..3 * 64).map(|at| if (64..96).contains(&at) { 0.0 } else { value(at) }).collect()
}

fn metadata() -> Vec<(String, Value)> {
    let pairs = [
        ("general.architecture", Value::from("llama")),
        ("a.u8", Value::U8(200)),
        ("a.i8", Value::I8(-100)),
        ("a.u16", Value::U16(60_000)),
        ("a.i16", Value::I16(-30_000)),
        ("a.u32", Value::U32(4_000_000_000)),
        ("a.i32", Value::I32(-2_000_000_000)),
        ("a.u64", Value::U64(1 << 60)),
        ("a.i64", Value::I64(-(1 << 60))),
        ("a.f32", Value::F32(0.1)),
        ("a.f64", Value::F64(0.1)),
        ("a.bool", Value::Bool(true)),
        ("a.string", Value::from("a tree: \u{1f333}")),
        ("a.strings", Value::strings(["one", "\u{e4}", "two words"])),
        ("a.numbers", Value::Array([1, -2, 3].map(Value::I32).to_vec())),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn tensors() -> Vec<TensorInfo> {
    let matrix = |kind: TensorType| TensorInfo { name: format!("{}.weight", kind.name()), shape: vec![3, 64], kind };
    let vector = TensorInfo { name: "vector".to_owned(), shape: vec![5], kind: TensorType::F32 };
    TYPES.map(matrix).into_iter().chain([vector]).collect()
}

fn written() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &metadata(), tensors()).unwrap();
    for _ in TYPES {
        writer.write(&values()).unwrap();
    }
    writer.write(&values()[..5]).unwrap();
    writer.finish().unwrap()
}

#[test]
fn what_the_package_wrote_is_read() {
    let mut reader = Reader::new(Cursor::new(REFERENCE)).unwrap();
    assert_eq!(reader.metadata(), metadata());
    assert!(reader.tensors().eq(&tensors()));
    assert_eq!(reader.values("f32.weight").unwrap(), Some(values()));
    assert_eq!(reader.values("vector").unwrap(), Some(values()[..5].to_vec()));
    assert_eq!(reader.values("absent").unwrap(), None);
    for kind in TYPES {
        let found = reader.values(&format!("{}.weight", kind.name())).unwrap().unwrap();
        for (expected, found) in values().chunks(32).zip(found.chunks(32)) {
            let largest = expected.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
            let is_near = |(value, found): (&f32, &f32)| (value - found).abs() <= kind.rounding(*value, largest);
            assert!(expected.iter().zip(found).all(is_near), "{}", kind.name());
        }
    }
}

#[test]
fn the_bytes_are_those_of_the_package() {
    assert_eq!(written(), REFERENCE);
}

#[test]
fn a_file_that_was_cut_or_changed_anywhere_is_an_error_and_no_panic() {
    for length in 0..REFERENCE.len() - 31 {
        assert!(Reader::new(Cursor::new(&REFERENCE[..length])).is_err(), "{length} bytes");
    }
    for at in 0..1200.min(REFERENCE.len()) {
        let mut bytes = REFERENCE.to_vec();
        bytes[at] ^= 0xff;
        // It may be another name or number now: all that is asked is that nothing is believed beyond the file.
        if let Ok(mut reader) = Reader::new(Cursor::new(bytes)) {
            let names: Vec<String> = reader.tensors().map(|tensor| tensor.name.clone()).collect();
            for name in names {
                assert!(reader.values(&name).unwrap().is_some());
            }
        }
    }
}

#[test]
fn a_value_beyond_the_range_of_its_type_is_an_error_with_the_name_of_the_tensor() {
    for (kind, value) in [(TensorType::F16, 70_000.0), (TensorType::Q8_0, 1e8), (TensorType::Bf16, f32::INFINITY)] {
        let tensor = TensorInfo { name: "a.weight".to_owned(), shape: vec![32], kind };
        let mut writer = Writer::new(Vec::new(), &[], vec![tensor]).unwrap();
        let error = writer.write(&[value; 32]).unwrap_err();
        assert_eq!(error.to_string(), format!("`a.weight` does not fit {}: a value is beyond its range", kind.name()));
    }
}

#[test]
fn what_llama_cpp_could_not_read_is_not_written() {
    let tensor = |name: &str, kind| TensorInfo { name: name.to_owned(), shape: vec![2, 48], kind };
    let reason = |tensors| match Writer::new(Vec::new(), &[], tensors).map(|_| ()).unwrap_err() {
        Error::Tensor { reason, .. } => reason,
        other => other.to_string(),
    };
    let twice = vec![tensor("a", TensorType::F32), tensor("a", TensorType::F32)];
    assert_eq!(reason(twice), "there are two of that name");
    assert_eq!(reason(vec![tensor("a", TensorType::Q8_0)]), "its rows are not made of whole blocks");
    assert_eq!(reason(vec![tensor(&"a".repeat(64), TensorType::F32)]), "llama.cpp reads names of at most 63 bytes");
    let mut writer = Writer::new(Vec::new(), &[], vec![tensor("a", TensorType::F32)]).unwrap();
    assert!(writer.write(&[0.0; 3]).is_err());
    assert_eq!(writer.finish().unwrap_err().to_string(), "the tensor `a` cannot be written: its data is missing");
}
