//! What is asked and what is answered, as a configuration names it.

use std::path::Path;

use data::{Column, Dialogue, Profile};

use super::look;
use crate::cli::Failure;
use crate::cli::trained::ColumnNames;
use crate::config::DataConfig;

/// The columns that somebody named; `None`: no such key was given.
///
/// Errors: a column that is not there; a prompt without a completion, or the other way round.
pub(super) fn named<'a>(
    profile: &'a Profile,
    file: &Path,
    names: &ColumnNames,
) -> Result<Option<Dialogue<'a>>, Failure> {
    let column = |name: &Option<String>| look::named(profile, file, name.as_deref());
    if let Some(messages) = column(&names.messages)? {
        return Ok(Some(Dialogue::Messages(messages)));
    }
    match (column(&names.prompt)?, column(&names.completion)?) {
        (None, None) => Ok(None),
        (Some(prompt), Some(completion)) => Ok(Some(Dialogue::Answer { prompt, context: None, completion })),
        (prompt, _) => {
            let (given, missing) = match prompt {
                Some(_) => ("data.prompt", "data.completion"),
                None => ("data.completion", "data.prompt"),
            };
            let help = format!("name the other column too: `--set {missing}=COLUMN`");
            Err(Failure::usage(format!("`{given}` is named without `{missing}`"), help))
        }
    }
}

pub(super) fn is_named(names: &ColumnNames) -> bool {
    names.messages.is_some() || names.prompt.is_some()
}

/// The keys of the configuration, and a line on each.
pub(super) fn columns(dialogue: Dialogue<'_>, is_named: bool) -> (DataConfig, Vec<String>) {
    let reason = if is_named { "as named" } else { "by its name" };
    match dialogue {
        Dialogue::Messages(column) => {
            let columns = DataConfig { messages: Some(column.name.clone()), ..DataConfig::default() };
            (columns, vec![format!("messages     {}: {reason}", column.name)])
        }
        Dialogue::Answer { prompt, context, completion } => {
            let about =
                context.map_or_else(String::new, |context| format!(", with {} where there is any", context.name));
            let reasons = vec![
                format!("prompt       {}: {reason}{about}", prompt.name),
                format!("completion   {}: {reason}", completion.name),
            ];
            // Rows of these names are written to be joined as they are.
            if (&*prompt.name, &*completion.name, context) == ("prompt", "completion", None) {
                let (prompt, completion) = (Some(prompt.name.clone()), Some(completion.name.clone()));
                return (DataConfig { prompt, completion, ..DataConfig::default() }, reasons);
            }
            let columns = DataConfig {
                prompt_template: prompt_template(prompt, context, completion),
                completion_template: format!(" {{{{ {} }}}}", variable(&completion.name)),
                ..DataConfig::default()
            };
            (columns, reasons)
        }
    }
}

/// Each column on a line, and then the name of what is wanted: a prompt must show where it ends. The space in front of an
/// answer is the completion's, since that is how most vocabularies cut words.
fn prompt_template(prompt: &Column, context: Option<&Column>, completion: &Column) -> String {
    let context = context.map(|context| variable(&context.name));
    let context = context.map_or_else(String::new, |it| format!("{{% if {it} %}}{{{{ {it} }}}}\n{{% endif %}}"));
    let wanted = if is_word(&completion.name) { &completion.name } else { "answer" };
    let (first, rest) = wanted.split_at(1);
    format!("{{{{ {} }}}}\n{context}{}{rest}:", variable(&prompt.name), first.to_uppercase())
}

/// A column as templates name it.
fn variable(column: &str) -> String {
    if is_word(column) { column.to_owned() } else { format!("row[{}]", serde_json::Value::from(column)) }
}

fn is_word(column: &str) -> bool {
    column.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && column.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use data::Record;
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_name_any_column_and_end_in_what_is_wanted() {
        let row = json!({"the question": "why \"so\"?", "input": "", "answer": "because"});
        let record = || Record {
            line: 1,
            fields: row.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
        };
        let profile = Profile::of([Ok(record())].into_iter()).unwrap();
        let column = |name: &str| profile.column(name).unwrap();
        let dialogue = Dialogue::Answer {
            prompt: column("the question"),
            context: Some(column("input")),
            completion: column("answer"),
        };
        let (columns, _) = columns(dialogue, true);
        let render = |template: &str| {
            let template = data::Template::new("data.prompt_template", template).unwrap();
            template.render(Path::new("a.jsonl"), &record()).unwrap()
        };
        assert_eq!(render(&columns.prompt_template), "why \"so\"?\nAnswer:");
        assert_eq!(render(&columns.completion_template), " because");
    }
}
