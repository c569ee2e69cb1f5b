//! Without the Hub: by choice, or because it cannot be reached.

use super::*;

#[test]
fn offline_a_complete_snapshot_is_enough_and_nothing_is_asked() {
    let mut hub = Hub::model();
    let online = hub.fetch("org/tiny").unwrap();
    hub.server.requests();
    hub.settings.offline = true;
    let snapshot = hub.fetch("org/tiny").unwrap();
    assert_eq!((snapshot.directory, snapshot.commit), (online.directory, online.commit));
    assert!(snapshot.unconfirmed.is_none(), "that is what was asked for");
    assert_eq!(hub.server.requests(), []);
}

#[test]
fn offline_an_incomplete_snapshot_says_what_is_missing() {
    let mut hub = Hub::model();
    hub.settings.offline = true;
    let complaint = |id: &str, missing: &str| {
        format!(
            "error: `HF_HUB_OFFLINE` is set and the cache has not all of {id}: {missing} is not there\nhelp: there is no \
             directory `{id}` either; run the command once without HF_HUB_OFFLINE, or copy CACHE/models--org--tiny from a \
             machine that has it"
        )
    };
    assert_eq!(hub.complaint("org/tiny"), complaint("org/tiny", "revision `main`"));
    hub.settings.offline = false;
    let snapshot = hub.fetch("org/tiny").unwrap();
    hub.settings.offline = true;
    std::fs::remove_file(snapshot.directory.join("model.safetensors")).unwrap();
    assert_eq!(hub.complaint("org/tiny"), complaint("org/tiny", "model.safetensors"));
    assert_eq!(hub.complaint("org/tiny@v2"), complaint("org/tiny@v2", "revision `v2`"));
    // Python may have brought a pickle, which says nothing of what else the Hub has.
    std::fs::write(snapshot.directory.join("pytorch_model.bin"), "pickle").unwrap();
    assert_eq!(hub.complaint("org/tiny"), complaint("org/tiny", "anything but the pickle pytorch_model.bin"));
}

#[test]
fn without_a_connection_the_cache_serves_and_says_so() {
    let mut hub = Hub::model();
    hub.fetch("org/tiny").unwrap();
    hub.settings.endpoint = nobody();
    let snapshot = hub.fetch("org/tiny").unwrap();
    assert_eq!(snapshot.commit, COMMIT);
    assert!(matches!(snapshot.unconfirmed, Some(HubError::NoConnection { .. })), "{:?}", snapshot.unconfirmed);
}

#[test]
fn a_hub_out_of_order_leaves_the_cache() {
    let hub = Hub::model();
    hub.fetch("org/tiny").unwrap();
    hub.server.fault("/api/", ALWAYS, Kind::Status(503, &[]));
    let snapshot = hub.fetch("org/tiny").unwrap();
    assert!(matches!(snapshot.unconfirmed, Some(HubError::Server { status: 503, .. })), "{:?}", snapshot.unconfirmed);
}

#[test]
fn without_a_connection_and_cache_both_readings_are_named() {
    let mut hub = Hub::model();
    hub.settings.endpoint = nobody();
    let complaint = hub.complaint("org/tiny");
    assert!(complaint.starts_with("error: cannot reach HUB: "), "{complaint}");
    let help = "\nhelp: check the network; behind a proxy set HTTPS_PROXY, for a mirror HF_ENDPOINT; there is no directory \
                `org/tiny`, and the cache of the Hub lacks revision `main`";
    assert!(complaint.ends_with(help), "{complaint}");
}

/// An address that refuses connections: the port was free a moment ago.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn a_revision_in_the_cache_is_not_believed_to_be_a_commit_if_it_is_none() {
    let mut hub = Hub::model();
    hub.fetch("org/tiny").unwrap();
    hub.settings.offline = true;
    std::fs::write(hub.repository().join("refs/main"), "../../../etc").unwrap();
    assert!(matches!(hub.fetch("org/tiny"), Err(HubError::Offline { .. })));
}

#[test]
fn a_snapshot_without_tokenizer_is_asked_for_even_at_a_commit() {
    let hub = Hub::model();
    let snapshot = hub.fetch("org/tiny").unwrap();
    std::fs::remove_file(snapshot.directory.join("tokenizer.json")).unwrap();
    hub.fetch(&format!("org/tiny@{COMMIT}")).unwrap();
    assert!(snapshot.directory.join("tokenizer.json").exists());
}
