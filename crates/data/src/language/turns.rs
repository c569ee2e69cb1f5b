//! A conversation as text, cut where the assistant speaks.
//!
//! Nothing is searched for in the text. The template is asked again for the messages up to each turn of the assistant:
//! with the generation prompt that gives where the turn begins, together with the turn itself where it ends.

use std::ops::Range;

use super::chat_template::ChatTemplate;
use super::conversation::Conversation;
use crate::Error;

/// A text with the bytes that the assistant says, turn by turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) text: String,
    pub(super) turns: Vec<Turn>,
}

/// From behind the generation prompt to where the next turn begins, with all that the template writes in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    /// The message, counted from 1.
    pub(super) number: usize,
    pub(super) bytes: Range<usize>,
}

/// One text for the whole conversation where all its beginnings are beginnings of that text. Otherwise, as with a template
/// that leaves out the reasoning of earlier turns, each turn of the assistant has a text of its own, up to its end: what
/// the model reads when it answers there.
pub(super) fn scripts(
    template: &ChatTemplate,
    conversation: &Conversation,
    subject: &str,
) -> Result<Vec<Script>, Error> {
    let whole = whole(template, conversation, subject)?;
    let beginnings = conversation.assistant_turns().into_iter().map(|index| {
        let text = template.write(&conversation.messages[..=index], conversation, false, subject)?;
        let start = start(template, conversation, index, &text, subject)?;
        Ok(Script { turns: vec![Turn { number: index + 1, bytes: start..text.len() }], text })
    });
    let beginnings: Vec<Script> = beginnings.collect::<Result<_, Error>>()?;
    if !beginnings.iter().all(|beginning| whole.starts_with(&beginning.text)) {
        return Ok(beginnings);
    }
    let turns = beginnings.into_iter().flat_map(|beginning| beginning.turns).collect();
    Ok(vec![Script { text: whole, turns }])
}

/// The text of the whole conversation.
pub(super) fn whole(template: &ChatTemplate, conversation: &Conversation, subject: &str) -> Result<String, Error> {
    template.write(&conversation.messages, conversation, false, subject)
}

/// Where the assistant's message `index` begins in `text`, which ends with it: behind the generation prompt.
///
/// A generation prompt may begin what the written turn leaves out, as `<think>` where only the answer is kept. The turn
/// then begins where the two part, as long as that is behind the messages before it.
fn start(
    template: &ChatTemplate,
    conversation: &Conversation,
    index: usize,
    text: &str,
    subject: &str,
) -> Result<usize, Error> {
    let before = &conversation.messages[..index];
    let prompt = template.write(before, conversation, true, subject)?;
    let common = common_start(&prompt, text);
    if common < prompt.len() && common < template.write(before, conversation, false, subject)?.len() {
        return Err(Error::InconsistentTemplate { subject: subject.to_owned(), number: index + 1 });
    }
    Ok(common)
}

/// The number of bytes that both begin with, in whole characters.
fn common_start(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(it, _)| it.len_utf8()).sum()
}

#[cfg(test)]
mod tests;
