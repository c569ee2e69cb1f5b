//! What a template may take: every limit in one place. The engine counts steps and the bytes of what is made (64 bytes are a
//! step), but only after a function has made it, and it compares, writes and frees lists in lists as deep as they are. So each
//! function of ours asks here before it makes something large, and [`rewrite`](super::rewrite) has lists measured where a
//! template makes them.

use minijinja::value::{Kwargs, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::arguments::Args;
use super::containers::View;
use super::rewrite::{ATTRIBUTE, COMPARED, CONTAINER, READ, VARIABLE};

/// Steps of a template for one text: about half a second, and 48 MB of what is made.
pub(super) const FUEL: u64 = 750_000;
/// Bytes of a template.
pub(super) const LONGEST_SOURCE: usize = 1 << 20;
/// Tokens of one `{{ }}` or `{% %}`.
const MOST_TOKENS: usize = 50_000;
/// Tokens of an expression and of what is in its brackets; of items with commas between them those of the longest one alone. The
/// engine goes through operators and brackets recursively, and through items one after the other.
const LONGEST_EXPRESSION: usize = 2_000;
/// Brackets in brackets. The engine itself takes some 150, those that [`rewrite`](super::rewrite) puts around values among them.
const DEEPEST_BRACKETS: usize = 150;
/// Branches of a condition, for the same reason.
pub(super) const MOST_BRANCHES: usize = 500;
/// Bytes of a text that a function makes.
const LONGEST_TEXT: usize = 8 << 20;
/// Items of a list that a function makes; with those of lists in it, as often as they are in it, of a list that is written
/// down or compared.
const MOST_ITEMS: usize = 200_000;
/// Bytes of a text that go through a function, a subscript or a comparison in one step; each takes some nanoseconds at most.
const BYTES_OF_STEP: usize = 32;
/// Lists in lists.
pub(super) const DEEPEST: usize = 200;

fn exceeded(what: String) -> Error {
    Error::new(ErrorKind::OutOfFuel, what)
}

/// Before a text of so many bytes is made.
pub(super) fn check_length(bytes: usize) -> Result<(), Error> {
    match bytes <= LONGEST_TEXT {
        true => Ok(()),
        false => Err(exceeded(format!("a text of more than {LONGEST_TEXT} bytes"))),
    }
}

/// Before a list of so many items is made.
pub(super) fn check_items(items: usize) -> Result<(), Error> {
    match items <= MOST_ITEMS {
        true => Ok(()),
        false => Err(exceeded(format!("a list of more than {MOST_ITEMS} items"))),
    }
}

pub(super) fn check_depth(depth: usize) -> Result<(), Error> {
    match depth <= DEEPEST {
        true => Ok(()),
        false => Err(exceeded(format!("lists nested more than {DEEPEST} deep"))),
    }
}

/// Before a template is read.
pub(super) fn check_source(source: &str) -> Result<(), Error> {
    let fault = |what: String| Err(Error::new(ErrorKind::SyntaxError, what));
    if source.len() > LONGEST_SOURCE {
        return fault(format!("the template has more than {LONGEST_SOURCE} bytes"));
    }
    match source.matches("elif").count() > MOST_BRANCHES {
        true => fault(format!("the template has more than {MOST_BRANCHES} `elif`")),
        false => Ok(()),
    }
}

/// Before a block of it is read: of its tokens, those of its longest expression, and its brackets in brackets.
pub(super) fn check_tokens(tokens: usize, longest: usize, depth: usize) -> Result<(), Error> {
    let fault = |what: String| Err(Error::new(ErrorKind::SyntaxError, what));
    if tokens > MOST_TOKENS {
        return fault(format!("a block of more than {MOST_TOKENS} tokens"));
    }
    if depth > DEEPEST_BRACKETS {
        return fault(format!("brackets nested more than {DEEPEST_BRACKETS} deep"));
    }
    match longest <= LONGEST_EXPRESSION {
        true => Ok(()),
        false => fault(format!("an expression of more than {LONGEST_EXPRESSION} tokens")),
    }
}

/// A list from what has too many items to be held, perhaps.
pub(super) fn collected<T>(items: impl Iterator<Item = T>) -> Result<Vec<T>, Error> {
    let items: Vec<T> = items.take(MOST_ITEMS + 1).collect();
    check_items(items.len())?;
    Ok(items)
}

/// A text that is written in pieces.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    pub(super) fn push_str(&mut self, text: &str) -> Result<(), Error> {
        check_length(self.0.len() + text.len())?;
        self.0.push_str(text);
        Ok(())
    }

    pub(super) fn push(&mut self, character: char) -> Result<(), Error> {
        check_length(self.0.len() + 4)?;
        self.0.push(character);
        Ok(())
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// The filters that [`rewrite`](super::rewrite) puts where lists are made, kept and compared, and the functions, tests and filters
/// of the engine that do so.
pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter(CONTAINER, |state: &mut State<'_, '_>, value: Value| weighed(state, value));
    environment.add_filter(READ, |state: &mut State<'_, '_>, value: Value| {
        pay_for_text(state, &value)?;
        Ok::<Value, Error>(value)
    });
    environment.add_filter(COMPARED, |state: &mut State<'_, '_>, value: Value| weighed(state, value));
    environment.add_filter(VARIABLE, kept);
    environment.add_filter(ATTRIBUTE, |value: &Value| kept(not_namespace(value)?));
    environment.add_function("namespace", namespace);
    // No filters of Jinja2.
    environment.remove_filter("zip");
    environment.remove_filter("chain");
    for (names, test) in TESTS {
        for name in *names {
            environment.add_test(*name, move |state: &mut State<'_, '_>, value: &Value, other: &Value| {
                weigh(state, other)?;
                Ok::<bool, Error>(test(value, other))
            });
        }
    }
    environment.add_test("in", |state: &mut State<'_, '_>, value: &Value, other: &Value| {
        weigh(state, other)?;
        minijinja::tests::is_in(state, value, other)
    });
    environment.add_filter("unique", |state: &mut State<'_, '_>, value: Value, named: Kwargs| {
        weigh(state, &value)?;
        pay_for_each(state, &value, named.peek::<Option<Value>>("attribute")?.as_ref())?;
        minijinja::filters::unique(state, value, named)
    });
    environment.add_filter("map", |state: &mut State<'_, '_>, value: Value, args: Args| {
        pay_for_each(state, &value, args.0.iter().map(|argument| &**argument))?;
        minijinja::filters::map(state, value, args)
    });
    environment.add_filter(
        "selectattr",
        |state: &mut State<'_, '_>, value: Value, attribute: String, test: Option<String>, args: Args| {
            pay_for_each(state, &value, [&Value::from(attribute.as_str())])?;
            minijinja::filters::selectattr(state, value, attribute.into(), test.map(Into::into), args)
        },
    );
    environment.add_filter(
        "rejectattr",
        |state: &mut State<'_, '_>, value: Value, attribute: String, test: Option<String>, args: Args| {
            pay_for_each(state, &value, [&Value::from(attribute.as_str())])?;
            minijinja::filters::rejectattr(state, value, attribute.into(), test.map(Into::into), args)
        },
    );
    environment.add_filter("min", |state: &mut State<'_, '_>, value: Value, named: Kwargs| {
        weigh(state, &value)?;
        pay_for_each(state, &value, named.peek::<Option<Value>>("attribute")?.as_ref())?;
        minijinja::filters::min(state, value, named)
    });
    environment.add_filter("max", |state: &mut State<'_, '_>, value: Value, named: Kwargs| {
        weigh(state, &value)?;
        pay_for_each(state, &value, named.peek::<Option<Value>>("attribute")?.as_ref())?;
        minijinja::filters::max(state, value, named)
    });
}

/// A test, by its names.
type Test = (&'static [&'static str], fn(&Value, &Value) -> bool);

const TESTS: &[Test] = &[
    (&["eq", "equalto", "=="], |a, b| a == b),
    (&["ne", "!="], |a, b| a != b),
    (&["lt", "lessthan", "<"], |a, b| a < b),
    (&["le", "<="], |a, b| a <= b),
    (&["gt", "greaterthan", ">"], |a, b| a > b),
    (&["ge", ">="], |a, b| a >= b),
];

pub(super) fn weighed(state: &State<'_, '_>, value: Value) -> Result<Value, Error> {
    weigh(state, &value)?;
    Ok(value)
}

/// What the engine would go through later becomes a list: it must not become deeper with each turn of a loop.
fn kept(value: &Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Iterable if value.downcast_object_ref::<View>().is_none() => {
            collected(value.try_iter()?).map(Value::from)
        }
        _ => Ok(value.clone()),
    }
}

/// A namespace is the only thing that can come to hold itself.
fn not_namespace(value: &Value) -> Result<&Value, Error> {
    let is_namespace = value.as_object().is_some_and(|object| object.type_name().ends_with("::Namespace"));
    match is_namespace {
        true => Err(Error::new(ErrorKind::InvalidOperation, "a namespace cannot be kept in something else")),
        false => Ok(value),
    }
}

fn namespace(state: &mut State<'_, '_>, defaults: Option<ValueOrKwargs>) -> Result<Value, Error> {
    if let Some(defaults) = &defaults {
        weigh(state, defaults)?;
    }
    minijinja::functions::namespace(defaults)
}

/// Before a text is gone through.
pub(super) fn pay_for_text(state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.as_str().map_or(0, |text| text.len() / BYTES_OF_STEP) {
        0 => Ok(()),
        steps => state.consume_fuel(steps as u64),
    }
}

/// Before texts, names of attributes and arguments of filters, are gone through once for each item of a list.
fn pay_for_each<'a>(
    state: &State<'_, '_>,
    list: &Value,
    texts: impl IntoIterator<Item = &'a Value>,
) -> Result<(), Error> {
    let mut weight = Weight::default();
    texts.into_iter().try_for_each(|text| weight.add(text, 0))?;
    let steps = weight.bytes / BYTES_OF_STEP;
    if steps == 0 {
        return Ok(());
    }
    let items = match list.len() {
        Some(items) => items,
        // Two lists that were joined.
        None => list.try_iter().map_or(0, |items| items.take(MOST_ITEMS).count()),
    };
    state.consume_fuel(items.saturating_mul(steps) as u64)
}

/// Where a list is gone through and what comes of it may be nothing.
pub(super) fn pay_for_items(state: &State<'_, '_>, items: usize) -> Result<(), Error> {
    // An item is half a step for the engine.
    state.consume_fuel((items / 2) as u64)
}

/// Before a text is gone through by what takes far longer for each of its characters.
pub(super) fn pay_for_characters(state: &State<'_, '_>, text: &str) -> Result<(), Error> {
    state.consume_fuel(text.len() as u64)
}

/// The items of a value with those of lists in it, each as often as it is in it, and the texts among them: what it costs to compare or
/// to write it. They are paid for.
pub(super) fn weigh(state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    let mut weight = Weight::default();
    weight.add(value, 0)?;
    // An item is half a step for the engine.
    state.consume_fuel((weight.items / 2 + weight.bytes / BYTES_OF_STEP) as u64)
}

#[derive(Default)]
struct Weight {
    items: usize,
    /// Of texts.
    bytes: usize,
}

impl Weight {
    fn add(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let kind = value.kind();
        if let Some(text) = value.as_str() {
            self.bytes += text.len();
        }
        if !matches!(kind, ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) {
            return Ok(());
        }
        not_namespace(value)?;
        check_depth(depth)?;
        for item in value.try_iter()? {
            self.items += 1;
            check_items(self.items)?;
            if kind == ValueKind::Map {
                self.add(&value.get_item(&item)?, depth + 1)?;
            }
            self.add(&item, depth + 1)?;
        }
        Ok(())
    }
}
