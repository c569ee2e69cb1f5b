//! The page for people, as it is sent. What it does is in `browser.rs`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::served::{Models, Reply, fixture};

fn page() -> Reply {
    let page = Models::of("bert-cls").serve().get("/");
    assert_eq!(page.status, 200);
    page
}

/// What stands in the only element of this name.
fn inline<'a>(page: &'a Reply, name: &str) -> &'a str {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let parts: Vec<&str> = page.body.split(open.as_str()).collect();
    let [_, from] = parts.as_slice() else { panic!("one <{name}>, not {}", parts.len() - 1) };
    let (inline, rest) = from.split_once(close.as_str()).unwrap();
    assert!(!rest.contains(close.as_str()));
    inline
}

#[test]
fn the_policy_of_the_page_allows_its_own_style_and_script_and_nothing_else() {
    let page = page();
    let source = |name: &str| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(inline(&page, name))));
    let expected = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        source("script"),
        source("style")
    );
    assert_eq!(page.header("content-security-policy"), Some(expected.as_str()));
    let headers = [
        ("content-type", "text/html; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cache-control", "no-cache"),
    ];
    for (name, value) in headers {
        assert_eq!(page.header(name), Some(value), "{name}");
    }
}

#[test]
fn the_page_is_one_small_document_that_names_no_other() {
    let page = page();
    assert!(page.body.len() < 48 << 10, "{} bytes", page.body.len());
    // The name of a namespace is no address.
    let body = page.body.replace("http://www.w3.org/2000/svg", "");
    for outside in ["http:", "https:", "//cdn", "@import", "url(", "src=", "<iframe", "import("] {
        assert!(!body.contains(outside), "{outside}");
    }
    // Texts are never markup, and no attribute is code.
    for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=\"", " onclick"] {
        assert!(!body.contains(way), "{way}");
    }
}

#[test]
fn the_models_say_what_can_be_asked_of_them() {
    let of = |models: Models| models.serve().get("/v1/models/tuned").done();
    let chat = Models::decoder().serve().get("/v1/models/tiny-decoder").done();
    assert_eq!(chat["endpoints"], json!(["/v1/chat/completions", "/v1/completions"]));
    assert_eq!(chat["columns"], json!([]));
    let without_template = of(Models::of("llama-lm").adapter("tuned", fixture("llama-lm/adapter")));
    assert_eq!(without_template["endpoints"], json!(["/v1/completions"]));
    let classifier = of(Models::of("bert-cls").adapter("tuned", fixture("bert-cls/trained")));
    assert_eq!(classifier["endpoints"], json!(["/classify", "/predict"]));
    assert_eq!(classifier["columns"], json!(["text"]));
}
