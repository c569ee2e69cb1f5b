//! Words with tags, and texts with entities: what token classification reads, learns and answers.
//!
//! In the order of a run: [`Columns`] reads rows, [`Tally`] finds the tags and their [`Scheme`], [`TagSet`] knows what
//! spans tags mark, [`Words`] and [`encode`] make examples, [`windows`] divides long texts at prediction, and [`entities`] reads the
//! answers.

mod columns;
mod encode;
mod entities;
mod scheme;
mod tag_set;
mod tally;
mod windows;
mod words;

pub use columns::{Columns, Content, Entity, Row};
pub use encode::{EncodedWords, Numbers, encode};
pub use entities::{Answer, Found, entities};
pub use scheme::{Scheme, SchemeTally};
pub use tag_set::{Span, TagSet};
pub use tally::Tally;
pub use windows::{Window, WordPosition, windows};
pub use words::Words;
