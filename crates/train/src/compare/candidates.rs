//! What is compared with what: methods, values of keys, or every method with every value.

use lora::{Known, Method};

use crate::config::{Choice, Varied};

/// A way to train.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// For people: `lora`, `r 4`, `lora, r 4`.
    pub(crate) name: String,
    /// Of its directory.
    pub(crate) directory: String,
    /// What makes it one.
    pub(crate) choices: Vec<Choice>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub(crate) enum CandidatesError {
    #[error("there is nothing to compare")]
    #[diagnostic(help("name methods, `--methods lora,full`, or values of a key, `--vary adapter.r=4,8,16`"))]
    Nothing,
    #[error("`--methods {methods}`: unknown method `{name}`")]
    UnknownMethod {
        methods: String,
        name: String,
        #[help]
        help: String,
    },
    #[error("`--methods {methods}`: `{name}` is given twice")]
    #[diagnostic(help("name each method once; runs with several seeds are `--seeds N`"))]
    Twice { methods: String, name: String },
    #[error("{place}: the key is varied twice")]
    #[diagnostic(help("write all its values in one `--vary`"))]
    VariedTwice { place: String },
    #[error("{place}: no method that is compared has this key")]
    #[diagnostic(help("compare a method that has it, for example `--methods {with_key}`"))]
    OfNoMethod { place: String, with_key: &'static str },
    #[error("{name} is the only candidate, and a comparison needs two")]
    #[diagnostic(help("name another method or a further value; `kindling train` is for a run alone"))]
    One { name: String },
}

/// Every method with every value of the keys that it has. Without `--methods` the method is the configuration's, `own`.
///
/// # Errors
/// What is wrong with the methods or the keys, and fewer than two candidates.
pub(crate) fn candidates(methods: &[String], varied: &[Varied], own: &str) -> Result<Vec<Candidate>, CandidatesError> {
    if methods.is_empty() && varied.is_empty() {
        return Err(CandidatesError::Nothing);
    }
    check_methods(methods)?;
    let compared: Vec<&str> = if methods.is_empty() { vec![own] } else { methods.iter().map(String::as_str).collect() };
    for (n, key) in varied.iter().enumerate() {
        if varied[..n].iter().any(|earlier| earlier.key() == key.key()) {
            return Err(CandidatesError::VariedTwice { place: key.place() });
        }
        if !compared.iter().any(|method| key.is_of(method)) {
            let with_key = Method::NAMES.iter().find(|method| key.is_of(method)).unwrap_or(&Method::NAMES[0]);
            return Err(CandidatesError::OfNoMethod { place: key.place(), with_key });
        }
    }
    let mut found: Vec<Candidate> = Vec::new();
    for method in compared {
        let mut parts: Vec<Vec<(String, Choice)>> = vec![Vec::new()];
        if !methods.is_empty() {
            parts[0].push((method.to_owned(), Choice::method(method, methods)));
        }
        for key in varied.iter().filter(|key| key.is_of(method)) {
            let with = |value: &str| (format!("{} {value}", key.name()), key.choice(value));
            parts = parts
                .into_iter()
                .flat_map(|choices| key.values.iter().map(move |value| [choices.clone(), vec![with(value)]].concat()))
                .collect();
        }
        found.extend(parts.into_iter().map(|parts| candidate(&parts)));
    }
    name_directories(&mut found);
    match found.as_slice() {
        [only] => Err(CandidatesError::One { name: format!("`{}`", only.name) }),
        _ => Ok(found),
    }
}

fn check_methods(methods: &[String]) -> Result<(), CandidatesError> {
    let all = || methods.join(",");
    for (n, name) in methods.iter().enumerate() {
        if !Method::NAMES.contains(&name.as_str()) {
            let (methods, name) = (all(), name.clone());
            let help = match Method::known_as(&name) {
                Some(known) => as_options(known),
                None => suggest::suggestion(&name, Method::NAMES.iter().copied()),
            };
            return Err(CandidatesError::UnknownMethod { methods, name, help });
        }
        if methods[..n].contains(name) {
            return Err(CandidatesError::Twice { methods: all(), name: name.clone() });
        }
    }
    Ok(())
}

/// What to write for what people know as a method.
fn as_options(known: Known) -> String {
    match known {
        Known::As { title, method, setting: None } => format!("{title} is `{method}`"),
        Known::As { title, method, setting: Some((key, value)) } => {
            let vary = format!("--vary {key}={}", value.trim_matches('"'));
            format!(
                "{title} is `{method}` with `{key} = {value}`: write `{method}` and add `{vary}`; each of several values is a candidate"
            )
        }
        Known::Not { title, near } => format!("kindling has no {title}: the nearest is `{near}`"),
    }
}

fn candidate(parts: &[(String, Choice)]) -> Candidate {
    let (names, choices): (Vec<String>, Vec<Choice>) = parts.iter().cloned().unzip();
    Candidate { name: names.join(", "), directory: String::new(), choices }
}

/// Letters, digits and dots of the names; where that makes two alike, numbered.
fn name_directories(candidates: &mut [Candidate]) {
    const LONGEST: usize = 60;
    for n in 0..candidates.len() {
        let kept = |character: char| {
            if character.is_ascii_alphanumeric() || "._".contains(character) { character } else { '-' }
        };
        let name: String = candidates[n].name.chars().map(kept).collect();
        let words: Vec<&str> = name.split('-').filter(|word| !word.is_empty()).collect();
        let mut directory: String = words.join("-").chars().take(LONGEST).collect();
        if directory.is_empty() || candidates[..n].iter().any(|earlier| earlier.directory == directory) {
            directory = format!("{directory}-{}", n + 1);
        }
        candidates[n].directory = directory;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(methods: &[&str], varied: &[&str]) -> Result<Vec<Candidate>, CandidatesError> {
        let methods: Vec<String> = methods.iter().map(|method| method.to_string()).collect();
        let varied: Vec<Varied> = varied.iter().map(|argument| Varied::parse(argument).unwrap()).collect();
        candidates(&methods, &varied, "lora")
    }

    #[test]
    fn methods_and_values_make_a_product_in_which_a_method_has_its_own_keys_alone() {
        let found = made(&["lora", "full"], &["adapter.r=4,8", "train.learning_rate=1e-4,1e-3"]).unwrap();
        let names: Vec<&str> = found.iter().map(|candidate| candidate.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "lora, r 4, learning_rate 1e-4",
                "lora, r 4, learning_rate 1e-3",
                "lora, r 8, learning_rate 1e-4",
                "lora, r 8, learning_rate 1e-3",
                "full, learning_rate 1e-4",
                "full, learning_rate 1e-3",
            ]
        );
        let places: Vec<String> = found[4].choices.iter().map(Choice::place).collect();
        assert_eq!(places, ["`full` of `--methods lora,full`", "`1e-4` of `--vary train.learning_rate=1e-4,1e-3`"]);
        assert_eq!(found[0].directory, "lora-r-4-learning_rate-1e-4");
    }

    #[test]
    fn values_alone_are_of_the_configuration_s_method() {
        let found = made(&[], &["adapter.target_modules=[\"query\"],[\"query\",\"value\"]"]).unwrap();
        assert_eq!(found[1].choices[0].value(), "[\"query\",\"value\"]");
        assert_eq!(found[1].directory, "target_modules-query-value");
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let says = |methods: &[&str], varied: &[&str]| made(methods, varied).unwrap_err().to_string();
        assert_eq!(says(&[], &[]), "there is nothing to compare");
        assert_eq!(says(&["lora", "lora"], &[]), "`--methods lora,lora`: `lora` is given twice");
        assert_eq!(says(&["lora", "ful"], &[]), "`--methods lora,ful`: unknown method `ful`");
        assert_eq!(says(&["full"], &[]), "`full` is the only candidate, and a comparison needs two");
        assert_eq!(
            says(&["full", "none"], &["adapter.r=4,8"]),
            "`--vary adapter.r=4,8`: no method that is compared has this key"
        );
        assert_eq!(says(&[], &["adapter.r=4,8", "adapter.r=2"]), "`--vary adapter.r=2`: the key is varied twice");
    }
}
