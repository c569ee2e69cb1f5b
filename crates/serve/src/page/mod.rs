//! The page for people, at `GET /`: one document that holds its style and its script and asks this server alone. Which models
//! there are it reads from `/v1/models`, and what can be asked of each; nothing in it knows a task by its name.

use std::sync::LazyLock;

use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

const DOCUMENT: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
/// One script, in this order.
const SCRIPTS: [&str; 5] = [
    include_str!("text.js"),
    include_str!("server.js"),
    include_str!("write.js"),
    include_str!("classify.js"),
    include_str!("page.js"),
];

struct Page {
    document: String,
    policy: String,
}

static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let script = format!("\"use strict\";\n{}", SCRIPTS.concat());
    let policy = [
        "default-src 'none'",
        &format!("script-src {}", source(&script)),
        &format!("style-src {}", source(STYLE)),
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        // No text ever becomes markup.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ];
    Page {
        document: DOCUMENT.replacen("/*style*/", STYLE, 1).replacen("/*script*/", &script, 1),
        policy: policy.join("; "),
    }
});

/// An inline element by its hash, as a Content-Security-Policy names it.
fn source(text: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)))
}

pub(crate) async fn show() -> impl IntoResponse {
    const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, PAGE.policy.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (OPENER, "same-origin"),
        // Another version of the server has another page.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, PAGE.document.as_str())
}
