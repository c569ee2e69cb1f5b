//! The description of the endpoints, and what is at none of them.

use serde_json::json;

use crate::served::Models;

#[test]
fn every_path_that_is_described_is_answered() {
    let served = Models::of("bert-cls").serve();
    let description = served.get("/openapi.json").done();
    let paths = description["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 15);
    for (path, methods) in paths {
        let path = path.replace("{model}", "base");
        let (status, other) = match methods.as_object().unwrap().contains_key("get") {
            true => (served.get(&path).status, served.post(&path, &json!({}))),
            false => (served.post(&path, &json!({})).status, served.get(&path)),
        };
        assert!([200, 400, 403].contains(&status), "{path}: {status}");
        assert_eq!(other.status, 405, "{path}");
        assert!(other.header("allow").is_some(), "{path}");
    }
}
