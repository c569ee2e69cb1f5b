//! What is asked and what is answered, as a configuration names it.

use data::{Column, ColumnNames, Dialogue};

/// Words that are not names to a template.
const KEYWORDS: [&str; 12] = ["and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "loop", "self"];

/// The keys of the configuration, and a line on each.
pub(super) fn columns(dialogue: Dialogue<'_>, is_named: bool) -> (ColumnNames, Vec<String>) {
    let reason = if is_named { "as named" } else { "by its name" };
    match dialogue {
        Dialogue::Messages(column) => {
            let columns = ColumnNames { messages: Some(column.name.clone()), ..ColumnNames::default() };
            (columns, vec![format!("messages     {}: {reason}", column.name)])
        }
        Dialogue::Turns { prompt, completion } => {
            let reasons = vec![
                format!("prompt       {}: {reason}, lists of messages", prompt.name),
                format!("completion   {}: {reason}, lists of messages", completion.name),
            ];
            let (prompt, completion) = (Some(prompt.name.clone()), Some(completion.name.clone()));
            (ColumnNames { prompt, completion, ..ColumnNames::default() }, reasons)
        }
        Dialogue::Answer { prompt, context, completion } => {
            let about =
                context.map_or_else(String::new, |context| format!(", with {} where there is any", context.name));
            let reasons = vec![
                format!("prompt       {}: {reason}{about}", prompt.name),
                format!("completion   {}: {reason}", completion.name),
            ];
            // Rows of just these names are written to be joined as they are.
            let is_called = |column: &Column, name: &str| column.name.eq_ignore_ascii_case(name);
            if is_called(prompt, "prompt") && is_called(completion, "completion") && context.is_none() {
                if prompt.runs_into(completion) {
                    let mut reasons = reasons;
                    reasons[1] += ", with a space before it: the words of both would run together";
                    let prompt_template = Some(format!("{{{{ {} }}}}", variable(&prompt.name)));
                    let completion_template = Some(format!(" {{{{ {} }}}}", variable(&completion.name)));
                    return (ColumnNames { prompt_template, completion_template, ..ColumnNames::default() }, reasons);
                }
                let (prompt, completion) = (Some(prompt.name.clone()), Some(completion.name.clone()));
                return (ColumnNames { prompt, completion, ..ColumnNames::default() }, reasons);
            }
            let columns = ColumnNames {
                prompt_template: Some(prompt_template(prompt, context, completion)),
                completion_template: Some(format!(" {{{{ {} }}}}", variable(&completion.name))),
                ..ColumnNames::default()
            };
            (columns, reasons)
        }
    }
}

/// Each column on a line, and then the name of what is wanted: a prompt must show where it ends. The space in front of an
/// answer is the completion's, since that is how most vocabularies cut words.
fn prompt_template(prompt: &Column, context: Option<&Column>, completion: &Column) -> String {
    // Rows that need none may lack it.
    let context = context.map(|context| format!("row[{}]", serde_json::Value::from(&*context.name)));
    let context =
        context.map_or_else(String::new, |it| format!("{{% if {it} | default(\"\") %}}{{{{ {it} }}}}\n{{% endif %}}"));
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
        && !KEYWORDS.contains(&column.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use data::{Profile, Record};
    use serde_json::{Value, json};

    use super::*;

    fn record(row: Value) -> Record {
        let Value::Object(fields) = row else { panic!("a row is an object") };
        Record { line: 1, fields: fields.into_iter().collect() }
    }

    #[test]
    fn templates_name_any_column_and_end_in_what_is_wanted() {
        let full = || record(json!({"the question": "why \"so\"?", "input": "in short", "in": "because"}));
        let profile = Profile::of([Ok(full())].into_iter()).unwrap();
        let column = |name: &str| profile.column(name).unwrap();
        let dialogue = Dialogue::Answer {
            prompt: column("the question"),
            context: Some(column("input")),
            completion: column("in"),
        };
        let (columns, _) = columns(dialogue, true);
        let render = |template: &Option<String>, record: &Record| {
            let template = data::Template::new("data.prompt_template", template.as_deref().unwrap()).unwrap();
            template.check(Path::new("a.jsonl"), record).unwrap();
            template.render(Path::new("a.jsonl"), record).unwrap()
        };
        assert_eq!(render(&columns.prompt_template, &full()), "why \"so\"?\nin short\nAnswer:");
        assert_eq!(render(&columns.completion_template, &full()), " because");
        for without in [json!({"the question": "why?"}), json!({"the question": "why?", "input": ""})] {
            assert_eq!(render(&columns.prompt_template, &record(without)), "why?\nAnswer:");
        }
    }

    #[test]
    fn a_completion_gets_a_space_where_its_words_would_run_into_those_of_the_prompt() {
        let written = |prompt: &str, completion: &str| {
            let row = record(json!({"prompt": prompt, "completion": completion}));
            let profile = Profile::of([Ok(row)].into_iter()).unwrap();
            let (prompt, completion) = (profile.column("prompt").unwrap(), profile.column("completion").unwrap());
            let (columns, _) = columns(Dialogue::Answer { prompt, context: None, completion }, false);
            columns.completion_template
        };
        assert_eq!(written("near: The Portland Arms", "Cotto is a pub."), Some(" {{ completion }}".to_owned()));
        assert_eq!(written("What is that?", "A pub."), Some(" {{ completion }}".to_owned()));
        for (prompt, completion) in
            [("say it:", " pub"), ("say it:\n", "pub"), ("def f(", "x):"), ("那是什么？", "酒馆")]
        {
            assert_eq!(written(prompt, completion), None, "{prompt}{completion}");
        }
    }
}
