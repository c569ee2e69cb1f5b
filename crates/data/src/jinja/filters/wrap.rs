//! Texts cut to a length: `truncate` and `wordwrap`.

use std::sync::LazyLock;

use fancy_regex::Regex;
use minijinja::{Environment, Error, State, Value};

use super::super::arguments::{Args, bind, count, flag, given, values};
use super::super::limits::{self, Text};
use super::super::{invalid, strings, text};

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("truncate", truncate);
    environment.add_filter("wordwrap", word_wrap);
}

/// A text that is longer than `length` and `leeway` together ends in `end`, behind a whole word unless words may be cut.
fn truncate(value: &Value, args: Args) -> Result<String, Error> {
    let [length, kill_words, end, leeway] = bind(&values(args), ["length", "killwords", "end", "leeway"])?;
    let (length, leeway) = (count(length, 255)?, count(given(leeway), 5)?);
    let end = end.map_or(Ok("...".to_owned()), |end| text::str(&end))?;
    let text = text::str(value)?;
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(text);
    }
    let kept =
        length.checked_sub(end.chars().count()).ok_or_else(|| invalid("`length` must be at least that of `end`"))?;
    let cut: String = text.chars().take(kept).collect();
    let kept =
        if flag(kill_words, false) { cut.as_str() } else { cut.rsplit_once(' ').map_or(cut.as_str(), |it| it.0) };
    Ok(format!("{kept}{end}"))
}

/// Lines of at most `width` characters, as `textwrap` of Python makes them of each line.
fn word_wrap(state: &State<'_, '_>, value: &Value, args: Args) -> Result<String, Error> {
    let names = ["width", "break_long_words", "wrapstring", "break_on_hyphens"];
    let [width, break_long, separator, on_hyphens] = bind(&values(args), names)?;
    let width = count(width, 79)?;
    if width == 0 {
        return Err(invalid("`width` must be above 0"));
    }
    let (break_long, on_hyphens) = (flag(break_long, true), flag(on_hyphens, true));
    let separator = given(separator).map_or(Ok("\n".to_owned()), |it| text::str(&it))?;
    let text = text::str(value)?;
    // The expression looks at what is around each character.
    state.consume_fuel((text.len() / 8) as u64)?;
    let style = Style { width, break_long, on_hyphens, separator };
    let mut wrapped = Text::default();
    for (number, line) in strings::lines_of(&text)?.iter().enumerate() {
        if number > 0 {
            wrapped.push_str(&style.separator)?;
        }
        style.wrap(line, &mut wrapped)?;
    }
    Ok(wrapped.into_string())
}

/// How lines are made.
struct Style {
    width: usize,
    break_long: bool,
    on_hyphens: bool,
    separator: String,
}

/// A word or the white space between two, or what is left of it. A long word becomes many lines: what would have to go through all
/// that is left of it is known beforehand.
#[derive(Debug, Clone, Copy)]
struct Chunk<'a> {
    text: &'a str,
    characters: usize,
    /// Bytes without the white space at its end.
    filled: usize,
}

impl<'a> Chunk<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, characters: text.chars().count(), filled: text.trim_end().len() }
    }

    fn is_blank(&self) -> bool {
        self.filled == 0
    }

    fn split(self, at: usize) -> (Self, Self) {
        let (first, rest) = self.text.split_at(at);
        let first = Self::of(first);
        let characters = self.characters - first.characters;
        (first, Self { text: rest, characters, filled: self.filled.saturating_sub(at) })
    }

    /// The byte at which a word that is too long is cut: behind its last hyphen that fits, else where the room ends.
    fn cut(&self, room: usize, on_hyphens: bool) -> usize {
        let end = self.text.char_indices().nth(room).map_or(self.text.len(), |(at, _)| at);
        let fits = &self.text[..end];
        let hyphen = fits.rfind('-').filter(|at| *at > 0 && fits[..*at].chars().any(|c| c != '-'));
        match hyphen.filter(|_| on_hyphens && self.characters > room) {
            Some(at) => at + 1,
            None => end,
        }
    }
}

impl Style {
    /// White space is kept, but for that at the end of a line and at the start of all lines but the first.
    fn wrap(&self, text: &str, wrapped: &mut Text) -> Result<(), Error> {
        let mut chunks = chunks(text, self.on_hyphens)?;
        chunks.reverse();
        let mut is_first = true;
        while let Some(next) = chunks.last() {
            if next.is_blank() && !is_first {
                chunks.pop();
                continue;
            }
            let line = self.line(&mut chunks);
            if line.is_empty() {
                continue;
            }
            if !is_first {
                wrapped.push_str(&self.separator)?;
            }
            line.iter().try_for_each(|piece| wrapped.push_str(piece.text))?;
            is_first = false;
        }
        Ok(())
    }

    /// Takes the next line off the end of `chunks`, which are in reverse order.
    fn line<'a>(&self, chunks: &mut Vec<Chunk<'a>>) -> Vec<Chunk<'a>> {
        let (mut line, mut length) = (Vec::new(), 0);
        while let Some(chunk) = chunks.pop_if(|chunk| length + chunk.characters <= self.width) {
            length += chunk.characters;
            line.push(chunk);
        }
        if let Some(chunk) = chunks.pop_if(|chunk| chunk.characters > self.width) {
            if self.break_long {
                // Where there is no room nothing goes onto the line, but the white space before it stays.
                let (first, rest) = chunk.split(chunk.cut(self.width - length, self.on_hyphens));
                line.push(first);
                chunks.push(rest);
            } else if line.is_empty() {
                line.push(chunk);
            } else {
                chunks.push(chunk);
            }
        }
        line.pop_if(|last| last.is_blank());
        line
    }
}

/// Words and the white space between them, and words cut behind hyphens that stand between letters.
fn chunks(text: &str, on_hyphens: bool) -> Result<Vec<Chunk<'_>>, Error> {
    // Those of Python's `textwrap`.
    static WORDS: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = r#"(?x) [\t\n\x0b\x0c\r\x20]+
            | (?<=[\w!"'&.,?]) -{2,} (?=\w)
            | [^\t\n\x0b\x0c\r\x20]+? (?:
                -(?: (?<=[^\d\W]{2}-) | (?<=[^\d\W]-[\w!"'&.,?]-)) (?= [^\d\W] -? [^\d\W])
                | (?=[\t\n\x0b\x0c\r\x20]|\z)
                | (?<=[\w!"'&.,?]) (?=-{2,}\w)
            )"#;
        Regex::new(pattern).expect("the pattern is ours")
    });
    static WHOLE_WORDS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"[\t\n\x0b\x0c\r\x20]+|[^\t\n\x0b\x0c\r\x20]+").expect("the pattern is ours"));
    let words = if on_hyphens { &WORDS } else { &WHOLE_WORDS };
    let chunks: Vec<_> = limits::collected(words.find_iter(text))?;
    chunks.into_iter().map(|found| Ok(Chunk::of(found.map_err(|error| invalid(error.to_string()))?.as_str()))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use minijinja::{UndefinedBehavior, context};

    use crate::jinja::environment;

    fn wrapped(text: &str, width: usize) -> String {
        let environment = environment(UndefinedBehavior::Lenient);
        environment.render_str("{{ text | wordwrap(width) }}", context! { text, width }).unwrap()
    }

    #[test]
    fn lines_are_those_of_python() {
        // Each by `textwrap.wrap` of Python 3.11.
        let cases = [
            ("ab cdefgh", 3, "ab \ncde\nfgh"),
            ("ab cdefgh i", 3, "ab \ncde\nfgh\ni"),
            ("a bcdefg-hi--jklmno", 4, "a bc\ndefg\n-hi\n--jk\nlmno"),
            ("--------ab", 3, "---\n---\n--a\nb"),
            ("x-------y z", 4, "x---\n----\ny z"),
            ("éàü-öäß ab", 2, "éà\nü-\nöä\nß\nab"),
            ("a\u{a0}\u{a0}\u{a0}\u{a0}b c", 2, "a\u{a0}\n\u{a0}b\nc"),
            ("   a   b", 2, " a\nb"),
        ];
        for (text, width, expected) in cases {
            assert_eq!(wrapped(text, width), expected, "{text:?} {width}");
        }
    }

    /// It took a quarter of a minute: all that was left of the word was copied for each line.
    #[test]
    fn a_long_word_is_gone_through_once() {
        for character in ["é", "-", "\u{a0}"] {
            let start = Instant::now();
            let text = character.repeat(50_000) + "x";
            let expected: Vec<String> = text.chars().map(String::from).collect();
            let found = wrapped(&text, 1);
            if character == "é" {
                assert_eq!(found, expected.join("\n"));
            }
            assert!(start.elapsed() < Duration::from_secs(2), "{character:?}: {:?}", start.elapsed());
        }
    }

    #[test]
    fn what_stands_between_lines_counts_for_what_is_made() {
        let environment = environment(UndefinedBehavior::Lenient);
        let template = "{{ ('a ' * 100) | wordwrap(1, wrapstring='x' * 1000000) | length }}";
        let error = environment.render_str(template, ()).unwrap_err();
        assert_eq!(crate::jinja::reason(&error), "engine ran out of fuel: a text of more than 8388608 bytes");
    }
}
