//! What can be done about an error, with the keys of `[data]` in it as data: a configuration and a command line have words
//! of their own for setting them.

use std::fmt;

/// A sentence in parts. Shown, it speaks of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice(Box<[AdvicePart]>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdvicePart {
    Text(String),
    /// To set the key to this value.
    Set {
        key: &'static str,
        value: String,
    },
    /// To set the key to one of these columns.
    SetOneOf {
        key: &'static str,
        columns: String,
    },
    /// A key with its value.
    Value {
        key: &'static str,
        value: String,
    },
    /// The key that a column is named with.
    Column {
        key: &'static str,
    },
}

impl Advice {
    pub fn parts(&self) -> &[AdvicePart] {
        &self.0
    }

    fn of(part: AdvicePart) -> Self {
        Self([part].into())
    }

    pub(crate) fn set(key: &'static str, value: &str) -> Self {
        Self::of(AdvicePart::Set { key, value: value.to_owned() })
    }

    pub(crate) fn set_one_of(key: &'static str, columns: String) -> Self {
        Self::of(AdvicePart::SetOneOf { key, columns })
    }

    pub(crate) fn value(key: &'static str, value: &str) -> Self {
        Self::of(AdvicePart::Value { key, value: value.to_owned() })
    }

    /// A text that ends in the key a column is named with.
    pub(crate) fn column(text: &str, key: &'static str) -> Self {
        Self::from(text).and(AdvicePart::Column { key })
    }

    pub(crate) fn and(self, part: AdvicePart) -> Self {
        Self(self.0.into_iter().chain([part]).collect())
    }

    pub(crate) fn and_text(self, text: &str) -> Self {
        self.and(AdvicePart::Text(text.to_owned()))
    }
}

impl From<String> for Advice {
    fn from(text: String) -> Self {
        Self::of(AdvicePart::Text(text))
    }
}

impl From<&str> for Advice {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            AdvicePart::Text(text) => f.write_str(text),
            AdvicePart::Set { key, value } => write!(f, "set `data.{key} = {value:?}`"),
            AdvicePart::SetOneOf { key, columns } => write!(f, "set `data.{key}` to one of these columns: {columns}"),
            AdvicePart::Value { key, value } => write!(f, "`data.{key} = {value:?}`"),
            AdvicePart::Column { key } => write!(f, "`data.{key}`"),
        })
    }
}
