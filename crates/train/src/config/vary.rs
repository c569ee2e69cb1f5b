//! `--vary KEY=VALUE,VALUE`: a key with the values that it is to have, one after another.

use data::ColumnNames;
use lora::Method;
use toml::Value;

use super::error::{ConfigError, Place};
use super::keys::{Key, dotted, has, split, unknown};
use super::load::Entry;
use super::set;

const METHOD: &str = "adapter.method";

/// A key with its values, each of which it takes.
#[derive(Debug, Clone)]
pub(crate) struct Varied {
    argument: String,
    table: &'static str,
    name: &'static str,
    /// As typed.
    pub(crate) values: Vec<String>,
}

impl Varied {
    /// # Errors
    /// An argument without `=`, a key that there is not, a value that it does not take or that is given twice.
    pub(crate) fn parse(argument: &str) -> Result<Self, ConfigError> {
        let Some((name, typed)) = argument.split_once('=') else {
            return Err(ConfigError::VaryWithoutValues { argument: argument.to_owned() });
        };
        let (name, place) = (name.trim(), Place::Vary(argument.to_owned()));
        let Some(key) = Key::find(name) else {
            let (table, name) = split(name);
            return Err(unknown(table, name, place.of(name)));
        };
        if let Some((reason, help)) = fixed(key) {
            return Err(ConfigError::VaryFixed { place: place.of(name), reason, help });
        }
        let values: Vec<String> = parts(typed).into_iter().map(|value| value.trim().to_owned()).collect();
        let mut meant: Vec<Value> = Vec::new();
        for value in &values {
            let entry = set::checked(name, value, place.clone())?;
            if meant.iter().any(|earlier| is_same(earlier, &entry.value)) {
                return Err(ConfigError::VaryTwice { place: place.of(name), value: value.clone() });
            }
            meant.push(entry.value);
        }
        Ok(Self { argument: argument.to_owned(), table: key.table, name: key.name, values })
    }

    /// The place of this argument as messages begin with it.
    pub(crate) fn place(&self) -> String {
        Place::Vary(self.argument.clone()).of(&self.key())
    }

    pub(crate) fn key(&self) -> String {
        dotted(self.table, self.name)
    }

    /// One of the values.
    pub(crate) fn choice(&self, value: &str) -> Choice {
        Choice { key: self.key(), value: value.to_owned(), name: "--vary", argument: self.argument.clone() }
    }

    /// The key without its table.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether a method of this name has the key: a key outside of `[adapter]` all have.
    pub(crate) fn is_of(&self, method: &str) -> bool {
        self.table != "adapter" || Method::named(method).is_some_and(|method| has(&method, self.name))
    }
}

/// What makes a candidate of a comparison: a key with one of the values that were typed for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    key: String,
    value: String,
    /// The option, and what was typed after it.
    name: &'static str,
    argument: String,
}

impl Choice {
    /// One of these methods.
    pub(crate) fn method(name: &str, methods: &[String]) -> Self {
        let (key, argument) = (METHOD.to_owned(), methods.join(","));
        Self { key, value: name.to_owned(), name: "--methods", argument }
    }

    pub(crate) fn is_of_method(&self) -> bool {
        self.key == METHOD
    }

    pub(crate) fn value(&self) -> &str {
        &self.value
    }

    /// `--vary adapter.r`, `--methods`: where its value can be left out.
    pub(crate) fn option(&self) -> String {
        match self.is_of_method() {
            true => self.name.to_owned(),
            false => format!("{} {}", self.name, self.key),
        }
    }

    /// As messages begin with it.
    pub(crate) fn place(&self) -> String {
        self.typed().of(&self.key)
    }

    fn typed(&self) -> Place {
        Place::Choice { value: self.value.clone(), option: format!("{} {}", self.name, self.argument) }
    }

    pub(super) fn entry(&self) -> Result<Entry, ConfigError> {
        set::checked(&self.key, &self.value, self.typed())
    }
}

/// Why a key cannot be one of the things compared, and what to do in place of it. Candidates have the data, the seeds and the
/// evaluation in common, so that their scores differ by how they were trained alone.
fn fixed(key: &Key) -> Option<(&'static str, String)> {
    let is_column = key.table == "data" && ColumnNames::keys().iter().any(|column| column.name == key.name);
    let reason = match key.dotted().as_str() {
        "output_dir" => return Some(("each run has a directory of its own", "leave it out".to_owned())),
        "seed" => {
            let help = "write `--seeds N` for runs with N seeds each".to_owned();
            return Some(("seeds are no candidates", help));
        }
        METHOD => {
            return Some(("methods have an option of their own", "write `--methods lora,full`".to_owned()));
        }
        "model.task" => "scores of different tasks cannot be compared",
        "model.labels" => "scores on different classes cannot be compared",
        "data.valid" | "data.valid_fraction" => "scores on different validation data cannot be compared",
        "data.loss_on" | "data.mask_probability" => "it changes which tokens of the validation data are predicted",
        "train.eval_generate" => "it changes which prompts of the validation data are answered",
        _ if is_column => "it changes what is read from the validation data",
        _ => return None,
    };
    let key = key.dotted();
    Some((reason, format!("train each by itself: `kindling train CONFIG --set {key}=VALUE --set output_dir=DIR`")))
}

/// Whether both come to the same: a whole number may be written with a point.
fn is_same(left: &Value, right: &Value) -> bool {
    let number = |value: &Value| value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
    match (number(left), number(right)) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }
}

/// What stands between commas that are in no brackets and no quotes: `["query"],["query", "value"]` has two.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quote) = (Vec::new(), 0, 0_usize, None);
    for (i, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            (None, _) => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(argument: &str) -> String {
        Varied::parse(argument).unwrap_err().to_string()
    }

    #[test]
    fn values_stand_between_commas_that_are_in_no_brackets() {
        assert_eq!(parts("4,8,16"), ["4", "8", "16"]);
        assert_eq!(
            parts("[\"query\"],[\"query\", \"value\"],\"a,b\""),
            ["[\"query\"]", "[\"query\", \"value\"]", "\"a,b\""]
        );
        let varied = Varied::parse("adapter.r=4, 8").unwrap();
        assert_eq!(
            (varied.key().as_str(), varied.values.as_slice()),
            ("adapter.r", ["4", "8"].map(str::to_owned).as_slice())
        );
        assert!(varied.is_of("lora") && !varied.is_of("full"));
        assert!(Varied::parse("train.learning_rate=1e-4,1e-3").unwrap().is_of("full"));
    }

    #[test]
    fn what_is_wrong_is_refused_where_it_stands() {
        assert_eq!(refused("adapter.r"), "`--vary adapter.r`: no `=`");
        assert_eq!(refused("adapter.rr=1,2"), "`--vary adapter.rr=1,2`: unknown key");
        assert_eq!(
            refused("adapter.r=4,0"),
            "`--vary adapter.r=4,0`: found `0`, expected an integer from 1 to 4294967295"
        );
        assert_eq!(refused("adapter.r=4,4"), "`--vary adapter.r=4,4`: `4` is given twice");
        assert_eq!(refused("seed=1,2"), "`--vary seed=1,2`: seeds are no candidates");
    }

    #[test]
    fn what_changes_the_evaluation_is_not_varied() {
        for key in ["model.task", "model.labels", "data.valid", "data.valid_fraction", "data.loss_on", "output_dir"] {
            assert!(fixed(Key::find(key).unwrap()).is_some(), "{key}");
        }
        for column in ColumnNames::keys() {
            let key = Key::find(&dotted("data", column.name)).unwrap();
            assert_eq!(fixed(key).unwrap().0, "it changes what is read from the validation data", "{}", column.name);
        }
        for key in ["data.train", "data.max_length", "model.path", "model.dtype", "adapter.r", "train.batch_size"] {
            assert!(fixed(Key::find(key).unwrap()).is_none(), "{key}");
        }
    }
}
