//! Fields of messages that nobody reads: neither kindling nor the chat template. They may be of no account, as an id is, or
//! hold what the model was to see.

use std::path::Path;

use super::chat_template::ChatTemplate;
use super::columns::{Content, Row};
use super::conversation::{Conversation, Message};
use crate::Place;

/// What every message has, and kindling reads.
const READ: [&str; 2] = ["role", "content"];

/// A field without effect, and the rows that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    pub field: String,
    pub rows: usize,
    /// The first of them.
    pub places: Vec<Place>,
}

/// Places that are kept of a field.
const SHOWN: usize = 5;

/// The fields of rows' messages, and their tools, that a chat template does not write, gathered row by row.
///
/// A template may read a field by its name or go through all that there are. So one whose name it does not hold is left
/// out of the first conversation that has it, and counts as read where the text is another one then.
pub struct UnreadFields<'a> {
    template: &'a ChatTemplate,
    /// By name, with `None` for those that are read.
    known: Vec<(String, Option<Unread>)>,
}

impl<'a> UnreadFields<'a> {
    pub fn new(template: &'a ChatTemplate) -> Self {
        Self { template, known: Vec::new() }
    }

    /// Looks at further rows of a file.
    pub fn add<'r>(&mut self, file: &Path, rows: impl IntoIterator<Item = &'r Row>) {
        for row in rows {
            let Content::Conversation(conversation) = &row.content else { continue };
            for field in fields(conversation) {
                let index = self.known.iter().position(|(name, _)| *name == field).unwrap_or_else(|| {
                    let is_read = self.template.names(&field) || changes(self.template, conversation, &field);
                    let unread = Unread { field: field.clone(), rows: 0, places: Vec::new() };
                    self.known.push((field, (!is_read).then_some(unread)));
                    self.known.len() - 1
                });
                if let Some(unread) = &mut self.known[index].1 {
                    unread.rows += 1;
                    if unread.places.len() < SHOWN {
                        unread.places.push(Place::new(file, row.line));
                    }
                }
            }
        }
    }

    /// Those without effect, in the order in which the rows show them.
    pub fn finish(self) -> Vec<Unread> {
        self.known.into_iter().filter_map(|(_, unread)| unread).collect()
    }
}

/// Each once.
fn fields(conversation: &Conversation) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    let keys = conversation.messages.iter().flat_map(Message::keys).filter(|key| !READ.contains(&key.as_str()));
    for key in keys {
        if !fields.contains(key) {
            fields.push(key.clone());
        }
    }
    fields.extend(conversation.tools.is_some().then(|| TOOLS.to_owned()));
    fields
}

/// The column of tools, which templates see beside the messages.
const TOOLS: &str = "tools";

fn changes(template: &ChatTemplate, conversation: &Conversation, field: &str) -> bool {
    let mut without = conversation.clone();
    for message in &mut without.messages {
        message.shift_remove(field);
    }
    if field == TOOLS {
        without.tools = None;
    }
    match (template.render(conversation, false), template.render(&without, false)) {
        (Ok(with), Ok(without)) => with != without,
        // What a template refuses is said elsewhere.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use serde_json::{Value, json};

    use super::*;
    use crate::tokenizer::tests::bytes_dir;

    fn found(source: &str, rows: &[Value]) -> Vec<(String, usize)> {
        let dir = bytes_dir();
        std::fs::write(dir.path().join("chat_template.jinja"), source).unwrap();
        let template = ChatTemplate::from_dir(dir.path(), SystemTime::UNIX_EPOCH).unwrap().unwrap();
        let file = Path::new("a.jsonl");
        let row = |(messages, line): (&Value, usize)| {
            let conversation = Conversation::read(messages, None, "messages", &Place::new(file, line)).unwrap();
            Row { line, content: Content::Conversation(conversation) }
        };
        let rows: Vec<Row> = rows.iter().zip(1..).map(row).collect();
        let mut fields = UnreadFields::new(&template);
        fields.add(file, &rows);
        fields.finish().into_iter().map(|unread| (unread.field, unread.rows)).collect()
    }

    #[test]
    fn what_neither_the_template_nor_kindling_reads_is_named() {
        let rows = [
            json!([{"role": "user", "content": "a", "name": "Ann", "id": 7, "weight": 0}]),
            json!([{"role": "assistant", "content": "a", "id": 8, "weight": 1, "train": true}]),
        ];
        let by_name = "{% for m in messages %}{{ m.name }}: {{ m.content }}{% endfor %}";
        assert_eq!(found(by_name, &rows), [("id".to_owned(), 2)]);
        let whole = "{% for m in messages %}{{ m | tojson }}{% endfor %}";
        assert_eq!(found(whole, &rows), []);
        let without = "{% for m in messages %}{{ m.content }}{% endfor %}";
        assert_eq!(found(without, &rows), [("name".to_owned(), 1), ("id".to_owned(), 2)]);
    }
}
