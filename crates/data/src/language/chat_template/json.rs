//! The filter `tojson` of Transformers' chat templates: Python's `json.dumps(x, ensure_ascii=False)`, with its separators
//! and its way to write fractions. Jinja's own would escape `<`, `>`, `&` and `'` for HTML.

use std::fmt::{self, Write};

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};
use serde_json::Value as Json;

pub(super) fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let separators: Option<Vec<String>> = options.get("separators")?;
    let indent: Option<u8> = options.get("indent")?;
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "`separators` are two")),
        // With lines of their own items need no space between them.
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
    };
    let style = Style {
        item,
        key,
        indent: indent.map(usize::from),
        sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
    };
    options.assert_all_used()?;
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "an undefined value cannot be written as JSON"));
    }
    let json = serde_json::to_value(value)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, "cannot be written as JSON").with_source(error))?;
    let mut text = String::new();
    style.write(&json, 0, &mut text);
    Ok(Value::from_safe_string(text))
}

struct Style {
    item: String,
    key: String,
    indent: Option<usize>,
    sort_keys: bool,
    ascii: bool,
}

impl Style {
    fn write(&self, json: &Json, depth: usize, text: &mut String) {
        match json {
            Json::Null => text.push_str("null"),
            Json::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
            Json::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(fraction) => text.push_str(&python_fraction(fraction)),
                None => text.push_str(&number.to_string()),
            },
            Json::String(string) => self.string(string, text),
            Json::Array(items) => self.list('[', ']', items.iter(), depth, text, |style, item, text| {
                style.write(item, depth + 1, text);
            }),
            Json::Object(fields) => {
                let mut fields: Vec<(&String, &Json)> = fields.iter().collect();
                if self.sort_keys {
                    fields.sort_by_key(|(key, _)| *key);
                }
                self.list('{', '}', fields.into_iter(), depth, text, |style, (key, value), text| {
                    style.string(key, text);
                    text.push_str(&style.key);
                    style.write(value, depth + 1, text);
                });
            }
        }
    }

    fn list<T>(
        &self,
        open: char,
        close: char,
        items: impl ExactSizeIterator<Item = T>,
        depth: usize,
        text: &mut String,
        write: impl Fn(&Self, T, &mut String),
    ) {
        let is_empty = items.len() == 0;
        text.push(open);
        for (index, item) in items.enumerate() {
            if index > 0 {
                text.push_str(&self.item);
            }
            self.line(depth + 1, text);
            write(self, item, text);
        }
        if !is_empty {
            self.line(depth, text);
        }
        text.push(close);
    }

    fn line(&self, depth: usize, text: &mut String) {
        if let Some(indent) = self.indent {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    fn string(&self, string: &str, text: &mut String) {
        let quoted = Json::String(string.to_owned()).to_string();
        if !self.ascii {
            text.push_str(&quoted);
            return;
        }
        for character in quoted.chars() {
            if character.is_ascii() {
                text.push(character);
                continue;
            }
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _: fmt::Result = write!(text, "\\u{unit:04x}");
            }
        }
    }
}

/// As Python's `repr`: the shortest digits, with an exponent from 1e16 on and below 1e-4.
fn python_fraction(fraction: f64) -> String {
    let magnitude = fraction.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let text = format!("{fraction:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return match exponent.strip_prefix('-') {
            Some(exponent) => format!("{digits}e-{exponent:0>2}"),
            None => format!("{digits}e+{exponent:0>2}"),
        };
    }
    format!("{fraction:?}")
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

    #[test]
    fn fractions_have_pythons_digits() {
        for (fraction, expected) in [
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e-5, "1.5e-05"),
            (1e-4, "0.0001"),
            (-2.5e300, "-2.5e+300"),
            (0.0, "0.0"),
        ] {
            assert_eq!(python_fraction(fraction), expected);
        }
    }
}
