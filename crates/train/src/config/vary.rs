//! `--vary KEY=VALUE,VALUE`: a key with the values that it is to have, one after another.

use lora::Method;
use toml::Value;

use super::error::{ConfigError, Place};
use super::keys::{Key, dotted, has, split, unknown};
use super::set;

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
        let fixed = |reason, help| ConfigError::VaryFixed { place: place.of(name), reason, help };
        match key.dotted().as_str() {
            "output_dir" => return Err(fixed("each run has a directory of its own", "leave it out")),
            "seed" => return Err(fixed("seeds are no candidates", "write `--seeds N` for runs with N seeds each")),
            "adapter.method" => {
                return Err(fixed("methods have an option of their own", "write `--methods lora,full`"));
            }
            _ => {}
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

    /// The key without its table.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether a method of this name has the key: a key outside of `[adapter]` all have.
    pub(crate) fn is_of(&self, method: &str) -> bool {
        self.table != "adapter" || Method::named(method).is_some_and(|method| has(&method, self.name))
    }
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
}
