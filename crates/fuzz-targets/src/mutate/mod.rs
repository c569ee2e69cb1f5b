//! Inputs made of real files: a few changes each, of a kind that the format has. Changes of bare bytes are among those of
//! every format, as files are damaged so; the others keep a file whole enough to be read further.

mod bytes;
mod grown;
mod gzip;
pub(crate) use gzip::packed;
mod json;
mod parquet;
mod protobuf;
mod safetensors;
mod template;
mod text;

use crate::Archive;
use crate::random::Random;

/// How an input is made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Bytes,
    Json,
    Safetensors,
    Protobuf,
    Parquet,
    /// What is compressed being of another form.
    Gzip(&'static Form),
    Template,
    /// Lines of texts, tables and keys.
    Text,
    /// A path in the first line, a JSON document in the others.
    Request,
    /// Several files, of which these are changed; the others are there to be read with them.
    Archive(&'static [(&'static str, Form)]),
}

/// Of all but the [large](LARGE) ones: longer inputs of many changes take time without finding more.
const LONGEST: usize = 1 << 20;
/// One in so many is made large: each takes the time of a thousand others.
const LARGE: usize = 1000;

/// Input `number` of a corpus.
///
/// # Panics
/// If there are no seeds.
pub fn mutated(form: Form, seeds: &[Vec<u8>], number: u64) -> Vec<u8> {
    let mut random = Random::new(number.wrapping_mul(0xd134_2543_de82_ef95) ^ 0x5851_f42d_4c95_7f2d);
    let mut input = random.of(seeds).clone();
    let other = random.of(seeds).clone();
    for _ in 0..random.count(6) {
        input = changed(form, input, &other, &mut random);
    }
    input.truncate(LONGEST.max(seeds.iter().map(Vec::len).max().unwrap_or(0)));
    if random.one_in(LARGE) { grown::grown(form, input, &mut random) } else { input }
}

/// One change, for a fuzzer with a corpus of its own.
pub fn mutated_once(form: Form, input: Vec<u8>, seed: u64) -> Vec<u8> {
    let other = input.clone();
    changed(form, input, &other, &mut Random::new(seed))
}

/// `other` is of the same form, to take parts from.
fn changed(form: Form, input: Vec<u8>, other: &[u8], random: &mut Random) -> Vec<u8> {
    let is_bare = form != Form::Bytes && !matches!(form, Form::Archive(_) | Form::Gzip(_)) && random.one_in(8);
    if is_bare {
        return bytes::changed(input, other, random);
    }
    match form {
        Form::Bytes => bytes::changed(input, other, random),
        Form::Json => json::changed(input, other, random),
        Form::Safetensors => safetensors::changed(input, random),
        Form::Protobuf => protobuf::changed(input, random),
        Form::Parquet => parquet::changed(input, other, random),
        Form::Gzip(inner) => gzip::changed(*inner, input, other, random),
        Form::Template => template::changed(input, other, random),
        Form::Text => text::changed(input, other, random),
        Form::Request => request(input, other, random),
        Form::Archive(forms) => archive(forms, &input, other, random),
    }
}

fn archive(forms: &[(&str, Form)], input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let (mut files, others) = (Archive::of(input), Archive::of(other));
    let known: Vec<usize> =
        (0..files.0.len()).filter(|at| forms.iter().any(|(name, _)| *name == files.0[*at].0)).collect();
    if known.is_empty() {
        return bytes::changed(input.to_vec(), other, random);
    }
    let at = *random.of(&known);
    let name = files.0[at].0.clone();
    match random.below(40) {
        0 => drop(files.0.remove(at)),
        1 => {
            if let Some(contents) = others.get(&name) {
                files.0[at].1 = contents.to_vec();
            }
        }
        _ => {
            let form = forms.iter().find(|(known, _)| *known == name).map_or(Form::Bytes, |(_, form)| *form);
            let contents = std::mem::take(&mut files.0[at].1);
            files.0[at].1 = changed(form, contents, others.get(&name).unwrap_or_default(), random);
        }
    }
    files.bytes()
}

fn request(input: Vec<u8>, other: &[u8], random: &mut Random) -> Vec<u8> {
    let parts = |text: &[u8]| -> (Vec<u8>, Vec<u8>) {
        let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
        (text[..end].to_vec(), text.get(end + 1..).unwrap_or_default().to_vec())
    };
    let ((mut path, mut body), (other_path, other_body)) = (parts(&input), parts(other));
    match random.below(12) {
        0 => path = other_path,
        1 => path = text::changed(path, &other_path, random),
        _ => body = json::changed(body, &other_body, random),
    }
    path.retain(|byte| *byte != b'\n');
    [path, b"\n".to_vec(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_a_function_of_its_number_and_most_differ() {
        let seeds = [br#"{"a": [1, 2, {"b": "c"}], "d": null}"#.to_vec()];
        let inputs: Vec<Vec<u8>> = (0..200).map(|number| mutated(Form::Json, &seeds, number)).collect();
        assert_eq!(inputs, (0..200).map(|number| mutated(Form::Json, &seeds, number)).collect::<Vec<_>>());
        let different: std::collections::HashSet<&Vec<u8>> = inputs.iter().collect();
        assert!(different.len() > 150, "{}", different.len());
        let read = inputs.iter().filter(|input| serde_json::from_slice::<serde_json::Value>(input).is_ok()).count();
        assert!(read > 100, "{read} of 200 are still JSON");
    }
}
