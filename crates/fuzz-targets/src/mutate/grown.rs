//! Large inputs: one element of a file again and again. What takes many times the memory of its file shows in megabytes alone, a few
//! kilobytes of it are within what is allowed to any file.

use super::Form;
use crate::Archive;
use crate::random::Random;

const LARGEST: usize = 4 << 20;

/// Elements that take few bytes in a file and many in memory.
const ELEMENTS: [&str; 16] = [
    "0,",
    "{},",
    "[],",
    "\"\",",
    "[[]],",
    "{\"a\":0},",
    "\"a\":{},",
    "\n",
    ",\n",
    "a,b\n",
    "a\tO\n",
    "a O\n\n",
    "{}\n",
    "[a]\n",
    "a=0\n",
    "{{a}}",
];

/// Of forms that are texts; others are left as they are.
pub(super) fn grown(form: Form, input: Vec<u8>, random: &mut Random) -> Vec<u8> {
    match form {
        Form::Archive(forms) => {
            let mut files = Archive::of(&input);
            let mut known: Vec<_> = files
                .0
                .iter_mut()
                .filter_map(|(name, contents)| {
                    let (_, form) = forms.iter().find(|(known, _)| *known == name.as_str())?;
                    Some((contents, *form))
                })
                .collect();
            let at = random.below(known.len());
            if let Some((contents, form)) = known.get_mut(at) {
                **contents = grown(*form, std::mem::take(*contents), random);
            }
            files.bytes()
        }
        Form::Json | Form::Text | Form::Template | Form::Request => repeated(input, random),
        Form::Bytes | Form::Safetensors | Form::Protobuf | Form::Parquet | Form::Gzip(_) => input,
    }
}

fn repeated(mut input: Vec<u8>, random: &mut Random) -> Vec<u8> {
    let is_edge = |byte: u8| matches!(byte, b',' | b'[' | b'{' | b'\n' | b'\t' | b' ' | b';' | b'>' | b'}');
    let edges: Vec<usize> = (1..input.len()).filter(|at| is_edge(input[at - 1])).collect();
    let Some(at) = edges.get(random.below(edges.len())).copied() else { return input };
    let element = match random.one_in(2) {
        true => random.of(&ELEMENTS).as_bytes(),
        // Up to where the next one begins.
        false => {
            let end =
                input[at..].iter().position(|byte| *byte == input[at - 1]).map_or(input.len(), |end| at + end + 1);
            &input[at..end]
        }
    };
    let times = (LARGEST >> random.below(3)).saturating_sub(input.len()) / element.len().max(1);
    let elements = element.repeat(times);
    drop(input.splice(at..at, elements));
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_repeats_up_to_megabytes_and_the_document_may_still_be_one() {
        let seed = br#"{"a": [1, 2, {"b": "c"}], "d": null}"#;
        let large = |form: Form| -> Vec<Vec<u8>> {
            (0..40).map(|number| grown(form, seed.to_vec(), &mut Random::new(number))).collect()
        };
        let documents = large(Form::Json);
        assert_eq!(documents, large(Form::Json), "a function of the number");
        assert!(documents.iter().all(|it| (LARGEST / 5..=LARGEST).contains(&it.len())));
        assert!(documents.iter().any(|it| serde_json::from_slice::<serde_json::Value>(it).is_ok()));
        assert!(large(Form::Parquet).iter().all(|it| it == seed), "no text");
    }
}
