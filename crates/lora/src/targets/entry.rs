//! One name or expression of the configuration: which modules it means, and whether it found any.

use fancy_regex::{Captures, Regex};

use super::TargetError;
use super::path::ends_in;
use crate::config::Names;

/// Expressions under a key, each of which takes some ten kilobytes.
const MOST_EXPRESSIONS: usize = 1000;
/// Bytes of one, each of which may take some hundred.
const LONGEST_EXPRESSION: usize = 100_000;

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
    /// An expression of a path alone.
    Path(PathPattern),
}

/// An expression that is a path: words and dots, perhaps with `^` before it. Keys of `rank_pattern` are mostly such, and there may be
/// one for each of thousands of modules, which is more than an engine for each has memory for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PathPattern {
    is_anchored: bool,
    /// `None` stands for any character: a dot that is not escaped.
    bytes: Vec<Option<u8>>,
}

impl PathPattern {
    fn of(expression: &str) -> Option<Self> {
        let (is_anchored, rest) =
            expression.strip_prefix('^').map_or((false, expression), |expression| (true, expression));
        let mut bytes = Vec::new();
        let mut characters = rest.bytes();
        while let Some(byte) = characters.next() {
            bytes.push(match byte {
                b'.' => None,
                b'\\' => Some(characters.next().filter(|byte| *byte == b'.')?),
                byte if byte.is_ascii_alphanumeric() || byte == b'_' => Some(byte),
                _ => return None,
            });
        }
        (!bytes.is_empty()).then_some(Self { is_anchored, bytes })
    }

    /// As Python's `(.*\.)?(EXPRESSION)$`, from the start.
    fn matches(&self, path: &str) -> bool {
        let path = path.as_bytes();
        let Some(start) = path.len().checked_sub(self.bytes.len()) else { return false };
        let begins_segment = start == 0 || !self.is_anchored && path[start - 1] == b'.';
        begins_segment
            && self.bytes.iter().zip(&path[start..]).all(|(expected, byte)| expected.is_none_or(|it| it == *byte))
    }
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

    /// The keys of `rank_pattern` and `alpha_pattern`: Python's `match`, from the start, and the group in front lets any leading
    /// segments pass.
    pub(super) fn of_patterns<'t>(
        key: &'static str,
        texts: impl ExactSizeIterator<Item = &'t str>,
    ) -> Result<Vec<Self>, TargetError> {
        let mut expressions = 0;
        let entries = texts.map(|text| {
            if let Some(path) = PathPattern::of(text) {
                return Self::new(key, text, Rule::Path(path));
            }
            expressions += 1;
            if expressions > MOST_EXPRESSIONS {
                return Err(TargetError::TooManyPatterns { key, most: MOST_EXPRESSIONS });
            }
            Self::pattern(key, text, &format!(r"\A(?:(.*\.)?({text})$)"))
        });
        entries.collect()
    }

    /// `expression` is what `text` means under this key.
    pub(super) fn pattern(key: &'static str, text: &str, expression: &str) -> Result<Self, TargetError> {
        if text.len() > LONGEST_EXPRESSION {
            return Err(TargetError::LongPattern { key, bytes: text.len(), most: LONGEST_EXPRESSION });
        }
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
            Rule::Path(path_pattern) if path_pattern.matches(path) => Match::Whole,
            Rule::Path(_) => Match::No,
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

    use super::*;
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
    fn a_path_matches_as_the_expression_does() {
        let paths = ["a.b.query", "query", "a.bxquery", "aquery", "b.query", "a.b.queryx", "bcquery", "é.query"];
        for text in ["query", "b.query", r"b\.query", "^query", "^a.b.query", r"^a\.b\.query", "^b.query"] {
            let quick = PathPattern::of(text).unwrap();
            let regex = Regex::new(&format!(r"\A(?:(.*\.)?({text})$)")).unwrap();
            for path in paths {
                assert_eq!(quick.matches(path), regex.is_match(path).unwrap(), "{text} {path}");
            }
        }
        for text in ["a|b", "a*", "", "^", r"\d", "(a)", "a$", "é"] {
            assert_eq!(PathPattern::of(text), None, "{text}");
        }
    }

    #[test]
    fn keys_that_are_paths_may_be_thousands_and_expressions_not() {
        let paths: Vec<String> = (0..50_000).map(|number| format!("layers.{number}.query")).collect();
        assert_eq!(Entry::of_patterns("rank_pattern", paths.iter().map(String::as_str)).unwrap().len(), 50_000);
        let expressions: Vec<String> = (0..=MOST_EXPRESSIONS).map(|number| format!("(a{number})")).collect();
        let error = Entry::of_patterns("rank_pattern", expressions.iter().map(String::as_str)).unwrap_err();
        assert_eq!(error.to_string(), "more than 1000 regular expressions");
    }

    #[test]
    fn an_expression_is_only_so_long() {
        let named = |bytes: usize| format!("({})", "query|".repeat(bytes / 6));
        assert!(Entry::pattern("target_modules", &named(90_000), &named(90_000)).is_ok());
        assert_eq!(
            impossible(&pattern(&named(600_000))),
            (
                "`target_modules`: a regular expression of 600002 bytes, where 100000 are the most".to_owned(),
                "write a list of names".to_owned()
            )
        );
    }

    #[test]
    fn a_pattern_that_never_ends_is_refused() {
        // The look-behind keeps it out of the hands of the engine that does not backtrack.
        let (message, _) = refusal(&pattern(r"(?:(?:\w|\w)+)+(?<=x)!"), &few(&[(&"a".repeat(60), Kind::Linear)]));
        assert!(message.contains("could not be matched against `aaaa"), "{message}");
    }
}
