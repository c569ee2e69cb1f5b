//! Encoded examples as bytes, for other processes of the same program: numbers as LEB128, so that most token ids take two bytes.

use std::ops::Range;

use crate::dataset::{Dataset, ExampleRef};
use crate::encode::EncodedExample;
use crate::targets::ExampleTarget;
use crate::tokenizer::Encoded;

impl Dataset {
    /// Its examples without their files, as [`EncodedExample::all_of`] reads them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.iter().for_each(|example| write(&mut bytes, example));
        bytes
    }
}

impl EncodedExample {
    /// What [`Dataset::to_bytes`] has written; `None` for bytes that it has not.
    pub fn all_of(mut bytes: &[u8]) -> Option<Vec<EncodedExample>> {
        let mut examples = Vec::new();
        while !bytes.is_empty() {
            examples.push(read(&mut bytes)?);
        }
        Some(examples)
    }
}

/// Kinds of targets.
const NONE: usize = 0;
const CLASS: usize = 1;
const TOKEN_CLASSES: usize = 2;
const VALUE: usize = 3;
const SET: usize = 4;

fn write(bytes: &mut Vec<u8>, example: ExampleRef<'_>) {
    let mut number = |number: usize| write_number(bytes, number);
    number(example.line());
    number(example.len());
    example.ids().for_each(|id| number(id as usize));
    let is_typed = example.type_ids().any(|type_id| type_id != 0);
    number(usize::from(is_typed));
    example.type_ids().filter(|_| is_typed).for_each(|type_id| number(type_id as usize));
    number(example.full_length() - example.len());
    number(usize::from(example.at_least()));
    match example.target() {
        ExampleTarget::None => number(NONE),
        ExampleTarget::Class(class) => [CLASS, class].into_iter().for_each(&mut number),
        ExampleTarget::TokenClasses(tokens) => {
            [TOKEN_CLASSES, tokens.len()].into_iter().for_each(&mut number);
            tokens.into_iter().flat_map(|(token, class)| [token, class]).for_each(&mut number);
        }
        ExampleTarget::Value(value) => [VALUE, value.to_bits() as usize].into_iter().for_each(&mut number),
        ExampleTarget::Set(classes) => {
            [SET, classes.len()].into_iter().for_each(&mut number);
            classes.into_iter().for_each(&mut number);
        }
    }
    number(example.spans().len());
    example.spans().flat_map(|span| [span.start, span.end]).for_each(&mut number);
    number(example.lost_targets());
}

fn read(bytes: &mut &[u8]) -> Option<EncodedExample> {
    let mut number = || read_number(bytes);
    let line = number()?;
    let length = number()?;
    let ids = list(length, || u32::try_from(number()?).ok())?;
    let type_ids = match number()? {
        0 => vec![0; length],
        _ => list(length, || u32::try_from(number()?).ok())?,
    };
    let full_length = length.checked_add(number()?)?;
    let encoded = Encoded { ids, type_ids, full_length, at_least: number()? == 1 };
    let target = match number()? {
        NONE => ExampleTarget::None,
        CLASS => ExampleTarget::Class(number()?),
        TOKEN_CLASSES => ExampleTarget::TokenClasses(list(number()?, || Some((number()?, number()?)))?),
        VALUE => ExampleTarget::Value(f32::from_bits(u32::try_from(number()?).ok()?)),
        SET => ExampleTarget::Set(list(number()?, &mut number)?),
        _ => return None,
    };
    let spans = list(number()?, || Some(Range { start: number()?, end: number()? }))?;
    Some(EncodedExample { line, encoded, target, spans, lost_targets: number()? })
}

/// So many items. Room for them is not made before they are there: the count may be wrong.
fn list<T>(count: usize, mut item: impl FnMut() -> Option<T>) -> Option<Vec<T>> {
    (0..count).map(|_| item()).collect()
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn write_number(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<usize> {
    let mut number = 0_usize;
    for shift in (0..usize::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn target() -> impl Strategy<Value = ExampleTarget> {
        prop_oneof![
            Just(ExampleTarget::None),
            (0..300_usize).prop_map(ExampleTarget::Class),
            prop::collection::vec((0..9_usize, 0..300_usize), 0..4).prop_map(ExampleTarget::TokenClasses),
            (-1e9_f32..1e9).prop_map(ExampleTarget::Value),
            prop::collection::vec(0..300_usize, 0..4).prop_map(ExampleTarget::Set),
        ]
    }

    prop_compose! {
        fn example()(
            line in 1..1_usize << 40, ids in prop::collection::vec((0..200_000_u32, 0..2_u32), 1..9), cut in 0..900_usize,
            at_least: bool, target in target(), spans in prop::collection::vec((0..300_usize, 0..300_usize), 0..3),
            lost_targets in 0..300_usize,
        ) -> EncodedExample {
            let (ids, type_ids): (Vec<u32>, Vec<u32>) = ids.into_iter().unzip();
            let encoded = Encoded { full_length: ids.len() + cut, ids, type_ids, at_least };
            let spans = spans.into_iter().map(|(start, end)| start..end).collect();
            EncodedExample { line, encoded, target, spans, lost_targets }
        }
    }

    proptest! {
        #[test]
        fn examples_come_back_and_bytes_that_are_cut_short_do_not(example in example(), cut in 1..20_usize) {
            // Those of one data set have targets of one kind.
            let examples = vec![example.clone(), example];
            let mut dataset = Dataset::default();
            dataset.add(Path::new("a.csv"), &examples);
            let bytes = dataset.to_bytes();
            prop_assert_eq!(EncodedExample::all_of(&bytes), Some(examples));
            let end = bytes.len() - cut.min(bytes.len() / 2 - 1);
            prop_assert_eq!(EncodedExample::all_of(&bytes[..end]), None);
        }
    }

    #[test]
    fn numbers_take_a_byte_for_seven_bits() {
        let length = |number: usize| {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            assert_eq!(read_number(&mut bytes.as_slice()), Some(number));
            bytes.len()
        };
        assert_eq!([0, 127, 128, 16_383, 16_384, usize::MAX].map(length), [1, 1, 2, 2, 3, 10]);
        let endless = [0xff; 12];
        assert_eq!(read_number(&mut &endless[..]), None);
    }

    #[test]
    fn a_long_text_takes_two_bytes_a_token() {
        let mut dataset = Dataset::default();
        let encoded = Encoded::from(vec![12_345; 1000]);
        let example =
            EncodedExample { line: 1, encoded, target: ExampleTarget::None, spans: Vec::new(), lost_targets: 0 };
        dataset.add(Path::new("a.csv"), &[example]);
        assert!(dataset.to_bytes().len() < 2020, "{}", dataset.to_bytes().len());
    }
}
