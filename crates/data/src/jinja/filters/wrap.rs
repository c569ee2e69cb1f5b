//! Texts cut to a length: `truncate` and `wordwrap`.

use std::sync::LazyLock;

use fancy_regex::Regex;
use minijinja::{Environment, Error, State, Value};

use super::super::arguments::{Args, bind, count, flag, given, values};
use super::super::{invalid, limits, strings, text};

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
    let lines = strings::lines_of(&text)?;
    let wrapped = lines.iter().map(|line| Ok(wrapped(line, width, break_long, on_hyphens)?.join(&separator)));
    Ok(wrapped.collect::<Result<Vec<_>, Error>>()?.join(&separator))
}

/// White space is kept, but for that at the end of a line and at the start of all lines but the first.
fn wrapped(text: &str, width: usize, break_long: bool, on_hyphens: bool) -> Result<Vec<String>, Error> {
    let mut chunks = chunks(text, on_hyphens)?;
    chunks.reverse();
    let mut lines: Vec<String> = Vec::new();
    while let Some(next) = chunks.last() {
        if next.trim().is_empty() && !lines.is_empty() {
            chunks.pop();
            continue;
        }
        let (mut line, mut length) = (Vec::new(), 0);
        while let Some(chunk) = chunks.pop_if(|chunk| length + chunk.chars().count() <= width) {
            length += chunk.chars().count();
            line.push(chunk);
        }
        if let Some(chunk) = chunks.pop_if(|chunk| chunk.chars().count() > width) {
            if break_long {
                let room = (width - length).max(1);
                let at = cut(&chunk, room, on_hyphens);
                line.push(chunk[..at].to_owned());
                chunks.push(chunk[at..].to_owned());
            } else if line.is_empty() {
                line.push(chunk);
            } else {
                chunks.push(chunk);
            }
        }
        line.pop_if(|last| last.trim().is_empty());
        if !line.is_empty() {
            lines.push(line.concat());
        }
    }
    Ok(lines)
}

/// The byte at which a word that is too long is cut: behind its last hyphen that fits, else where the room ends.
fn cut(chunk: &str, room: usize, on_hyphens: bool) -> usize {
    let end = chunk.char_indices().nth(room).map_or(chunk.len(), |(at, _)| at);
    let hyphen = chunk[..end].rfind('-').filter(|at| *at > 0 && chunk[..*at].chars().any(|c| c != '-'));
    match hyphen.filter(|_| on_hyphens && chunk.chars().count() > room) {
        Some(at) => at + 1,
        None => end,
    }
}

/// Words and the white space between them, and words cut behind hyphens that stand between letters.
fn chunks(text: &str, on_hyphens: bool) -> Result<Vec<String>, Error> {
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
    let chunk = |found: fancy_regex::Result<fancy_regex::Match<'_>>| match found {
        Ok(found) => Ok(found.as_str().to_owned()),
        Err(error) => Err(invalid(error.to_string())),
    };
    let chunks: Vec<_> = limits::collected(words.find_iter(text))?;
    chunks.into_iter().map(chunk).collect()
}
