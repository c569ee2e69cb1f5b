//! Templates with their operators `~` and `%` written as filters, since those of the engine write numbers in Rust's form and
//! know no `'%s' % x`. `a ~ b` becomes `(a)|__concatenate(b)`. What is made into a list, kept or compared goes through filters
//! that hold it to its limits.
//!
//! Only what has to change does, and a place in what was made is a place in the template again.

mod expression;
mod tokens;

use std::ops::Range;

use minijinja::Error;

use super::limits;
use expression::Expression;
use tokens::{depth, longest_expression, tokens};

/// The names of the filters.
pub(super) const CONCATENATE: &str = "__concatenate";
pub(super) const MODULO: &str = "__modulo";
/// Of a list, tuple or dict that the template writes.
pub(super) const CONTAINER: &str = "__container";
/// Of what a variable is set to, and an attribute of a namespace.
pub(super) const VARIABLE: &str = "__variable";
pub(super) const ATTRIBUTE: &str = "__attribute";
/// Of what something is compared with.
pub(super) const COMPARED: &str = "__compared";
/// Of what is gone through once more: by a subscript, a filter or a test, as a key, or as what is looked for.
pub(super) const READ: &str = "__read";

/// What a rewritten template is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Of the template.
    Source(Range<usize>),
    Made(&'static str),
}

/// A template as the engine reads it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rewritten {
    text: String,
    /// Where parts of the template begin, here and there, ascending.
    origins: Vec<(usize, usize)>,
}

impl Rewritten {
    /// Errors: a template that is too large for the engine.
    pub(super) fn of(source: &str) -> Result<Self, Error> {
        limits::check_source(source)?;
        let mut parts = Vec::new();
        let mut rest = 0;
        let (blocks, unclosed) = blocks(source);
        let checked = |block: Range<usize>| {
            let tokens = tokens(source, block);
            limits::check_tokens(tokens.len(), longest_expression(source, &tokens), depth(&tokens))?;
            Ok::<_, Error>(tokens)
        };
        for block in blocks {
            parts.push(Part::Source(rest..block.inner.start));
            let tokens = checked(block.inner.clone())?;
            parts.extend(Expression::new(source, &tokens).rewritten(block.is_statement));
            rest = tokens.last().map_or(block.inner.start, |token| token.range.end);
        }
        // The engine reads on, recursively, until it finds that there is no end.
        unclosed.map(checked).transpose()?;
        parts.push(Part::Source(rest..source.len()));
        let mut rewritten = Self { text: String::with_capacity(source.len()), origins: Vec::new() };
        for part in parts {
            match part {
                Part::Source(range) => {
                    rewritten.origins.push((rewritten.text.len(), range.start));
                    rewritten.text.push_str(&source[range]);
                }
                Part::Made(text) => rewritten.text.push_str(text),
            }
        }
        Ok(rewritten)
    }

    /// The template as it stands.
    pub(super) fn unchanged(source: &str) -> Self {
        Self { text: source.to_owned(), origins: vec![(0, 0)] }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of an error in the template, both from 1.
    pub(crate) fn position(&self, source: &str, error: &Error) -> (usize, usize) {
        let start = error.range().map(|range| self.origin(range.start));
        let Some(before) = start.and_then(|start| source.get(..start)) else {
            return (error.line().unwrap_or(1), 1);
        };
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// Where in the template a byte of the text is from; of what was made the place that follows.
    fn origin(&self, at: usize) -> usize {
        let next = self.origins.partition_point(|(here, _)| *here <= at);
        let Some((here, there)) = next.checked_sub(1).map(|index| self.origins[index]) else { return 0 };
        match self.origins.get(next) {
            Some((_, following)) => (there + (at - here)).min(*following),
            None => there + (at - here),
        }
    }
}

/// What stands between `{{` and `}}`, or `{%` and `%}`.
struct Block {
    inner: Range<usize>,
    is_statement: bool,
}

/// All blocks, and what stands after the beginning of one without an end.
fn blocks(source: &str) -> (Vec<Block>, Option<Range<usize>>) {
    let mut blocks = Vec::new();
    let mut at = 0;
    while let Some(found) = source[at..].find('{') {
        let begin = at + found;
        let inner = begin + 2;
        let end = match source.as_bytes().get(begin + 1) {
            Some(b'#') => source[inner..].find("#}").map(|end| inner + end + 2),
            Some(sign @ (b'{' | b'%')) => {
                let is_statement = *sign == b'%';
                let end = block_end(source, inner, if is_statement { "%}" } else { "}}" });
                if let Some(end) = end {
                    if is_statement && is_raw(&source[inner..end]) {
                        at = raw_end(source, end);
                        continue;
                    }
                    // The signs that eat white space are no operators.
                    let start = inner + usize::from(source[inner..end].starts_with(['-', '+']));
                    blocks.push(Block { inner: start..end, is_statement });
                }
                end.map(|end| end + 2)
            }
            _ => Some(begin + 1),
        };
        match end {
            Some(end) => at = end,
            // The engine says what is wrong with it.
            None => {
                let is_comment = source[begin..].starts_with("{#");
                return (blocks, (!is_comment).then_some(inner..source.len()));
            }
        }
    }
    (blocks, None)
}

/// Where a block ends: not in a string, nor inside brackets.
fn block_end(source: &str, from: usize, close: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = from;
    while let Some(character) = source[at..].chars().next() {
        if depth == 0 && source[at..].starts_with(close) {
            return Some(at);
        }
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '\'' | '"' => {
                at = tokens::string_end(source, at)?;
                continue;
            }
            _ => (),
        }
        at += character.len_utf8();
    }
    None
}

fn is_raw(statement: &str) -> bool {
    statement.trim_matches(|c: char| "-+".contains(c) || c.is_whitespace()) == "raw"
}

fn raw_end(source: &str, from: usize) -> usize {
    let mut at = from;
    while let Some(found) = source[at..].find("{%") {
        let inner = at + found + 2;
        let name = source[inner..].trim_start_matches(|c: char| "-+".contains(c) || c.is_whitespace());
        if name.starts_with("endraw") {
            return inner;
        }
        at = inner;
    }
    source.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(source: &str) -> String {
        Rewritten::of(source).unwrap().text
    }

    #[test]
    fn operands_keep_what_binds_more_strongly() {
        for (source, expected) in [
            ("{{ a ~ b }}", "{{( a)|__concatenate( b) }}"),
            ("{{ a + b ~ c * d ~ e }}", "{{ a +( b)|__concatenate( c * d, e) }}"),
            ("{{ a % b * c }}", "{{( a)|__modulo( b) * c }}"),
            ("{{ -a.b[0](1)|f is g ~ h }}", "{{( -((a.b)|__read())[0](1)|__read|f|__read is g)|__concatenate( h) }}"),
            ("{{ x is divisibleby 3 ~ y }}", "{{( x|__read is divisibleby 3)|__concatenate( y) }}"),
            ("{% if (a) ~ b == c %}", "{% if( (a))|__concatenate( b) ==(( c)|__compared()) %}"),
            ("{% set a = 'b' 'c' ~ d %}", "{% set a =(( 'b' 'c')|__concatenate( d))|__variable() %}"),
            (
                "{{ f(a ~ b, c=d % e)[g ~ h] }}",
                "{{(( f((a)|__concatenate( b), c=(d)|__modulo( e)))|__read())[((g)|__concatenate( h))|__read()] }}",
            ),
            ("{{ a if b ~ c else d }}", "{{ a if( b)|__concatenate( c) else d }}"),
        ] {
            assert_eq!(text(source), expected, "{source}");
        }
    }

    #[test]
    fn what_is_made_into_lists_kept_or_compared_goes_through_its_limits() {
        for (source, expected) in [
            ("{{ [a, 1] }}", "{{(( [a, 1])|__container()) }}"),
            ("{{ {'a': (b, c)} }}", "{{(( {'a':(( (b, c))|__container())})|__container()) }}"),
            ("{% for (a, b) in c %}", "{% for (a, b) in c %}"),
            ("{% for a in c if a in b %}", "{% for a in c if(( a)|__read()) in(( b)|__compared()) %}"),
            ("{{ a['b'][\"c\"].d }}", "{{ a['b'][\"c\"].d }}"),
            ("{{ a[b][1:c] }}", "{{(((( a)|__read())[(b)|__read()])|__read())[1:c] }}"),
            ("{{ a|f|g(b) }}", "{{ a|__read|f|__read|g(b) }}"),
            ("{% set a, (b, c) = d, e -%}", "{% set a, (b, c) =( d, e)|__variable() -%}"),
            ("{% set a.b = c %}", "{% set a.b =( c)|__attribute() %}"),
            ("{% set a | f(x=b, y=[c]) %}", "{% set a|__read | f(x=b, y=(([c])|__container())) %}"),
            (
                "{%- if (a) != (b % 2 == c) -%}",
                "{%- if (a) !=(( ((b)|__modulo( 2) ==(( c)|__compared())))|__compared()) -%}",
            ),
            ("{{ a in b -}}", "{{(( a)|__read()) in(( b)|__compared()) -}}"),
            ("{% set a[b == c] = d %}", "{% set a[b == c] =( d)|__variable() %}"),
            ("{% set a | f([b]) %}", "{% set a|__read | f((([b])|__container())) %}"),
            ("{% call(a, b) f(c=[d]) %}", "{% call(a, b) f(c=(([d])|__container())) %}"),
            (
                "{{ a not in [b] and c is in [d] }}",
                "{{(( a)|__read()) not in(((( [b])|__container()))|__compared()) and c|__read is in(( [d])|__container()) }}",
            ),
        ] {
            assert_eq!(text(source), expected, "{source}");
        }
    }

    #[test]
    fn what_is_no_operator_stays() {
        for source in [
            "a ~ b % c {# a ~ b #} {% raw %}{{ a ~ b }}{% endraw %}",
            "{{ 'a ~ b' }}{{ \"c\\\" % d\" }}{%- if a -%}{%+ endif +%}{{- a + b / c ** d -}}",
            "{{ {'a': {'b': 1}} }}{{ a",
            "{{ a ~ }}",
            "{% for a, b in c if d and not e %}{% endfor %}",
        ] {
            assert_eq!(text(source).replace(['(', ')'], ""), source.replace(['(', ')'], ""), "{source}");
        }
    }

    #[test]
    fn many_items_are_no_long_expression() {
        let entries: String = (0..600).map(|number| format!("'l{number}': ['Language', {number} + 1], ")).collect();
        for source in [
            format!("{{%- set languages = {{ {entries} }} %}}"),
            format!("{{{{ f([{entries}]) }}}}").replace(": ", ", "),
            format!("{{% set a = {} %}}", "1, ".repeat(3000)),
        ] {
            assert!(Rewritten::of(&source).is_ok(), "{source}");
        }
        let refused = |source: &str| Rewritten::of(source).unwrap_err().to_string();
        let long = "syntax error: an expression of more than 2000 tokens";
        let nested = format!("{}1{}", "[1, ".repeat(151), "]".repeat(151));
        assert_eq!(refused(&format!("{{{{ {nested} }}}}")), "syntax error: brackets nested more than 150 deep");
        for value in ["1".to_owned() + &"+1".repeat(1000), format!("[2, {}]", "not ".repeat(2000))] {
            assert_eq!(refused(&format!("{{{{ {value} }}}}")), long);
        }
        assert_eq!(
            refused(&format!("{{{{ [{}] }}}}", "1,".repeat(25_000))),
            "syntax error: a block of more than 50000 tokens"
        );
    }

    #[test]
    fn places_are_those_of_the_template() {
        let source = "é{{ a ~ bad }}{{ worse }}";
        let rewritten = Rewritten::of(source).unwrap();
        for word in ["bad", "worse", "a"] {
            let here = rewritten.text.find(word).unwrap();
            assert_eq!(rewritten.origin(here), source.find(word).unwrap(), "{word}");
        }
    }
}
