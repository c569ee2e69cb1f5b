//! Why a column cannot be a label.

use super::profile::{Column, ColumnKind, Profile};
use super::{can_be_label, repeats};

/// A column that is called a label, and what speaks against it.
#[derive(Debug, Clone, Copy)]
pub struct Unfit<'a> {
    pub column: &'a Column,
    pub reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Neither names nor whole numbers.
    Kind(ColumnKind),
    /// Nearly every row has a value of its own.
    Different,
    /// Most rows have none.
    Sparse { rows: usize },
}

impl<'a> Unfit<'a> {
    /// `None`: it can be a label.
    pub(super) fn of(profile: &Profile, column: &'a Column) -> Option<Self> {
        if can_be_label(profile, column, true) {
            return None;
        }
        let reason = match column.kind {
            ColumnKind::Empty => Reason::Sparse { rows: profile.rows },
            ColumnKind::Strings | ColumnKind::Integers if !repeats(column) => Reason::Different,
            ColumnKind::Strings | ColumnKind::Integers | ColumnKind::Booleans => Reason::Sparse { rows: profile.rows },
            kind => Reason::Kind(kind),
        };
        Some(Self { column, reason })
    }
}

impl std::fmt::Display for Unfit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let filled = self.column.filled;
        match (self.reason, &self.column.values) {
            (Reason::Kind(kind), _) => write!(f, "its {filled} values are {}", kind.predicate()),
            (Reason::Different, Some(values)) => write!(f, "its {filled} values are {} different ones", values.len()),
            (Reason::Different, None) => write!(f, "its {filled} values are more than a thousand different ones"),
            (Reason::Sparse { rows }, _) => write!(f, "{filled} of {rows} rows have a value"),
        }
    }
}
