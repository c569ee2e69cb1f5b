//! More connections than there are places: those that ask nothing keep nobody out.

use std::io::{ErrorKind, Read};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;
use serve::Settings;

use crate::served::{Models, Raw, Served};

const ASKED: &str = "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// A connection that has asked something, and is kept.
fn asked(served: &Served) -> Raw {
    let mut raw = served.connect();
    raw.send(ASKED);
    assert!(raw.read_until("\r\n\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
    raw
}

/// Whether the server has closed it, without a reset.
fn is_closed(raw: &mut Raw) -> bool {
    raw.0.set_nonblocking(true).unwrap();
    match raw.0.read(&mut [0; 64]) {
        Ok(0) => true,
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn idle_connections_give_their_places_to_new_ones_the_longest_idle_first() {
    let served = Models::of("bert-cls").serve_with(Settings { max_connections: 20, ..Settings::default() });
    let mut first = asked(&served);
    // Its answer is read here before the server counts it as idle, which the next connections need not wait for.
    sleep(Duration::from_millis(500));
    let mut idle: Vec<Raw> = (0..19).map(|_| served.connect()).collect();
    let start = Instant::now();
    assert_eq!(served.get("/health").status, 200);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(is_closed(&mut first), "it was idle before the others were there");
    let kept: Vec<Raw> = (0..6).map(|_| asked(&served)).collect();
    // The place of the first was free again.
    let closed: Vec<bool> = idle.iter_mut().map(is_closed).collect();
    assert_eq!(closed, [vec![true; 5], vec![false; 14]].concat());
    // One that nobody needed the place of is still answered.
    let mut last = idle.pop().unwrap();
    last.0.set_nonblocking(false).unwrap();
    last.send(ASKED);
    assert!(last.read_until("\r\n\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
    drop(kept);
}

#[test]
fn a_request_that_runs_or_comes_keeps_its_place() {
    let settings = Settings { max_connections: 3, max_inputs: 200, ..Settings::default() };
    let served = Models::decoder().busy().serve_with(settings);
    // Much longer than the places of the others take to become free, half a second each.
    let long = json!({ "prompt": vec!["a lamp is"; 200], "max_tokens": 200, "n": 16, "seed": 1, "stream": true });
    let mut running = served.begin("/v1/completions", &long);
    running.read_until("\"text\"");
    let mut begun = served.connect();
    begun.send("GET /health HTTP/1.1\r\nho");
    let mut idle = served.connect();
    // Each takes the place of the one before it.
    let mut others: Vec<Raw> = (0..3).map(|_| asked(&served)).collect();
    assert!(is_closed(&mut idle));
    assert_eq!(others.iter_mut().map(is_closed).collect::<Vec<_>>(), [true, true, false]);
    begun.send("st: localhost\r\n\r\n");
    assert!(begun.read_until("\r\n\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
    running.read_until("\"text\"");
    assert_eq!(served.metric("kindling_requests_running"), 1.0);
}
