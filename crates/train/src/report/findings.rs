//! What the data lint found, as the page says it.

use serde::Serialize;

use super::record::{Finding, Severity};

#[derive(Serialize)]
pub(super) struct Said<'a> {
    severity: Severity,
    message: Vec<Part<'a>>,
    advice: Option<Vec<Part<'a>>>,
}

/// A piece of a message, and whether it stood in backticks: a name, a value, a key.
type Part<'a> = (&'a str, bool);

impl<'a> Said<'a> {
    pub(super) fn new(finding: &'a Finding) -> Self {
        let advice = finding.advice.as_deref().map(parts);
        Self { severity: finding.severity, message: parts(&finding.message), advice }
    }
}

fn parts(message: &str) -> Vec<Part<'_>> {
    // A backtick without its partner is a character like others.
    match message.matches('`').count().is_multiple_of(2) {
        true => message.split('`').enumerate().map(|(n, part)| (part, n % 2 == 1)).collect(),
        false => vec![(message, false)],
    }
}
