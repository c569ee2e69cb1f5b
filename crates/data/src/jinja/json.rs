//! The filter `tojson` of Transformers' chat templates: Python's `json.dumps(x, ensure_ascii=False)`, with its separators
//! and its way to write fractions. Jinja's own would escape `<`, `>`, `&` and `'` for HTML.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};
use serde_json::Value as Json;

use super::arguments::{Args, bind, count, flag, given, values};
use super::limits::{self, Text};
use super::numbers::{self, Number};
use super::{containers, text};

pub(super) fn tojson(value: &Value, args: Args) -> Result<Value, Error> {
    let [ascii, indent, separators, sort_keys] =
        bind(&values(args), ["ensure_ascii", "indent", "separators", "sort_keys"])?;
    let indent = match given(indent) {
        Some(indent) if indent.kind() == ValueKind::String => Some(text::str(&indent)?),
        Some(indent) => Some(" ".repeat(count(Some(indent), 0)?.min(1000))),
        None => None,
    };
    let separators = given(separators).map(|separators| text::iterated(&separators)).transpose()?;
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (text::str(item)?, text::str(key)?),
        Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "`separators` are two")),
        // With lines of their own items need no space between them.
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
    };
    let style = Style { item, key, indent, sort_keys: flag(sort_keys, false), ascii: flag(ascii, false) };
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "an undefined value cannot be written as JSON"));
    }
    let mut text = Text::default();
    style.write(value, 0, &mut text)?;
    Ok(Value::from_safe_string(text.into_string()))
}

struct Style {
    item: String,
    key: String,
    indent: Option<String>,
    sort_keys: bool,
    ascii: bool,
}

impl Style {
    fn write(&self, value: &Value, depth: usize, text: &mut Text) -> Result<(), Error> {
        match value.kind() {
            ValueKind::String => self.string(value.as_str().unwrap_or_default(), text)?,
            ValueKind::Seq | ValueKind::Map => {
                limits::check_depth(depth)?;
                self.container(value, depth, text)?;
            }
            _ => text.push_str(&plain(value)?)?,
        }
        Ok(())
    }

    fn container(&self, value: &Value, depth: usize, text: &mut Text) -> Result<(), Error> {
        match value.kind() {
            ValueKind::Seq => {
                let items = text::iterated(value)?;
                self.list('[', ']', items.iter(), depth, text, |style, item, text| style.write(item, depth + 1, text))
            }
            _ => {
                let fields = containers::pairs(value)?.into_iter().map(|(key, value)| Ok((self.name(&key)?, value)));
                let mut fields: Vec<(String, Value)> = fields.collect::<Result<_, Error>>()?;
                if self.sort_keys {
                    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
                }
                self.list('{', '}', fields.iter(), depth, text, |style, (key, value), text| {
                    style.string(key, text)?;
                    text.push_str(&style.key)?;
                    style.write(value, depth + 1, text)
                })
            }
        }
    }

    /// The name of a field: a text, or what Python makes one.
    fn name(&self, key: &Value) -> Result<String, Error> {
        match key.kind() {
            ValueKind::String => Ok(key.as_str().unwrap_or_default().to_owned()),
            _ => plain(key),
        }
    }

    fn list<T>(
        &self,
        open: char,
        close: char,
        items: impl ExactSizeIterator<Item = T>,
        depth: usize,
        text: &mut Text,
        write: impl Fn(&Self, T, &mut Text) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let is_empty = items.len() == 0;
        text.push(open)?;
        for (index, item) in items.enumerate() {
            if index > 0 {
                text.push_str(&self.item)?;
            }
            self.line(depth + 1, text)?;
            write(self, item, text)?;
        }
        if !is_empty {
            self.line(depth, text)?;
        }
        text.push(close)
    }

    fn line(&self, depth: usize, text: &mut Text) -> Result<(), Error> {
        let Some(indent) = &self.indent else { return Ok(()) };
        text.push('\n')?;
        (0..depth).try_for_each(|_| text.push_str(indent))
    }

    fn string(&self, string: &str, text: &mut Text) -> Result<(), Error> {
        limits::check_length(string.len())?;
        let quoted = Json::String(string.to_owned()).to_string();
        if !self.ascii {
            return text.push_str(&quoted);
        }
        for character in quoted.chars() {
            if matches!(character, ' '..='~') || character.is_ascii_control() && character < ' ' {
                text.push(character)?;
                continue;
            }
            for unit in character.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"))?;
            }
        }
        Ok(())
    }
}

/// What is neither a text nor made of others.
fn plain(value: &Value) -> Result<String, Error> {
    match (value.kind(), Number::of(value)) {
        (ValueKind::None, _) => Ok("null".to_owned()),
        (ValueKind::Bool, _) => Ok(if value.is_true() { "true" } else { "false" }.to_owned()),
        (ValueKind::Number, Some(Number::Float(float))) => Ok(match (float.is_finite(), float.is_nan(), float > 0.0) {
            (true, ..) => numbers::float_repr(float),
            (_, true, _) => "NaN".to_owned(),
            (_, _, true) => "Infinity".to_owned(),
            (_, _, false) => "-Infinity".to_owned(),
        }),
        (ValueKind::Number, _) => Ok(value.to_string()),
        _ => Err(unfit(value)),
    }
}

fn unfit(value: &Value) -> Error {
    let message = format!("{} cannot be written as JSON", text::type_name(value));
    Error::new(ErrorKind::BadSerialization, message)
}

#[cfg(test)]
mod tests {
    use minijinja::value::Serde;
    use minijinja::{Environment, context};
    use serde_json::json;

    use super::*;

    fn write(expression: &str, x: Json) -> String {
        let mut environment = Environment::new();
        environment.add_filter("tojson", tojson);
        environment.render_str(&format!("{{{{ {expression} }}}}"), context! { x => Serde(x) }).unwrap()
    }

    #[test]
    fn json_reads_as_python_writes_it() {
        // Each by `json.dumps` of Python 3.11.
        let x = json!({"b": [1, 2.0, -0.5], "a": {"k": "<é> & 'q' \"d\"\n\u{1}\u{7f}"}, "n": null, "t": true, "e": []});
        assert_eq!(
            write("x | tojson", x.clone()),
            r#"{"b": [1, 2.0, -0.5], "a": {"k": "<é> & 'q' \"d\"\n\u0001"#.to_owned()
                + "\u{7f}\"}, \"n\": null, \"t\": true, \"e\": []}"
        );
        assert_eq!(
            write("x | tojson(indent=2)", json!({"a": [1, {}], "b": "é"})),
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": \"é\"\n}"
        );
        assert_eq!(write("x | tojson(ensure_ascii=true)", json!("é😀")), r#""\u00e9\ud83d\ude00""#);
        assert_eq!(
            write("x | tojson(separators=(',', ':'), sort_keys=true)", json!({"b": [1, 2], "a": 0})),
            r#"{"a":0,"b":[1,2]}"#
        );
    }
}
