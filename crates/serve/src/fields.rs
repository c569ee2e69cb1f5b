//! The fields of a request's JSON object, each taken out by its name, its type and its range. What is left at the end is
//! unknown, and refused.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::answered::Asked;
use crate::problem::Problem;

/// An object whose fields are taken one after another. A null is no field, as for OpenAI.
#[derive(Debug)]
pub(crate) struct Fields {
    values: Map<String, Value>,
    /// The names that were asked for, for suggestions.
    known: BTreeSet<&'static str>,
    /// Where in the request the object is, with a dot at its end.
    place: String,
    /// Where the request's model is noted.
    pub(crate) asked: Asked,
}

impl Fields {
    pub(crate) fn parse(body: &[u8], asked: Asked) -> Result<Self, Problem> {
        match json::parse(body) {
            Ok(Value::Object(values)) => Ok(Self { asked, ..Self::of(values) }),
            Ok(other) => Err(Problem::request(format!("the body should be a JSON object, found {}", kind(&other)))),
            Err(error) => Err(Problem::request(format!("the body is no JSON: {error}"))),
        }
    }

    pub(crate) fn of(values: Map<String, Value>) -> Self {
        Self { values, known: BTreeSet::new(), place: String::new(), asked: Asked::default() }
    }

    /// An object in the request, whose fields are refused by this place and their name.
    pub(crate) fn within(place: &str, values: Map<String, Value>) -> Self {
        Self { place: format!("{place}."), ..Self::of(values) }
    }

    /// A value in the request that should be an object.
    pub(crate) fn object(place: &str, value: Value) -> Result<Self, Problem> {
        match value {
            Value::Object(values) => Ok(Self::within(place, values)),
            other => Err(wrong(place, "an object", &other)),
        }
    }

    /// Where in the request the field of this name is.
    pub(crate) fn place(&self, name: &str) -> String {
        format!("{}{name}", self.place)
    }

    pub(crate) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.insert(name);
        self.values.shift_remove(name).filter(|value| !value.is_null())
    }

    pub(crate) fn required(&mut self, name: &'static str, expected: &str) -> Result<Value, Problem> {
        self.take(name).ok_or_else(|| {
            let place = self.place(name);
            Problem::field(&place, format!("`{place}` is missing: expected {expected}"))
        })
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        self.take(name).map(|value| text(&self.place(name), value)).transpose()
    }

    pub(crate) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong(&self.place(name), "true or false", &other)),
        }
    }

    pub(crate) fn integer(&mut self, name: &'static str, range: RangeInclusive<i64>) -> Result<Option<i64>, Problem> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let expected = match (*range.start(), *range.end()) {
            (i64::MIN, _) => "an integer".to_string(),
            (least, i64::MAX) => format!("an integer, {least} or more"),
            (least, greatest) => format!("an integer from {least} to {greatest}"),
        };
        match value.as_i64() {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            _ if value.is_number() => Err(out_of_range(&self.place(name), &value, &expected)),
            _ => Err(wrong(&self.place(name), &expected, &value)),
        }
    }

    /// `is_fit` says what `expected` says.
    pub(crate) fn number(
        &mut self,
        name: &'static str,
        expected: &str,
        is_fit: impl Fn(f64) -> bool,
    ) -> Result<Option<f64>, Problem> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if is_fit(number) => Ok(Some(number)),
            Some(_) => Err(out_of_range(&self.place(name), &value, expected)),
            None => Err(wrong(&self.place(name), expected, &value)),
        }
    }

    /// Refuses what is asked for and is not there. A value that asks for nothing is none.
    pub(crate) fn refuse(&mut self, name: &'static str, instead: &str) -> Result<(), Problem> {
        let is_nothing =
            |value: &Value| *value == Value::Bool(false) || value.as_array().is_some_and(|list| list.is_empty());
        self.expect(name, is_nothing, instead)
    }

    /// Refuses any other value than those that ask for what is done anyway.
    pub(crate) fn expect(
        &mut self,
        name: &'static str,
        is_usual: impl Fn(&Value) -> bool,
        instead: &str,
    ) -> Result<(), Problem> {
        match self.take(name) {
            None => Ok(()),
            Some(value) if is_usual(&value) => Ok(()),
            Some(_) => {
                let name = self.place(name);
                Err(Problem::field(&name, format!("`{name}` is not supported: {instead}")).code("unsupported"))
            }
        }
    }

    /// The names of the fields that are left, have a value and are in `ignored`; any other is an error.
    pub(crate) fn finish(self, ignored: &[&'static str]) -> Result<Vec<&'static str>, Problem> {
        let find = |name: &String| ignored.iter().copied().find(|known| known == name);
        let Some(unknown) = self.values.keys().find(|name| find(name).is_none()) else {
            let has_value = self.values.iter().filter(|(_, value)| !value.is_null());
            return Ok(has_value.filter_map(|(name, _)| find(name)).collect());
        };
        let suggestion = suggest::suggestion(unknown, self.known.iter().copied());
        let unknown = self.place(unknown);
        Err(Problem::field(&unknown, format!("unknown field `{unknown}`: {suggestion}")).code("unknown_field"))
    }
}

/// What a JSON value is, in words.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

pub(crate) fn wrong(name: &str, expected: &str, found: &Value) -> Problem {
    Problem::field(name, format!("`{name}` should be {expected}, found {}", kind(found)))
}

fn out_of_range(name: &str, value: &Value, expected: &str) -> Problem {
    Problem::field(name, format!("`{name}` is {value}: expected {expected}"))
}

pub(crate) fn text(name: &str, value: Value) -> Result<String, Problem> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong(name, "a string", &other)),
    }
}

/// Token ids.
pub(crate) fn tokens(name: &str, values: &[Value]) -> Result<Vec<u32>, Problem> {
    let token = |value: &Value| {
        value.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| {
            let found = if value.is_number() { value.to_string() } else { kind(value).to_string() };
            Problem::field(name, format!("`{name}` should be token ids, found {found} among them"))
        })
    };
    values.iter().map(token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &[u8]) -> Result<Fields, Problem> {
        Fields::parse(body, Asked::default())
    }

    fn fields(body: &str) -> Fields {
        parse(body.as_bytes()).unwrap()
    }

    fn message<T: std::fmt::Debug>(result: Result<T, Problem>) -> String {
        result.unwrap_err().message
    }

    #[test]
    fn what_is_no_object_is_refused_with_its_place() {
        assert_eq!(message(parse(b"[1]")), "the body should be a JSON object, found a list");
        assert_eq!(message(parse(b"")), "the body is no JSON: EOF while parsing a value at line 1 column 0");
        let broken = "{\n \"model\": \"a\",\n \"n\" 1}";
        assert_eq!(message(parse(broken.as_bytes())), "the body is no JSON: expected `:` at line 3 column 6");
        let deep = "[".repeat(10_000);
        assert_eq!(
            message(parse(deep.as_bytes())),
            "the body is no JSON: recursion limit exceeded at line 1 column 128"
        );
    }

    #[test]
    fn a_field_has_its_type_and_its_range() {
        let mut fields = fields(r#"{"n": 0, "a": "x", "b": 1.5, "c": true, "d": null, "e": -1, "f": 1e300}"#);
        assert_eq!(message(fields.integer("n", 1..=16)), "`n` is 0: expected an integer from 1 to 16");
        assert_eq!(message(fields.integer("a", 1..=16)), "`a` should be an integer from 1 to 16, found a string");
        assert_eq!(message(fields.integer("b", 1..=i64::MAX)), "`b` is 1.5: expected an integer, 1 or more");
        assert_eq!(fields.flag("c").unwrap(), Some(true));
        assert_eq!(fields.flag("d").unwrap(), None);
        let temperature = "a number from 0 to 2";
        let is_fit = |number: f64| (0.0..=2.0).contains(&number);
        assert_eq!(message(fields.number("e", temperature, is_fit)), "`e` is -1: expected a number from 0 to 2");
        assert_eq!(message(fields.integer("f", 0..=5)), "`f` is 1e+300: expected an integer from 0 to 5");
    }

    #[test]
    fn what_is_left_is_refused_by_its_name_unless_it_is_known_to_be_ignored() {
        let mut left = fields(r#"{"temprature": 1, "user": "me"}"#);
        left.take("temperature");
        left.take("top_p");
        assert_eq!(message(left.finish(&["user"])), "unknown field `temprature`: did you mean `temperature`?");
        assert_eq!(fields(r#"{"user": "me"}"#).finish(&["user", "store"]).unwrap(), ["user"]);
    }
}
