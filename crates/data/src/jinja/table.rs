//! Every expression of `table.json` gives what Jinja2 gives.

use minijinja::value::Serde;
use minijinja::{UndefinedBehavior, Value};
use serde_json::{Map, Value as Json};

use super::*;

/// The values of the expressions, and by section what comes of them; `null` for an error.
fn table() -> Map<String, Json> {
    serde_json::from_str(include_str!("table.json")).unwrap()
}

fn render(source: &str, values: &Json) -> Result<String, String> {
    let mut environment = environment(UndefinedBehavior::Lenient);
    add(&mut environment, "t", source).map_err(|fault| fault.reason)?;
    let template = environment.get_template("t").unwrap();
    template.render(Value::from(Serde(values))).map_err(|error| format!("{error:#}"))
}

#[test]
fn templates_write_what_jinja2_writes() {
    let mut table = table();
    let values = table.remove("values").unwrap();
    let (mut wrong, mut all) = (Vec::new(), 0);
    for (section, sources) in &table {
        for (source, expected) in sources.as_object().unwrap() {
            all += 1;
            let found = render(source, &values);
            if found.as_deref().ok() != expected.as_str() {
                wrong.push(format!("{section}: {source}\n   expected {expected}\n   found    {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {all} differ:\n{}", wrong.len(), wrong.join("\n"));
}
