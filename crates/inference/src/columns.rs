//! The columns of rows by the keys that name them, with their templates read.

use data::{Template, Written};

use crate::Columns;

/// Names of columns; `None` is the default, used where present.
#[derive(Debug, Clone, Default)]
pub struct ColumnNames {
    pub text: Option<String>,
    pub text_template: Option<Template>,
    pub text_pair: Option<String>,
    pub label: Option<String>,
    pub prompt: Option<String>,
    pub prompt_template: Option<Template>,
    pub completion: Option<String>,
    pub completion_template: Option<Template>,
    pub messages: Option<String>,
    pub tokens: Option<String>,
    pub tags: Option<String>,
    pub entities: Option<String>,
}

impl ColumnNames {
    /// Those of an adapter's or a model's sidecar.
    pub(crate) fn of(columns: &Columns) -> Result<Self, data::Error> {
        Ok(Self {
            text: columns.text.clone(),
            text_template: template("data.text_template", columns.text_template.as_deref())?,
            text_pair: columns.text_pair.clone(),
            label: columns.label.clone(),
            prompt: columns.prompt.clone(),
            prompt_template: template("data.prompt_template", columns.prompt_template.as_deref())?,
            completion: columns.completion.clone(),
            completion_template: template("data.completion_template", columns.completion_template.as_deref())?,
            messages: columns.messages.clone(),
            tokens: columns.tokens.clone(),
            tags: columns.tags.clone(),
            entities: columns.entities.clone(),
        })
    }

    /// Rows are of one kind: whoever names another means those columns instead of the ones it was trained with.
    fn clear_text(&mut self) {
        (self.text, self.text_template, self.messages) = (None, None, None);
    }

    fn clear_completion(&mut self) {
        (self.prompt, self.prompt_template, self.messages) = (None, None, None);
        (self.completion, self.completion_template) = (None, None);
        (self.tokens, self.tags) = (None, None);
    }

    pub fn written(&self) -> Written<'_> {
        Written {
            text: self.text.as_deref(),
            text_template: self.text_template.as_ref(),
            text_pair: self.text_pair.as_deref(),
            label: self.label.as_deref(),
            prompt: self.prompt.as_deref(),
            prompt_template: self.prompt_template.as_ref(),
            completion: self.completion.as_deref(),
            completion_template: self.completion_template.as_ref(),
            messages: self.messages.as_deref(),
            tokens: self.tokens.as_deref(),
            tags: self.tags.as_deref(),
            entities: self.entities.as_deref(),
        }
    }

    /// The only column that the text of a row is made of; where there are several, all of them.
    pub(crate) fn of_text(&self) -> Result<String, Vec<String>> {
        let text = || vec![self.text.clone().unwrap_or_else(|| "text".to_string())];
        let mut made_of = self.text_template.as_ref().map_or_else(text, Template::columns);
        made_of.extend(self.text_pair.clone());
        match made_of.as_slice() {
            [_] => Ok(made_of.remove(0)),
            _ => Err(made_of),
        }
    }

    /// Names another column or gives another template, by its key in `[data]`. Rows are of one kind: whoever names columns of
    /// one means those instead of what it was trained with.
    ///
    /// Errors: a template that is none.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), data::Error> {
        let text = Some(value.to_string());
        let source = || template(&format!("data.{key}"), Some(value));
        match key {
            "text" => {
                self.clear_completion();
                (self.text, self.text_template) = (text, None);
            }
            "text_template" => {
                self.clear_completion();
                (self.text, self.text_template) = (None, source()?);
            }
            "prompt" => {
                self.clear_text();
                (self.prompt, self.prompt_template) = (text, None);
            }
            "prompt_template" => {
                self.clear_text();
                (self.prompt, self.prompt_template) = (None, source()?);
            }
            "completion" => {
                self.clear_text();
                (self.completion, self.completion_template) = (text, None);
            }
            "completion_template" => {
                self.clear_text();
                (self.completion, self.completion_template) = (None, source()?);
            }
            "messages" => {
                self.clear_text();
                self.clear_completion();
                self.messages = text;
            }
            "text_pair" => self.text_pair = text,
            "label" => self.label = text,
            "tokens" => {
                self.clear_text();
                (self.tokens, self.entities) = (text, None);
            }
            "tags" => {
                self.clear_text();
                (self.tags, self.entities) = (text, None);
            }
            "entities" => {
                (self.tokens, self.tags) = (None, None);
                self.entities = text;
            }
            _ => {}
        }
        Ok(())
    }
}

fn template(key: &str, source: Option<&str>) -> Result<Option<Template>, data::Error> {
    let source = source.filter(|source| !source.is_empty());
    source.map(|source| Template::new(key, source)).transpose()
}
