//! Words with tags and texts with entities, as a configuration names them.

use data::{Column, ColumnNames, Guess, Profile, Target};
use tasks::TaskName;

use super::named::Named;

/// What a tagger learns from.
#[derive(Clone, Copy)]
pub(super) enum Tagged<'a> {
    Words { tokens: &'a Column, tags: &'a Column },
    Text { text: &'a Column, entities: &'a Column },
}

/// The task that reads such columns.
pub(super) fn task() -> TaskName {
    TaskName::all().find(|task| task.has("data.tags")).unwrap_or_default()
}

impl<'a> Tagged<'a> {
    /// `None` where the data has none, or where columns are named for something else.
    pub(super) fn of(profile: &'a Profile, guess: &Guess<'a>, named: &Named<'a>) -> Option<Self> {
        let given = named.given;
        if given.label.or(given.text_pair).is_some() || named.dialogue.is_some() {
            return None;
        }
        match Target::of(profile, guess)? {
            Target::Tags { tokens, tags } if given.text.is_none() => Some(Self::Words { tokens, tags }),
            Target::Entities { text, entities } => Some(Self::Text { text, entities }),
            Target::Tags { .. } | Target::Labels { .. } | Target::Number { .. } => None,
        }
    }

    /// What the model reads.
    pub(super) fn content(&self) -> &'a Column {
        match self {
            Self::Words { tokens: content, .. } | Self::Text { text: content, .. } => content,
        }
    }

    /// The keys of the configuration, and a line on each.
    pub(super) fn columns(&self) -> (ColumnNames, Vec<String>) {
        let name = |column: &Column| Some(column.name.clone());
        match self {
            Self::Words { tokens, tags } => (
                ColumnNames { tokens: name(tokens), tags: name(tags), ..ColumnNames::default() },
                vec![
                    format!("tokens       {}: lists of words", tokens.name),
                    format!("tags         {}: as many in a row as words", tags.name),
                ],
            ),
            Self::Text { text, entities } => (
                ColumnNames { text: name(text), entities: name(entities), ..ColumnNames::default() },
                vec![
                    format!("text         {}: strings", text.name),
                    format!("entities     {}: lists with `start`, `end` and `label`", entities.name),
                ],
            ),
        }
    }
}
