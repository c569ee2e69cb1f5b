//! The end of a server: running answers end, or are told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use serve::Settings;

use crate::served::{Models, fixture};

fn long(is_stream: bool) -> Value {
    json!({ "prompt": vec!["a lamp is"; 16], "max_tokens": 200, "n": 16, "seed": 1, "stream": is_stream })
}

#[test]
fn a_stream_in_the_middle_ends_before_the_server_does() {
    let mut served = Models::decoder().serve();
    let body = json!({ "prompt": "a lamp is", "max_tokens": 30, "temperature": 0, "stream": true });
    let mut stream = served.begin("/v1/completions", &body);
    stream.read_until("\"text\"");
    assert!(served.stop.stop());
    assert!(!served.stop.stop(), "it was to stop already");
    let rest = stream.rest();
    assert!(rest.contains("data: [DONE]"), "{rest}");
    assert!(!rest.contains("error"), "{rest}");
    served.ended().unwrap();
    assert!(std::net::TcpStream::connect(served.address).is_err(), "nobody listens any more");
}

#[test]
fn a_stream_that_takes_longer_than_the_grace_is_told() {
    let settings = Settings { grace: Duration::from_millis(50), ..Settings::default() };
    let mut served = Models::decoder().busy().serve_with(settings);
    let mut stream = served.begin("/v1/completions", &long(true));
    stream.read_until("\"text\"");
    // Neither ends within the grace, whenever its turn comes.
    let mut waiting = served.begin("/v1/completions", &long(false));
    served.wait_for("kindling_requests_waiting", 1.0);
    let start = Instant::now();
    served.stop.stop();
    let rest = stream.rest();
    let told: Vec<&str> = rest.lines().filter(|line| line.starts_with("data: {\"error\"")).collect();
    let expected = "the server is stopping: the answer is not complete";
    assert_eq!(told.len(), 1, "{rest}");
    let error: Value = serde_json::from_str(told[0].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((&error["error"]["message"], &error["error"]["code"]), (&json!(expected), &json!("stopping")));
    assert!(rest.contains("data: [DONE]"), "{rest}");
    let waited = waiting.rest();
    assert!(waited.starts_with("HTTP/1.1 503 Service Unavailable\r\n") && waited.contains(expected), "{waited}");
    served.ended().unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn a_server_without_requests_ends_at_once() {
    let mut served = Models::of("bert-cls").serve();
    assert_eq!(served.get("/ready").status, 200);
    // Whoever keeps a connection for later holds up nobody.
    let _idle = served.connect();
    let start = Instant::now();
    served.stop.stop();
    served.ended().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_thread_that_works_on_holds_up_no_end() {
    static BEGUN: AtomicBool = AtomicBool::new(false);
    let release_memory = || {
        BEGUN.store(true, Ordering::Relaxed);
        std::thread::sleep(Duration::from_secs(120));
    };
    let mut served = Models::decoder().serve_with(Settings { release_memory, ..Settings::default() });
    // What was freed goes back on one of the threads that templates are rendered on.
    let large = json!({ "prompt": "a".repeat(2 << 20), "max_tokens": 1 });
    assert_eq!(served.post("/v1/completions", &large).status, 400);
    while !BEGUN.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let start = Instant::now();
    served.stop.stop();
    served.ended().unwrap();
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn a_server_whose_base_was_written_to_is_not_ready() {
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture("llama-lm/model")).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), directory.path().join(entry.file_name())).unwrap();
    }
    let served = Models::at("base", directory.path().to_path_buf()).serve();
    assert_eq!(served.get("/ready").status, 200);
    let file = std::fs::File::options().write(true).open(directory.path().join("model.safetensors")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let answer = served.get("/ready");
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("changed_base")));
    assert_eq!(served.get("/health").status, 200);
}
