//! Which columns of rows are read, by the keys of `[data]`: the one description that the configuration, `kindling.json` and
//! commands have. A new key is a field and a line of [`KEYS`]; what its column means is its reader's.

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Error, Template};

/// Names of columns, and templates that make a text of several; `None` is the column of the key's own name, where one is
/// needed or there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ColumnNames {
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_empty")]
    pub text_template: Option<String>,
    pub text_pair: Option<String>,
    pub label: Option<String>,
    /// What a language model is given to go on from, and what it is to say, as are the following: read by
    /// [`language::Columns`](crate::language::Columns).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_empty")]
    pub prompt_template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_empty")]
    pub completion_template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<String>,
    /// Words, their tags and the entities of a text: read by [`tagging::Columns`](crate::tagging::Columns).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entities: Option<String>,
}

/// A key of `[data]` that names a column or is a template.
#[derive(Debug)]
pub struct ColumnKey {
    pub name: &'static str,
    pub role: ColumnRole,
    /// The key that a template takes the place of.
    template_of: Option<&'static str>,
    /// `None`: rows of any kind may have it.
    rows: Option<RowKind>,
    field: fn(&mut ColumnNames) -> &mut Option<String>,
}

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnRole {
    /// Read by a model.
    Input,
    /// What the model is to answer.
    Target,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowKind {
    Text,
    Completion,
    Messages,
    Words,
}

const fn column(
    name: &'static str,
    role: ColumnRole,
    rows: Option<RowKind>,
    field: fn(&mut ColumnNames) -> &mut Option<String>,
) -> ColumnKey {
    ColumnKey { name, role, template_of: None, rows, field }
}

#[rustfmt::skip]
static KEYS: [ColumnKey; 12] = {
    use ColumnRole::{Input, Target};
    use RowKind::{Completion, Messages, Text, Words};
    [
        column("text", Input, Some(Text), |names| &mut names.text),
        column("text_template", Input, Some(Text), |names| &mut names.text_template).instead_of("text"),
        column("text_pair", Input, None, |names| &mut names.text_pair),
        column("label", Target, None, |names| &mut names.label),
        column("prompt", Input, Some(Completion), |names| &mut names.prompt),
        column("prompt_template", Input, Some(Completion), |names| &mut names.prompt_template).instead_of("prompt"),
        column("completion", Target, Some(Completion), |names| &mut names.completion),
        column("completion_template", Target, Some(Completion), |names| &mut names.completion_template).instead_of("completion"),
        column("messages", Input, Some(Messages), |names| &mut names.messages),
        column("tokens", Input, Some(Words), |names| &mut names.tokens),
        column("tags", Target, Some(Words), |names| &mut names.tags),
        column("entities", Target, Some(Text), |names| &mut names.entities),
    ]
};

impl ColumnKey {
    const fn instead_of(self, column: &'static str) -> Self {
        Self { template_of: Some(column), ..self }
    }

    pub fn is_template(&self) -> bool {
        self.template_of.is_some()
    }

    /// Whether the key says the same as another, in another way.
    fn excludes(&self, other: &Self) -> bool {
        self.template_of == Some(other.name) || other.template_of == Some(self.name)
    }

    fn is_of_other_rows(&self, other: &Self) -> bool {
        matches!((self.rows, other.rows), (Some(rows), Some(others)) if rows != others)
    }
}

impl ColumnNames {
    pub fn keys() -> &'static [ColumnKey] {
        &KEYS
    }

    /// All keys with their values.
    pub fn entries(&self) -> impl Iterator<Item = (&'static ColumnKey, Option<String>)> + use<> {
        let mut names = self.clone();
        KEYS.iter().map(move |key| (key, (key.field)(&mut names).take()))
    }

    /// Names another column or gives another template, by its key; of other keys nothing happens. Rows are of one kind:
    /// whoever names columns of one means those instead of what the others were.
    ///
    /// Errors: a template that is none.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let Some(key) = KEYS.iter().find(|known| known.name == key) else { return Ok(()) };
        if key.is_template() {
            template(key.name, value)?;
        }
        for other in KEYS.iter().filter(|other| key.excludes(other) || key.is_of_other_rows(other)) {
            *(other.field)(self) = None;
        }
        *(key.field)(self) = Some(value.to_owned()).filter(|value| !(key.is_template() && value.is_empty()));
        Ok(())
    }

    /// Without the keys that are not `wanted`.
    pub fn only(mut self, wanted: impl Fn(&str) -> bool) -> Self {
        for key in KEYS.iter().filter(|key| !wanted(key.name)) {
            *(key.field)(&mut self) = None;
        }
        self
    }

    /// A template and the column in whose place it stands, where both are given.
    pub fn template_and_column(&self) -> Option<(&'static str, &'static str)> {
        let given = || self.entries().filter(|(_, value)| value.is_some()).map(|(key, _)| key);
        let column = |template: &ColumnKey| given().find(|key| template.template_of == Some(key.name));
        given().find_map(|key| Some((key.name, column(key)?.name)))
    }

    /// Errors: a template that is none.
    pub fn check_templates(&self) -> Result<(), Error> {
        let mut templates = self.entries().filter(|(key, _)| key.is_template());
        templates.try_for_each(|(key, source)| source.map_or(Ok(()), |source| template(key.name, &source).map(drop)))
    }

    /// The columns that the text of a row, or a pair of texts, is made of.
    ///
    /// Errors: a template that is none.
    pub fn of_text(&self) -> Result<Vec<String>, Error> {
        let mut made_of = match &self.text_template {
            Some(source) => template("text_template", source)?.columns(),
            None => vec![self.text.clone().unwrap_or_else(|| "text".to_owned())],
        };
        made_of.extend(self.text_pair.clone());
        Ok(made_of)
    }
}

/// The template of a key of `[data]`, which messages call by it.
pub(crate) fn template(key: &str, source: &str) -> Result<Template, Error> {
    Template::new(&format!("data.{key}"), source)
}

/// An empty template is none.
fn not_empty<'de, D: Deserializer<'de>>(source: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(source)?.filter(|source| !source.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    fn names(value: Value) -> ColumnNames {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn every_field_is_a_key_in_the_same_order() {
        let all: Map<String, Value> = KEYS.iter().map(|key| (key.name.to_owned(), json!(key.name))).collect();
        let all = names(Value::Object(all));
        assert!(all.entries().all(|(key, value)| value.as_deref() == Some(key.name)), "{all:?}");
        let Value::Object(written) = serde_json::to_value(&all).unwrap() else { panic!("names are an object") };
        let fields: Vec<&str> = written.keys().map(String::as_str).collect();
        assert_eq!(fields, KEYS.iter().map(|key| key.name).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_not_given_is_written_as_null_or_left_out_as_ever() {
        let none = json!({"text": null, "text_pair": null, "label": null});
        assert_eq!(serde_json::to_value(ColumnNames::default()).unwrap(), none);
        assert_eq!(names(json!({"text_template": "", "more": 1})), ColumnNames::default());
    }

    #[test]
    fn rows_are_of_one_kind() {
        let mut it = names(json!({"text": "a", "label": "l", "entities": "e"}));
        it.set("prompt", "p").unwrap();
        it.set("completion", "c").unwrap();
        assert_eq!(it, names(json!({"prompt": "p", "completion": "c", "label": "l"})));
        it.set("messages", "m").unwrap();
        assert_eq!(it, names(json!({"messages": "m", "label": "l"})));
        it.set("tokens", "w").unwrap();
        it.set("tags", "t").unwrap();
        assert_eq!(it, names(json!({"tokens": "w", "tags": "t", "label": "l"})));
        it.set("entities", "e").unwrap();
        it.set("text_template", "{{ a }}").unwrap();
        assert_eq!(it, names(json!({"text_template": "{{ a }}", "entities": "e", "label": "l"})));
        it.set("text_template", "").unwrap();
        it.set("text", "b").unwrap();
        it.set("label", "k").unwrap();
        it.set("train", "x").unwrap();
        assert_eq!(it, names(json!({"text": "b", "entities": "e", "label": "k"})));
    }

    #[test]
    fn a_template_stands_in_the_place_of_its_column() {
        assert_eq!(
            names(json!({"text": "a", "completion": "b", "completion_template": "c"})).template_and_column(),
            Some(("completion_template", "completion"))
        );
        assert_eq!(names(json!({"text": "a", "completion_template": "c"})).template_and_column(), None);
        let wrong = names(json!({"prompt_template": "{{"})).check_templates().unwrap_err();
        assert_eq!(ColumnNames::default().set("prompt_template", "{{").unwrap_err().to_string(), wrong.to_string());
    }

    #[test]
    fn a_text_may_be_made_of_several_columns() {
        let of = |value| names(value).of_text().unwrap();
        assert_eq!(of(json!({})), ["text"]);
        assert_eq!(of(json!({"text_pair": "b"})), ["text", "b"]);
        assert_eq!(of(json!({"text_template": "{{ x }} {{ y }}"})), ["x", "y"]);
    }
}
