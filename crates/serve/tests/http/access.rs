//! Keys, and pages in browsers.

use serde_json::json;
use serve::{ApiKeys, Settings};

use crate::served::Models;

fn keys(text: &str) -> ApiKeys {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys");
    std::fs::write(&file, text).unwrap();
    ApiKeys::read(&file).unwrap()
}

#[test]
fn with_keys_only_those_who_show_one_are_answered() {
    let settings = Settings { api_keys: Some(keys("first\n\n  second  \n")), ..Settings::default() };
    let served = Models::of("bert-cls").serve_with(settings);
    let refused = served.get("/v1/models");
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    assert_eq!(refused.refused(), (401, "an API key is needed: send it as `Authorization: Bearer KEY`".to_string()));
    let with = |key: &str| served.get_with("/v1/models", &[("authorization", key)]);
    for wrong in ["Bearer firs", "Bearer first2", "Bearer ", "Basic first"] {
        assert_eq!(with(wrong).status, 401, "{wrong}");
    }
    assert_eq!(with("Bearer third").refused(), (401, "the API key is not one of this server's".to_string()));
    assert_eq!((with("Bearer first").status, with("bearer second").status), (200, 200));
    assert_eq!((served.get("/metrics").status, served.get("/openapi.json").status), (401, 401));
    assert_eq!((served.get("/health").status, served.get("/ready").status), (200, 200));
}

#[test]
fn a_file_without_keys_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys");
    std::fs::write(&file, "\n \n").unwrap();
    let error = ApiKeys::read(&file).unwrap_err();
    assert_eq!(error.to_string(), format!("{} has no API key", file.display()));
}

#[cfg(unix)]
#[test]
fn a_file_that_others_may_read_is_told_from_one_that_they_may_not() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys");
    std::fs::write(&file, "secret").unwrap();
    let with = |mode: u32| {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        serve::is_readable_by_all(&file)
    };
    assert_eq!([0o600, 0o640, 0o644, 0o604, 0o602].map(with), [false, false, true, true, false]);
    assert!(!serve::is_readable_by_all(&directory.path().join("none")));
}

#[test]
fn pages_of_other_sites_are_refused_unless_they_were_named() {
    let served = Models::of("bert-cls").serve();
    let with = |origin: &str| served.get_with("/v1/models", &[("origin", origin)]);
    let expected = "pages of other sites may not use this server: name theirs with `--cors-origin` if they are to";
    for origin in ["https://example.org", "null", "http://localhost:1"] {
        assert_eq!(with(origin).refused(), (403, expected.to_string()), "{origin}");
    }
    let own = with(&served.url(""));
    assert_eq!((own.status, own.header("access-control-allow-origin")), (200, None));
    // A name in the DNS that was turned to this machine.
    let host = format!("evil.example:{}", served.address.port());
    let turned = served.get_with("/v1/models", &[("origin", &format!("http://{host}")), ("host", &host)]);
    assert_eq!(turned.status, 403);
}

#[test]
fn on_the_loopback_interface_only_names_of_this_machine_are_answered() {
    let models = || Models::of("bert-cls");
    let ask = |served: &crate::served::Served, host: &str| served.get_with("/v1/models", &[("host", host)]);
    let served = models().serve();
    let expected = "the server listens on this machine alone and does not answer to the name `evil.example`: ask it by 127.0.0.1 \
                    or localhost, or name it with `--allowed-host` if a proxy passes it on";
    for host in ["evil.example", "evil.example:80"] {
        assert_eq!(ask(&served, host).refused(), (403, expected.to_string()));
    }
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:8080"] {
        assert_eq!(ask(&served, host).status, 200, "{host}");
    }
    let named = Settings { allowed_hosts: vec!["models.example.org".to_string()], ..Settings::default() };
    let served = models().serve_with(named);
    assert_eq!((ask(&served, "models.example.org").status, ask(&served, "evil.example").status), (200, 403));
    // So are its own pages, which a proxy has passed on.
    let of_page = [("host", "models.example.org"), ("origin", "https://models.example.org")];
    assert_eq!(served.get_with("/v1/models", &of_page).status, 200);
    let paged = Settings { cors_origins: vec!["https://models.example.org".to_string()], ..Settings::default() };
    let served = models().serve_with(paged);
    assert_eq!((ask(&served, "models.example.org").status, ask(&served, "evil.example").status), (200, 403));
}

#[test]
fn pages_that_were_named_may_read_the_answers() {
    let settings = Settings { cors_origins: vec!["https://example.org".to_string()], ..Settings::default() };
    let served = Models::of("bert-cls").serve_with(settings);
    let reply = served.get_with("/v1/models", &[("origin", "https://example.org")]);
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some("https://example.org")));
    let asked = [("origin", "https://example.org"), ("access-control-request-method", "POST")];
    let preflight = served.options("/v1/chat/completions", &asked);
    assert_eq!((preflight.status, preflight.header("access-control-allow-methods")), (204, Some("GET, POST")));
    assert_eq!(served.options("/v1/chat/completions", &[("origin", "https://example.com")]).status, 403);
}

#[test]
fn what_a_browser_sends_unasked_is_not_read() {
    let served = Models::of("bert-cls").serve();
    let body = json!({ "input": "good" }).to_string();
    let expected = (415, "the body should be JSON: send it with `Content-Type: application/json`".to_string());
    for kind in ["text/plain", "application/x-www-form-urlencoded"] {
        assert_eq!(served.post_with("/classify", &body, &[("content-type", kind)]).refused(), expected);
    }
    let compressed = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let expected = (415, "the body is compressed: send it without `Content-Encoding`".to_string());
    assert_eq!(served.post_with("/classify", &body, &compressed).refused(), expected);
    let with_charset = served.post_with("/classify", &body, &[("content-type", "Application/JSON; charset=utf-8")]);
    assert_eq!(with_charset.status, 200, "{with_charset:?}");
}
