//! Rows for language models become token ids and the positions that a model is to predict.
//!
//! In the order of a run: [`Columns`] finds out what kind of rows a file has and reads each to a [`Row`], a text, a
//! prompt with its completion or a [`Conversation`]; [`ChatTemplate`] writes conversations as the checkpoint wants them;
//! [`Encoder`] makes the ids and says which of them are targets, or makes the prompt alone, for generation.
//! [`TextStream`] and [`StopStrings`] go the other way, from ids to the text that may be shown.

mod bounds;
mod chat_template;
mod columns;
mod conversation;
mod encoder;
mod fit;
mod stop_strings;
mod text_stream;
mod turns;
mod unread;

pub use bounds::Bounds;
pub use chat_template::{ChatTemplate, OfTools};
pub use columns::{Columns, Content, Purpose, Row};
pub use conversation::Conversation;
pub use encoder::{Encoder, LossOn};
pub use stop_strings::{Shown, StopStrings};
pub use text_stream::TextStream;
pub use unread::{Unread, UnreadFields};
