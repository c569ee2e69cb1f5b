//! Filters that make a text of a value, or another text.

use minijinja::{Environment, Error, State, Value};

use super::super::arguments::{Args, bind, count, flag, given, integer, required, split, string, values};
use super::super::characters::is_space;
use super::super::limits::{self, Text};
use super::super::strings::{capitalized, replaced, stripped, titled};
use super::super::{invalid, printf, strings, text};

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("string", |value: &Value| match value.as_str() {
        Some(_) => Ok(value.clone()),
        None => text::str(value).map(Value::from),
    });
    environment.add_filter("upper", |value: &Value| text::str(value).map(|text| text.to_uppercase()));
    environment.add_filter("lower", |value: &Value| text::str(value).map(|text| text.to_lowercase()));
    environment.add_filter("capitalize", |value: &Value| text::str(value).map(|text| capitalized(&text)));
    environment.add_filter("title", title);
    environment.add_filter("trim", trim);
    environment.add_filter("center", center);
    environment.add_filter("replace", replace);
    environment.add_filter("indent", indent);
    environment.add_filter("wordcount", |value: &Value| text::str(value).map(|text| words(&text)));
    environment.add_filter("format", format);
    environment.add_filter("join", join);
    environment.add_filter("pprint", super::pretty::pprint);
}

/// The words between white space, hyphens and opening brackets begin with an upper letter.
fn title(state: &mut State<'_, '_>, value: &Value) -> Result<String, Error> {
    let is_between = |c: char| is_space(c) || "-([{<".contains(c);
    let text = text::str(value)?;
    limits::pay_for_characters(state, &text)?;
    let mut title = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let end = match is_between(first) {
            true => rest.find(|c| !is_between(c)),
            false => rest.find(is_between),
        };
        let (part, behind) = rest.split_at(end.unwrap_or(rest.len()));
        title += &titled(part, |_| true);
        rest = behind;
    }
    Ok(title)
}

fn trim(value: &Value, args: Args) -> Result<String, Error> {
    let [characters] = bind(&values(args), ["chars"])?;
    let characters = given(characters);
    let text = text::str(value)?;
    Ok(stripped(&text, characters.as_ref().map(string).transpose()?, "strip").to_owned())
}

fn center(value: &Value, args: Args) -> Result<String, Error> {
    let [width] = bind(&values(args), ["width"])?;
    let width = count(width, 80)?;
    limits::check_length(width)?;
    Ok(strings::justified(&text::str(value)?, width, ' ', "center"))
}

fn replace(value: &Value, args: Args) -> Result<String, Error> {
    let [old, new, most] = bind(&values(args), ["old", "new", "count"])?;
    let (old, new) = (text::str(&required(old, "old")?)?, text::str(&required(new, "new")?)?);
    let most = given(most).map_or(Ok(-1), |most| integer(&most))?;
    replaced(&text::str(value)?, &old, &new, usize::try_from(most).unwrap_or(usize::MAX))
}

/// By a number of spaces or a text, all lines but the first and empty ones.
fn indent(value: &Value, args: Args) -> Result<String, Error> {
    let [width, first, blank] = bind(&values(args), ["width", "first", "blank"])?;
    let by = match &width {
        Some(width) if width.as_str().is_some() => string(width)?.to_owned(),
        _ => " ".repeat(count(width, 4)?.min(1000)),
    };
    let (first, blank) = (flag(first, false), flag(blank, false));
    let text = text::str(value)? + "\n";
    let lines = strings::lines_of(&text)?;
    limits::check_length(lines.len().saturating_mul(by.len()).saturating_add(text.len()))?;
    let indented = |(number, line): (usize, &String)| match number {
        0 if first => by.clone() + line,
        0 => line.clone(),
        _ if blank || !line.is_empty() => by.clone() + line,
        _ => line.clone(),
    };
    Ok(lines.iter().enumerate().map(indented).collect::<Vec<_>>().join("\n"))
}

/// Runs of letters, digits and underscores.
fn words(text: &str) -> usize {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).count()
}

/// `'%s' | format(x)`
fn format(value: &Value, args: Args) -> Result<String, Error> {
    let args = values(args);
    let (positional, named) = split(&args)?;
    let values = match (positional.is_empty(), named.is_empty()) {
        (false, false) => return Err(invalid("can't handle positional and keyword arguments at the same time")),
        (true, false) => Value::from_pairs(named),
        _ => Value::from(minijinja::value::Tuple::from(positional.to_vec())),
    };
    printf::format(&text::str(value)?, &values)
}

fn join(state: &State<'_, '_>, value: &Value, args: Args) -> Result<String, Error> {
    let [separator, attribute] = bind(&values(args), ["d", "attribute"])?;
    let separator = separator.map_or(Ok(String::new()), |separator| text::str(&separator))?;
    let items = text::iterated(value)?;
    limits::pay_for_items(state, items.len())?;
    let mut joined = Text::default();
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            joined.push_str(&separator)?;
        }
        joined.push_str(&match given(attribute.clone()) {
            Some(attribute) => text::str(&super::lists::attribute_of(state, item, &attribute)?)?,
            None => text::str(item)?,
        })?;
    }
    Ok(joined.into_string())
}
