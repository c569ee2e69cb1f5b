//! HTTP itself: methods, versions, heads that are too large, bodies in chunks.

use serde_json::json;

use crate::served::{Models, Served, user};

/// Status line and rest of what is answered to these bytes.
fn answer(served: &Served, request: &str) -> (String, String) {
    let mut raw = served.connect();
    raw.send(request);
    let answer = raw.rest();
    let (status, rest) = answer.split_once("\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    (status.to_string(), rest.to_string())
}

#[test]
fn another_method_is_refused_with_the_one_that_is_meant() {
    let served = Models::of("bert-cls").serve();
    for (method, path, allowed, meant) in [
        ("PUT", "/health", "GET,HEAD", "GET"),
        ("POST", "/v1/models", "GET,HEAD", "GET"),
        ("DELETE", "/v1/models/base", "GET,HEAD", "GET"),
        ("GET", "/classify", "POST", "POST"),
        ("OPTIONS", "/v1/chat/completions", "POST", "POST"),
        ("BREW", "/predict", "POST", "POST"),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let (status, rest) = answer(&served, &request);
        assert_eq!(status, "HTTP/1.1 405 Method Not Allowed", "{method} {path}");
        assert!(rest.contains(&format!("\r\nallow: {allowed}\r\n")), "{rest}");
        assert!(rest.contains(&format!("\"{path} is asked with {meant}, not with {method}\"")), "{rest}");
    }
}

#[test]
fn a_path_that_is_none_names_the_nearest() {
    let served = Models::of("bert-cls").serve();
    let refused = |path: &str| served.post(path, &json!({})).refused();
    let expected = "there is nothing at /v1/chat/completion: did you mean `/v1/chat/completions`?";
    assert_eq!(refused("/v1/chat/completion"), (404, expected.to_string()));
    let (status, message) = refused("/v1/embeddings");
    assert_eq!(status, 404);
    assert!(message.starts_with("there is nothing at /v1/embeddings: known: /, /v1/models, "), "{message}");
    let expected = "the name of a model in a path should be UTF-8";
    assert_eq!(served.get("/v1/models/%FF").refused(), (400, expected.to_string()));
    assert_eq!(served.get("/v1/models/..%2F..%2Fetc").status, 404);
}

#[test]
fn a_head_is_answered_without_a_body() {
    let served = Models::of("bert-cls").serve();
    let (status, rest) = answer(&served, "HEAD /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(rest.contains("content-type: application/json\r\n") && rest.ends_with("\r\n\r\n"), "{rest}");
}

#[test]
fn a_client_of_http_1_0_is_answered_until_the_connection_ends() {
    let served = Models::decoder().serve();
    let body = json!({ "prompt": "a lamp is", "max_tokens": 3, "temperature": 0, "stream": true }).to_string();
    let head = format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    let (status, rest) = answer(&served, &format!("POST /v1/completions HTTP/1.0\r\n{head}{body}"));
    assert_eq!(status, "HTTP/1.0 200 OK");
    assert!(!rest.contains("transfer-encoding"), "{rest}");
    assert!(rest.ends_with("data: [DONE]\n\n"), "{rest}");
}

#[test]
fn a_body_in_chunks_is_read() {
    let served = Models::of("bert-cls").serve();
    let head = "POST /classify HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let (status, rest) = answer(&served, &format!("{head}9\r\n{{\"input\":\r\n7\r\n\"good\"}}\r\n0\r\n\r\n"));
    assert_eq!(status, "HTTP/1.1 200 OK", "{rest}");
    assert!(rest.contains("\"num_classes\":3"), "{rest}");
    let (status, _) = answer(&served, &format!("{head}zz\r\n"));
    assert_eq!(status, "HTTP/1.1 400 Bad Request");
    assert_eq!(served.get("/health").status, 200);
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let served = Models::of("bert-cls").serve();
    let too_large = "HTTP/1.1 431 Request Header Fields Too Large";
    let many: String = (0..40_000).map(|number| format!("x-{number}: 1\r\n")).collect();
    assert_eq!(answer(&served, &format!("GET /health HTTP/1.1\r\n{many}\r\n")).0, too_large);
    // More than the limit, though it may come in one piece: hyper's buffer alone lets it pass.
    let with = |bytes: usize| {
        answer(
            &served,
            &format!(
                "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx: {}\r\n\r\n",
                "x".repeat(bytes)
            ),
        )
        .0
    };
    assert_eq!(with(65_536), too_large);
    assert_eq!(with(100_000), too_large);
    assert_eq!(with(65_000), "HTTP/1.1 200 OK");
    let long = "x".repeat(300_000);
    assert_eq!(answer(&served, &format!("GET /health HTTP/1.1\r\nx: {long}\r\n\r\n")).0, too_large);
    let (status, _) = answer(&served, &format!("GET /{long} HTTP/1.1\r\n\r\n"));
    assert!(status == too_large || status == "HTTP/1.1 414 URI Too Long", "{status}");
    assert_eq!(answer(&served, "\u{16}\u{3}\u{1} hello\r\n\r\n").0, "HTTP/1.1 400 Bad Request");
    assert_eq!(served.get("/health").status, 200);
}

#[test]
fn a_body_that_is_no_utf_8_is_refused_with_its_place() {
    let served = Models::decoder().serve();
    let mut raw = served.connect();
    let body = b"{\"prompt\": \"\xff\xfe\"}";
    raw.send(
        "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n",
    );
    raw.send(&format!("content-length: {}\r\n\r\n", body.len()));
    std::io::Write::write_all(&mut raw.0, body).unwrap();
    let answer = raw.rest();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains("\"the body is no JSON: invalid unicode code point at line 1 column 13\""), "{answer}");
    let half = "{\"prompt\": \"\\ud800\"}";
    let refused = served.post_with("/v1/completions", half, &[("content-type", "application/json")]).refused();
    assert_eq!(refused, (400, "the body is no JSON: unexpected end of hex escape at line 1 column 19".to_string()));
}

#[test]
fn two_requests_on_one_connection_are_answered_in_their_order() {
    let served = Models::decoder().serve();
    let body = |prompt: &str| json!({ "prompt": prompt, "max_tokens": 2, "temperature": 0 }).to_string();
    let request = |body: &str, connection: &str| {
        let head = format!("POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nconnection: {connection}\r\n");
        format!("{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let (first, second) = (body("a lamp is"), body("the sea"));
    let both = format!("{}{}", request(&first, "keep-alive"), request(&second, "close"));
    let (_, rest) = answer(&served, &both);
    let alone = |prompt: &str| {
        let body = json!({ "prompt": prompt, "max_tokens": 2, "temperature": 0 });
        served.post("/v1/completions", &body).done()["choices"].to_string()
    };
    let at = |prompt: &str| rest.find(&alone(prompt)).unwrap_or_else(|| panic!("{prompt} in {rest}"));
    assert!(at("a lamp is") < at("the sea"), "{rest}");
    assert_eq!(served.post("/v1/chat/completions", &json!({ "messages": user("hi"), "max_tokens": 1 })).status, 200);
}
