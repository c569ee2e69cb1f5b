//! A conversation as text, cut where the assistant speaks.
//!
//! What the model reads when it answers is the messages before the turn with the generation prompt, as
//! `apply_chat_template(messages[:n], add_generation_prompt=True)` writes them; what it is to say is what the template
//! writes for the turn behind that. Templates need not write the beginning of a conversation always the same: some put the
//! system prompt or the tools into the last message, some leave out the reasoning of earlier turns. Nothing that the model
//! would not read is therefore taken from the text of the whole conversation.

mod continuation;

use std::ops::Range;

use super::chat_template::ChatTemplate;
use super::conversation::Conversation;
use crate::{Advice, Error};

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
    /// Whether it is to be learned: a message may say that it is not.
    pub(super) is_learned: bool,
}

/// One text for the whole conversation where what the model reads before each turn, and the turn, are a beginning of it.
/// Otherwise each turn of the assistant has a text of its own, up to its end.
pub(super) fn scripts(
    template: &ChatTemplate,
    conversation: &Conversation,
    subject: &str,
) -> Result<Vec<Script>, Error> {
    let whole = template.write(&conversation.messages, conversation, false, subject)?;
    let beginnings = conversation.assistant_turns().into_iter().map(|index| {
        let Answer { mut text, said } = answer(template, conversation, index, subject)?;
        let bytes = text.len()..text.len() + said.len();
        text += &said;
        let is_learned = conversation.is_learned(index);
        Ok(Script { turns: vec![Turn { number: index + 1, bytes, is_learned }], text })
    });
    let beginnings: Vec<Script> = beginnings.collect::<Result<_, Error>>()?;
    if !beginnings.iter().all(|beginning| whole.starts_with(&beginning.text)) {
        return Ok(beginnings);
    }
    let turns = beginnings.into_iter().flat_map(|beginning| beginning.turns).collect();
    Ok(vec![Script { text: whole, turns }])
}

/// Of the scripts of a conversation the one text in which every token counts once: what the model reads and says at the
/// last turn, with the messages behind it where the template writes it no differently before them.
pub(super) fn last(
    mut scripts: Vec<Script>,
    template: &ChatTemplate,
    conversation: &Conversation,
    subject: &str,
) -> Result<Script, Error> {
    let mut last = scripts.pop().expect("a conversation with a turn of the assistant has a script");
    // Where the earlier turns lie in the text of the last one, nothing says.
    if let Some(turn) = scripts.iter().flat_map(|script| &script.turns).find(|turn| !turn.is_learned) {
        let advice = Advice::value("loss_on", "completion")
            .and_text(" takes each turn by itself; or remove the message's weight");
        return Err(Error::RewrittenTurn { subject: subject.to_owned(), number: turn.number, advice });
    }
    let whole = template.write(&conversation.messages, conversation, false, subject)?;
    if whole.starts_with(&last.text) {
        last.text = whole;
    }
    Ok(last)
}

/// What the model reads before a turn, and what it is to say.
struct Answer {
    text: String,
    said: String,
}

fn answer(template: &ChatTemplate, conversation: &Conversation, index: usize, subject: &str) -> Result<Answer, Error> {
    let (before, with_turn) = (&conversation.messages[..index], &conversation.messages[..=index]);
    let prompt = template.write(before, conversation, true, subject)?;
    let written = template.write(with_turn, conversation, false, subject)?;
    if let Some(said) = written.strip_prefix(&prompt) {
        return Ok(Answer { said: said.to_owned(), text: prompt });
    }
    // The turn's own words begin where another turn in its place would be written otherwise.
    let other = conversation.with_other_turn(index);
    let header = match template.write(&other, conversation, false, subject) {
        Ok(other) => common_start(&other, &written),
        Err(_) => written.len(),
    };
    let unprompted = template.write(before, conversation, false, subject)?;
    let prompt_from = if prompt.starts_with(&unprompted) { unprompted.len() } else { prompt.len() };
    let start = continuation::start(&prompt, prompt_from, &written, header);
    match start {
        Some(start) => Ok(Answer { said: written[start..].to_owned(), text: prompt }),
        None => Err(Error::InconsistentTemplate { subject: subject.to_owned(), number: index + 1 }),
    }
}

/// The number of bytes that both begin with, in whole characters.
fn common_start(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(it, _)| it.len_utf8()).sum()
}

#[cfg(test)]
mod tests;
