//! What templates make of rows, and what they refuse.

use indexmap::IndexMap;
use miette::Diagnostic;
use proptest::prelude::*;
use serde_json::json;

use super::*;

const KEY: &str = "data.text_template";

fn record(value: serde_json::Value) -> Record {
    let serde_json::Value::Object(fields) = value else { panic!("a row is an object") };
    Record { line: 17, fields: fields.into_iter().collect() }
}

fn render(source: &str, row: serde_json::Value) -> Result<String, Error> {
    Template::new(KEY, source)?.render(Path::new("train.jsonl"), &record(row))
}

/// Message and help.
fn fails(result: Result<impl fmt::Debug, Error>) -> (String, String) {
    let error = result.unwrap_err();
    (error.to_string(), error.help().expect("every error of a template says what to do").to_string())
}

#[test]
fn values_of_every_kind_are_written_as_they_are() {
    let row = json!({"a": "<é> & \"b\"", "n": 3, "x": 0.5, "none": null, "yes": true, "list": ["u", "v"]});
    let python = json!({"rate": 2e-05, "big": 1e16, "list": [1.5e-7, null]});
    assert_eq!(
        render("{{ rate }} {{ big ~ list }} {{ '%.1f' % big }}", python).unwrap(),
        "2e-05 1e+16[1.5e-07, None] 10000000000000000.0"
    );
    assert_eq!(render("{{ a }}|{{ n }}|{{ x }}|{{ none }}|{{ yes }}", row.clone()).unwrap(), "<é> & \"b\"|3|0.5||True");
    assert_eq!(render("{% for it in list %}{{ loop.index }}{{ it }} {% endfor %}", row.clone()).unwrap(), "1u 2v ");
    assert_eq!(render("{{ list | tojson }}{{ a | upper | length }}", row).unwrap(), "[\"u\", \"v\"]9");
}

#[test]
fn blocks_take_their_line_with_them_as_in_transformers() {
    let source = "{{ a }}\n    {% if b %}\nb: {{ b }}\n    {% endif %}\nend\n";
    assert_eq!(render(source, json!({"a": "x", "b": 1})).unwrap(), "x\nb: 1\nend");
    assert_eq!(render(source, json!({"a": "x", "b": null})).unwrap(), "x\nend");
}

#[test]
fn row_is_the_whole_record_unless_a_column_is_named_so() {
    let row = json!({"my column": "a", "b": 1});
    assert_eq!(render("{{ row[\"my column\"] }}{{ row.b }}", row.clone()).unwrap(), "a1");
    assert_eq!(render("{% for name in row %}{{ name }};{% endfor %}", row).unwrap(), "my column;b;");
    assert_eq!(render("{{ row }}", json!({"row": "its own"})).unwrap(), "its own");
}

#[test]
fn the_columns_are_the_names_that_the_template_does_not_set() {
    let template = |source| Template::new(KEY, source).unwrap();
    let source = "{% set x = b %}{% for i in range(3) %}{{ x ~ i ~ loop.index }}{% endfor %}{{ a.c }}{{ row.d }}";
    assert_eq!(template(source).columns(), ["a", "b"]);
}

#[test]
fn a_column_that_the_file_lacks_is_refused_with_the_nearest() {
    let check = |source| {
        let first = record(json!({"title": "a", "body": "b"}));
        Template::new(KEY, source).unwrap().check(Path::new("train.csv"), &first)
    };
    assert!(check("{{ title }}: {{ body }}").is_ok());
    assert_eq!(
        fails(check("{{ titel }}: {{ body }}")),
        (
            "train.csv has no column `titel` (columns: title, body)".to_owned(),
            "`data.text_template` names it: did you mean `title`?".to_owned()
        )
    );
    assert_eq!(fails(check("{{ summary }}")).1, "`data.text_template` names it; {{ ... }} holds the name of a column");
}

#[test]
fn a_syntax_error_is_placed() {
    let (message, help) = fails(Template::new(KEY, "é {{ title }}\n  {{ body"));
    assert_eq!(
        message,
        "`data.text_template`, line 2, column 6: unexpected end of input, expected end of variable block"
    );
    assert_eq!(help, "a column is written {{ text }}, a condition {% if text %} ... {% endif %}");
    let (message, _) = fails(Template::new(KEY, "{{ a % % b ~ c }}"));
    assert_eq!(message, "`data.text_template`, line 1, column 8: unexpected `%`");
    let (message, _) = fails(Template::new(KEY, "{% include 'secret' %}"));
    assert_eq!(message, "`data.text_template`, line 1, column 4: unknown statement include");
}

#[test]
fn an_error_in_a_row_names_both_places() {
    assert_eq!(
        fails(render("{{ a }}\né {{ b }}", json!({"a": 1}))),
        (
            "train.jsonl, line 17: `data.text_template`, line 2, column 6: `b` is undefined".to_owned(),
            "the row has no column `b`: give it one, or write {{ b | default(\"\") }}".to_owned()
        )
    );
    let (message, _) = fails(render("{{ a ~ b }}", json!({"a": 1})));
    assert_eq!(message, "train.jsonl, line 17: `data.text_template`, line 1, column 7: `b` is undefined");
    let (message, help) = fails(render("{{ row[\"my column\"] }}", json!({"a": 1, "b": 2})));
    assert_eq!(
        message,
        "train.jsonl, line 17: `data.text_template`, line 1, column 4: `row['my column']` is undefined"
    );
    assert_eq!(help, "the row has no such value (columns: a, b)");
    let (message, help) = fails(render("{{ a | nosuch }}", json!({"a": 1})));
    assert_eq!(
        message,
        "train.jsonl, line 17: `data.text_template`, line 1, column 8: unknown filter: filter nosuch is unknown"
    );
    assert_eq!(help, "correct `data.text_template`, or the row");
    assert_eq!(render("{{ b | default(\"-\") }}", json!({"a": 1})).unwrap(), "-");
}

#[test]
fn a_template_that_never_ends_is_stopped() {
    let loops = "{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}";
    let (message, help) = fails(render(loops, json!({"a": 1})));
    assert_eq!(message, "train.jsonl, line 17: `data.text_template`, line 1, column 1: engine ran out of fuel");
    assert_eq!(help, "the template does too much for one row: is there a loop in a loop?");
    let macros = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
    assert!(render(macros, json!({"a": 1})).is_err());
}

proptest! {
    #[test]
    fn no_template_panics(source in "[-{}%#|\\[\\]()a-c\"' .~+*/0-9\nifforendset]{0,40}") {
        let row = Record { line: 1, fields: IndexMap::from([("a".to_owned(), json!([1, "b", null]))]) };
        if let Ok(template) = Template::new(KEY, &source) {
            let _: Result<String, Error> = template.render(Path::new("a.jsonl"), &row);
        }
    }
}
