//! What a chat template reads of tools. What it does not read, it would leave out without a word.

use super::{ChatTemplate, Conversation, DEFAULT};

/// What a conversation says of tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfTools {
    /// What may be called: `tools`.
    Descriptions,
    /// `tool_calls` of the message with this index.
    Calls(usize),
    /// The message with this index, of the role `tool`: what came back.
    Result(usize),
}

impl ChatTemplate {
    /// The first of what the conversation says of tools that the template does not read.
    pub fn unread_of_tools(&self, conversation: &Conversation) -> Option<OfTools> {
        let source = self.source(conversation.tools.is_some());
        if conversation.tools.is_some() && !source.names("tools") {
            return Some(OfTools::Descriptions);
        }
        let mut messages = conversation.messages.iter().enumerate();
        messages.find_map(|(index, message)| {
            let calls = message.contains_key("tool_calls") && !source.names("tool_calls");
            let results = message.get("role").is_some_and(|role| role == "tool");
            match calls {
                true => Some(OfTools::Calls(index)),
                false => (results && !self.writes_results(&source.name)).then_some(OfTools::Result(index)),
            }
        })
    }

    /// Whether messages of the role `tool` are written: the template names it, or writes all roles alike.
    fn writes_results(&self, source: &str) -> bool {
        const RESULT: &str = "kindling";
        let mut conversation = Conversation::default();
        conversation.push("user", "?");
        conversation.push("tool", RESULT);
        if source != DEFAULT {
            conversation.set_tools(Vec::new());
        }
        self.names_role("tool") || self.render(&conversation, true).is_ok_and(|text| text.contains(RESULT))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::language::chat_template::tests::{dir, read_from};

    fn unread(source: &str, messages: Value, tools: Option<Value>) -> Option<OfTools> {
        let mut conversation = Conversation::default();
        let Value::Array(messages) = messages else { panic!("messages are a list") };
        for message in messages {
            let Value::Object(message) = message else { panic!("a message is an object") };
            conversation.push_message(message);
        }
        if let Some(Value::Array(tools)) = tools {
            conversation.set_tools(tools);
        }
        read_from(&dir(source)).unwrap().unwrap().unread_of_tools(&conversation)
    }

    #[test]
    fn what_a_template_does_not_read_of_tools_is_told() {
        let history = json!([
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
            {"role": "tool", "content": "b"},
        ]);
        let tools = || Some(json!([{"type": "function", "function": {"name": "f"}}]));
        let alike = "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}";
        let results = json!([{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]);
        assert_eq!(unread(alike, results.clone(), tools()), Some(OfTools::Descriptions));
        assert_eq!(unread(alike, history.clone(), None), Some(OfTools::Calls(1)));
        assert_eq!(unread(alike, results.clone(), None), None, "it writes any role");
        let users = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}";
        assert_eq!(unread(users, results, None), Some(OfTools::Result(1)));
        let all = "{{ tools }}{% for m in messages %}{{ m.tool_calls }}{% if m.role == \"tool\" %}{{ m.content }}{% endif %}{% endfor %}";
        assert_eq!(unread(all, history, tools()), None);
    }
}
