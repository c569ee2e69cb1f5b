//! One name or expression of the configuration: which modules it means, and whether it found any.

use fancy_regex::{Captures, Regex};

use super::TargetError;
use super::path::ends_in;
use crate::config::Names;

#[derive(Debug)]
pub(crate) struct Entry {
    /// Where it is written: `target_modules`.
    pub(super) key: &'static str,
    pub(super) text: String,
    pub(super) rule: Rule,
    pub(super) found: bool,
    /// For targets: at least one module that it found is adapted.
    pub(super) adapted: bool,
}

#[derive(Debug)]
pub(super) enum Rule {
    /// The whole path or its last segments.
    Name,
    Pattern(Regex),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Match {
    No,
    Suffix,
    Whole,
}

impl Entry {
    pub(crate) fn of(key: &'static str, names: &Names) -> Result<Vec<Self>, TargetError> {
        match names {
            Names::List(list) => Self::list(key, list),
            // Python's `fullmatch`.
            Names::Pattern(pattern) => Ok(vec![Self::pattern(key, pattern, &format!(r"\A(?:{pattern})\z"))?]),
        }
    }

    pub(super) fn list(key: &'static str, names: &[String]) -> Result<Vec<Self>, TargetError> {
        names.iter().map(|name| Self::new(key, name, Rule::Name)).collect()
    }

    /// `expression` is what `text` means under this key.
    pub(super) fn pattern(key: &'static str, text: &str, expression: &str) -> Result<Self, TargetError> {
        let regex = Regex::new(expression).map_err(|error| TargetError::BadPattern {
            key,
            pattern: text.to_owned(),
            reason: reason(error),
        })?;
        Self::new(key, text, Rule::Pattern(regex))
    }

    fn new(key: &'static str, text: &str, rule: Rule) -> Result<Self, TargetError> {
        if text.is_empty() {
            return Err(TargetError::EmptyName { key });
        }
        Ok(Self { key, text: text.to_owned(), rule, found: false, adapted: false })
    }

    /// How it means this module; remembers that it found one.
    pub(super) fn matches(&mut self, path: &str) -> Result<Match, TargetError> {
        let found = self.meaning(path)?;
        self.found |= found != Match::No;
        Ok(found)
    }

    /// How it means this module.
    pub(crate) fn meaning(&self, path: &str) -> Result<Match, TargetError> {
        Ok(match &self.rule {
            Rule::Name if self.text == path => Match::Whole,
            Rule::Name if ends_in(path, &self.text) => Match::Suffix,
            Rule::Name => Match::No,
            Rule::Pattern(regex) => match regex.is_match(path).map_err(|source| self.backtracking(path, source))? {
                true => Match::Whole,
                false => Match::No,
            },
        })
    }

    /// As `matches`, with the groups of the expression; a name has none.
    pub(super) fn captures<'p>(&mut self, path: &'p str) -> Result<Option<Captures<'p, str>>, TargetError> {
        let Rule::Pattern(regex) = &self.rule else { return Ok(None) };
        let captures = regex.captures(path).map_err(|source| self.backtracking(path, source))?;
        self.found |= captures.is_some();
        Ok(captures)
    }

    fn backtracking(&self, path: &str, source: fancy_regex::Error) -> TargetError {
        TargetError::Backtracking {
            key: self.key,
            pattern: self.text.clone(),
            module: path.to_owned(),
            source: Box::new(source),
        }
    }
}

/// Without the position, which is one in the expression that we made of the user's.
fn reason(error: fancy_regex::Error) -> String {
    let text = match error {
        fancy_regex::Error::ParseError(_, problem) => problem.to_string(),
        other => other.to_string(),
    };
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use crate::LoraConfig;
    use crate::targets::Kind;
    use crate::targets::fixtures::*;

    #[test]
    fn a_name_is_the_whole_path_or_its_last_segments() {
        let modules = few(&[
            ("encoder.0.query", Kind::Linear),
            ("encoder.0.subquery", Kind::Linear),
            ("query", Kind::Linear),
            ("query.dense", Kind::Linear),
            ("mlp.c_proj", Kind::Linear),
            ("attn.c_proj", Kind::Linear),
        ]);
        assert_eq!(adapted(&list(&["query", "mlp.c_proj"]), &modules), ["encoder.0.query", "query", "mlp.c_proj"]);
    }

    #[test]
    fn a_pattern_is_for_the_whole_path() {
        // parity/cases/bert-rslora-pattern
        let config = pattern(r".*\.(query|value|intermediate\.dense)");
        assert_eq!(
            adapted(&config, &bert()[..8]),
            [
                "bert.encoder.layer.0.attention.self.query",
                "bert.encoder.layer.0.attention.self.value",
                "bert.encoder.layer.0.intermediate.dense"
            ]
        );
        // Look-around is Python's `re`, and not Rust's `regex`.
        assert_eq!(adapted(&pattern(r"(?!.*key).*self\.\w+"), &bert()[..8]).len(), 2);
    }

    #[test]
    fn names_and_patterns_that_cannot_be_meant_are_refused() {
        assert_eq!(impossible(&list(&[])).0, "`target_modules`: it names no module");
        assert_eq!(impossible(&list(&["query", ""])).0, "`target_modules`: a name is empty");
        let (message, help) = impossible(&pattern("(query"));
        assert_eq!(
            message,
            "`target_modules`: `(query` is not a regular expression: opening parenthesis without closing parenthesis"
        );
        assert_eq!(help, "the dialect is that of Python's `re`");
        let rank_pattern = IndexMap::from([("*".to_owned(), 1)]);
        let config = LoraConfig { targets: list(&["query"]), rank_pattern, ..LoraConfig::default() };
        assert_eq!(
            impossible(&config).0,
            "`rank_pattern`: `*` is not a regular expression: target of repeat operator is invalid"
        );
    }

    #[test]
    fn a_pattern_that_never_ends_is_refused() {
        // The look-behind keeps it out of the hands of the engine that does not backtrack.
        let (message, _) = refusal(&pattern(r"(?:(?:\w|\w)+)+(?<=x)!"), &few(&[(&"a".repeat(60), Kind::Linear)]));
        assert!(message.contains("could not be matched against `aaaa"), "{message}");
    }
}
