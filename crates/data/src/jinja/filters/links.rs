//! `urlize`: addresses in a text become links.

use std::sync::LazyLock;

use fancy_regex::Regex;
use minijinja::{Environment, Error, State, Value};

use super::super::arguments::{Args, bind, count, flag, given, values};
use super::super::limits::Text;
use super::super::text;
use super::html::escape;

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("urlize", urlize);
}

/// A web address by its scheme, by `www.` or by one of the first endings.
static WEB: LazyLock<Regex> = LazyLock::new(|| {
    let address = r"(?ix) ^ (?:
        (?:https?://|www\.) (?:(?:[\w%-]+\.)+)? (?: [a-z]{2,63} | xn--[\w%]{2,59} )
        | (?:[\w%-]{2,63}\.)+ (?:com|net|int|edu|gov|org|info|mil)
        | https?:// (?: \d{1,3}(?:\.\d{1,3}){3} | \[(?:[\da-f]{0,4}:){2}(?:[\da-f]{0,4}:?){1,6}\] )
        ) (?: :\d{1,5} )? (?: [/?\#]\S* )? $";
    Regex::new(address).expect("the pattern is ours")
});

static MAIL: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\S+@\w[\w.-]*\.\w+$").expect("the pattern is ours"));

/// How links are written.
struct Style {
    attributes: String,
    shown: Option<usize>,
    schemes: Vec<String>,
}

fn urlize(state: &State<'_, '_>, value: &Value, args: Args) -> Result<String, Error> {
    let names = ["trim_url_limit", "nofollow", "target", "rel", "extra_schemes"];
    let [shown, no_follow, target, rel, schemes] = bind(&values(args), names)?;
    let rel = given(rel).map_or(Ok(String::new()), |rel| text::str(&rel))?;
    let mut rels: Vec<&str> = rel.split_whitespace().chain(["noopener"]).collect();
    rels.extend(flag(no_follow, false).then_some("nofollow"));
    rels.sort_unstable();
    rels.dedup();
    let mut attributes = format!(" rel=\"{}\"", escape(&rels.join(" "))?);
    if let Some(target) = given(target) {
        attributes += &format!(" target=\"{}\"", escape(&text::str(&target)?)?);
    }
    let schemes = given(schemes).map_or(Ok(Vec::new()), |schemes| text::iterated(&schemes))?;
    let style = Style {
        attributes,
        shown: given(shown).map(|shown| count(Some(shown), 0)).transpose()?,
        schemes: schemes.iter().map(text::str).collect::<Result<_, _>>()?,
    };
    let escaped = escape(&text::str(value)?)?;
    // Each word is looked at by several expressions.
    state.consume_fuel((escaped.len() / 8) as u64)?;
    let mut linked = Text::default();
    let mut rest = escaped.as_str();
    while let Some(first) = rest.chars().next() {
        let is_space = char::is_whitespace;
        let end = if is_space(first) { rest.find(|c| !is_space(c)) } else { rest.find(is_space) };
        let (part, behind) = rest.split_at(end.unwrap_or(rest.len()));
        if is_space(first) {
            linked.push_str(part)?;
        } else {
            // A word is compared with each of them.
            state.consume_fuel((style.schemes.len() / 8) as u64)?;
            linked.push_str(&word(part, &style))?;
        }
        rest = behind;
    }
    Ok(linked.into_string())
}

/// A word, of which brackets before it and punctuation behind it are no part.
fn word(word: &str, style: &Style) -> String {
    const BEFORE: [&str; 3] = ["(", "<", "&lt;"];
    const BEHIND: [&str; 6] = [")", ">", ".", ",", "\n", "&gt;"];
    let mut middle = word;
    while let Some(rest) = BEFORE.iter().find_map(|sign| middle.strip_prefix(sign)) {
        middle = rest;
    }
    let head = &word[..word.len() - middle.len()];
    let whole = middle;
    while let Some(rest) = BEHIND.iter().find_map(|sign| middle.strip_suffix(sign)) {
        middle = rest;
    }
    // Brackets that were opened within an address are closed within it.
    let mut end = middle.len();
    for (open, close) in [("(", ")"), ("<", ">"), ("&lt;", "&gt;")] {
        let opened = whole[..end].matches(open).count();
        if opened <= whole[..end].matches(close).count() {
            continue;
        }
        for _ in 0..opened.min(whole[end..].matches(close).count()) {
            end += whole[end..].find(close).map_or(0, |at| at + close.len());
        }
    }
    let (middle, tail) = whole.split_at(end);
    format!("{head}{}{tail}", link(middle, style))
}

fn link(address: &str, style: &Style) -> String {
    let is = |pattern: &Regex, text: &str| pattern.is_match(text).unwrap_or(false);
    let attributes = &style.attributes;
    if is(&WEB, address) {
        let scheme = if address.starts_with("https://") || address.starts_with("http://") { "" } else { "https://" };
        let shown = match style.shown.filter(|length| address.chars().count() > *length) {
            Some(length) => address.chars().take(length).chain("...".chars()).collect(),
            None => address.to_owned(),
        };
        return format!("<a href=\"{scheme}{address}\"{attributes}>{shown}</a>");
    }
    if let Some(mail) = address.strip_prefix("mailto:").filter(|mail| is(&MAIL, mail)) {
        return format!("<a href=\"{address}\">{mail}</a>");
    }
    let may_be_mail = !address.starts_with("www.") && !address.starts_with('@') && !address.contains(':');
    if may_be_mail && is(&MAIL, address) {
        return format!("<a href=\"mailto:{address}\">{address}</a>");
    }
    match style.schemes.iter().any(|scheme| address != scheme && address.starts_with(scheme.as_str())) {
        true => format!("<a href=\"{address}\"{attributes}>{address}</a>"),
        false => address.to_owned(),
    }
}
