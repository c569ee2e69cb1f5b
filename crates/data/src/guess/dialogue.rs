//! What is asked and what is answered, known by the names of columns: what stands in them looks like any other text.

use super::{Column, ColumnKind, Profile};

/// Columns of whole conversations.
const MESSAGES: [&str; 3] = ["messages", "conversation", "conversations"];

/// A prompt and its completion, the likeliest first.
const ANSWERS: [(&str, &str); 14] = [
    ("prompt", "completion"),
    ("prompt", "response"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("query", "response"),
    ("question", "answer"),
    ("problem", "solution"),
    ("input", "output"),
    ("source", "target"),
    ("article", "highlights"),
    ("article", "summary"),
    ("document", "summary"),
    ("dialogue", "summary"),
    ("text", "summary"),
];

/// Beside a prompt, in the rows that need it: what it is about.
const CONTEXTS: [&str; 2] = ["input", "context"];

/// The columns that a model learns to answer from.
#[derive(Debug, Clone, Copy)]
pub enum Dialogue<'a> {
    Messages(&'a Column),
    /// Lists of messages: what the model reads, and what it says.
    Turns {
        prompt: &'a Column,
        completion: &'a Column,
    },
    Answer {
        prompt: &'a Column,
        context: Option<&'a Column>,
        completion: &'a Column,
    },
}

impl<'a> Dialogue<'a> {
    /// `None`: no names say it.
    pub fn of(profile: &'a Profile) -> Option<Self> {
        let named = |name: &str| profile.columns.iter().find(|column| column.name.to_lowercase() == name);
        let text = |name: &str| named(name).filter(|column| column.kind == ColumnKind::Strings);
        let is_answer = |column: &&Column| {
            matches!(column.kind, ColumnKind::Strings | ColumnKind::Integers | ColumnKind::Fractions)
        };
        let list = |name: &str| named(name).filter(|column| column.is_of_lists());
        let turns = || {
            let found = ANSWERS.iter().find_map(|(prompt, completion)| Some((list(prompt)?, list(completion)?)));
            found.map(|(prompt, completion)| Self::Turns { prompt, completion })
        };
        let messages = MESSAGES.iter().find_map(|name| named(name).filter(|column| column.is_of_lists()));
        messages.map(Self::Messages).or_else(turns).or_else(|| {
            ANSWERS.iter().find_map(|(prompt, completion)| {
                let (prompt, completion) = (text(prompt)?, named(completion).filter(is_answer)?);
                let mut contexts = CONTEXTS.iter().filter_map(|name| text(name));
                let context = contexts.find(|column| column.name != prompt.name);
                Some(Self::Answer { prompt, context, completion })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::profile;
    use super::*;

    fn dialogue(row: Value) -> Option<Vec<String>> {
        let profile = profile(json!([row]));
        let name = |column: &Column| column.name.clone();
        Dialogue::of(&profile).map(|dialogue| match dialogue {
            Dialogue::Messages(column) => vec![name(column)],
            Dialogue::Turns { prompt, completion } => vec![name(prompt), "to".to_owned(), name(completion)],
            Dialogue::Answer { prompt, context, completion } => {
                [Some(prompt), context, Some(completion)].into_iter().flatten().map(name).collect()
            }
        })
    }

    #[test]
    fn names_say_what_is_asked_and_what_is_answered() {
        let found = |row: Value, expected: &[&str]| {
            assert_eq!(dialogue(row), Some(expected.iter().map(|name| (*name).to_owned()).collect()));
        };
        found(json!({"id": 1, "messages": [{"role": "user"}]}), &["messages"]);
        found(json!({"messages": " [{}]", "prompt": "a", "completion": "b"}), &["messages"]);
        found(json!({"prompt": [{}], "completion": [{}], "tools": [{}]}), &["prompt", "to", "completion"]);
        found(json!({"prompt": "[{}]", "completion": "[{}]"}), &["prompt", "to", "completion"]);
        found(json!({"instruction": "a", "input": "b", "output": "c"}), &["instruction", "input", "output"]);
        found(json!({"Instruction": "a", "context": "b", "Response": "c"}), &["Instruction", "context", "Response"]);
        found(json!({"input": "a", "output": "b"}), &["input", "output"]);
        found(json!({"question": "a", "answer": "b"}), &["question", "answer"]);
        found(json!({"question": "a", "answer": 7}), &["question", "answer"]);
    }

    #[test]
    fn other_names_and_other_values_say_nothing() {
        assert_eq!(dialogue(json!({"text": "a", "label": "b"})), None);
        assert_eq!(dialogue(json!({"question": "a", "answer": true})), None);
        assert_eq!(dialogue(json!({"messages": 3})), None);
        assert_eq!(dialogue(json!({"messages": "see you at nine", "label": "no spam"})), None);
    }
}
