//! What Prometheus reads.

use serde_json::json;

use crate::served::{Models, fixture};

#[test]
fn requests_and_tokens_are_counted_by_model() {
    let served = Models::of("llama-lm").adapter("tuned", fixture("llama-lm/adapter")).serve();
    let ask = |model: &str| {
        served
            .post("/v1/completions", &json!({ "model": model, "prompt": "the cat", "max_tokens": 3, "temperature": 0 }))
    };
    let usage = ask("tuned").done()["usage"].clone();
    ask("tuned").done();
    assert_eq!(ask("nobody").status, 404);
    let of = |name: &str| served.metric(&format!("{name}{{model=\"tuned\"}}"));
    assert_eq!(of("kindling_generation_tokens_total"), 2.0 * usage["completion_tokens"].as_f64().unwrap());
    assert_eq!(of("kindling_prompt_tokens_total"), 2.0 * usage["prompt_tokens"].as_f64().unwrap());
    assert_eq!(of("kindling_time_to_first_token_seconds_count"), 2.0);
    assert_eq!(
        of("kindling_time_per_output_token_seconds_count"),
        2.0 * (usage["completion_tokens"].as_f64().unwrap() - 1.0)
    );
    assert_eq!(of("kindling_request_seconds_count"), 2.0);
    let requests = |model: &str, status: u16| {
        served.metric(&format!(
            "kindling_requests_total{{path=\"/v1/completions\",model=\"{model}\",status=\"{status}\"}}"
        ))
    };
    assert_eq!((requests("tuned", 200), requests("", 404)), (2.0, 1.0), "names that nobody has are no labels");
    assert_eq!((served.metric("kindling_models"), served.metric("kindling_queue_capacity")), (2.0, 64.0));
    let page = served.get("/metrics");
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in page.body.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn a_refused_request_is_counted_as_its_models_where_that_is_served() {
    let served = Models::of("llama-lm").adapter("tuned", fixture("llama-lm/adapter")).serve();
    let completion = |model: &str, extra: &str| {
        let mut body = json!({ "model": model, "prompt": "the cat", "max_tokens": 1 });
        body[extra] = json!(1);
        assert_eq!(served.post("/v1/completions", &body).status / 100, 4);
    };
    completion("tuned", "foo");
    completion("nobody", "foo");
    assert_eq!(served.post("/classify", &json!({ "model": "base", "input": "a" })).status, 400);
    let requests = |path: &str, model: &str, status: u16| {
        served.metric(&format!("kindling_requests_total{{path=\"{path}\",model=\"{model}\",status=\"{status}\"}}"))
    };
    assert_eq!(requests("/v1/completions", "tuned", 400), 1.0);
    assert_eq!(requests("/v1/completions", "", 404), 1.0);
    assert_eq!(requests("/classify", "base", 400), 1.0, "one that cannot answer is known all the same");
}

#[test]
fn the_cache_is_empty_after_a_client_has_gone() {
    let served = Models::decoder().busy().serve();
    let used = "kindling_cache_used_bytes{of=\"texts\"}";
    let body = json!({ "prompt": vec!["a lamp is"; 16], "max_tokens": 200, "n": 16, "seed": 1, "stream": true });
    let mut stream = served.begin("/v1/completions", &body);
    stream.read_until("\"text\"");
    assert!(served.metric(used) > 0.0);
    drop(stream);
    served.wait_for("kindling_requests_running", 0.0);
    served.wait_for(used, 0.0);
}
