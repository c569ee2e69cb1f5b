//! What the values of a column have in common: the type that it has in a table.

use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nulls alone.
    Nothing,
    Bool,
    Integer,
    Float,
    Text,
    /// Lists and objects, which a table holds as JSON.
    Json,
}

impl Kind {
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Nothing,
            Value::Bool(_) => Self::Bool,
            Value::Number(number) if number.is_i64() => Self::Integer,
            // An integer above those of 64 bits with a sign loses digits as a fraction, and none as a text.
            Value::Number(number) if number.is_u64() => Self::Text,
            Value::Number(_) => Self::Float,
            Value::String(_) => Self::Text,
            Value::Array(_) | Value::Object(_) => Self::Json,
        }
    }

    /// The kind of a column that holds both.
    pub(super) fn with(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Nothing, kind) | (kind, Self::Nothing) => kind,
            (Self::Integer, Self::Float) | (Self::Float, Self::Integer) => Self::Float,
            _ => Self::Text,
        }
    }
}

/// A value as the text of a cell; nothing for null.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_column_has_the_type_that_holds_all_of_its_values() {
        let of = |values: &[Value]| values.iter().map(Kind::of).fold(Kind::Nothing, Kind::with);
        assert_eq!(of(&[json!(null), json!(1), json!(-2)]), Kind::Integer);
        assert_eq!(of(&[json!(1), json!(0.5)]), Kind::Float);
        assert_eq!(of(&[json!(1), json!("a")]), Kind::Text);
        assert_eq!(of(&[json!(true), json!(1)]), Kind::Text);
        assert_eq!(of(&[json!([1]), json!({"a": 1}), json!(null)]), Kind::Json);
        assert_eq!(of(&[json!(u64::MAX)]), Kind::Text);
        assert_eq!(of(&[json!(null)]), Kind::Nothing);
    }
}
