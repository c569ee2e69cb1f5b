//! What is fetched, where it lies, and what is asked for it.

use super::*;

#[test]
fn a_model_lies_in_the_cache_as_python_would_have_put_it() {
    let hub = Hub::model();
    let snapshot = hub.fetch("org/tiny").unwrap();
    assert_eq!(snapshot.commit, COMMIT);
    assert_eq!(snapshot.directory, hub.repository().join("snapshots").join(COMMIT));
    assert!(snapshot.unconfirmed.is_none());
    assert_eq!(names(&snapshot.directory), ["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(std::fs::read(snapshot.directory.join("model.safetensors")).unwrap(), weights());
    let mut blobs = [git_hash(b"{}"), git_hash(br#"{"version": "1.0"}"#), sha256(&weights())];
    blobs.sort_unstable();
    assert_eq!(names(&hub.repository().join("blobs")), blobs);
    assert_eq!(std::fs::read_to_string(hub.repository().join("refs/main")).unwrap(), COMMIT);
    #[cfg(unix)]
    assert_eq!(
        std::fs::read_link(snapshot.directory.join("config.json")).unwrap(),
        Path::new("../../blobs").join(git_hash(b"{}"))
    );
}

#[test]
fn a_model_that_is_there_costs_one_question_and_at_a_commit_none() {
    let hub = Hub::model();
    hub.fetch("org/tiny").unwrap();
    hub.server.requests();
    hub.fetch("org/tiny").unwrap();
    let paths: Vec<String> = hub.server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/api/models/org/tiny/revision/main"]);
    hub.fetch(&format!("org/tiny@{COMMIT}")).unwrap();
    assert_eq!(hub.server.requests(), []);
}

#[test]
fn branches_tags_and_commits_are_revisions() {
    let hub = Hub::model();
    hub.server.revision("feature/x");
    assert_eq!(hub.fetch("org/tiny@feature/x").unwrap().commit, COMMIT);
    assert_eq!(hub.server.requests()[0].path, "/api/models/org/tiny/revision/feature%2Fx");
    assert_eq!(std::fs::read_to_string(hub.repository().join("refs/feature/x")).unwrap(), COMMIT);
    assert_eq!(hub.fetch(&format!("org/tiny@{COMMIT}")).unwrap().commit, COMMIT);
}

#[test]
fn shards_are_fetched_by_the_index() {
    let hub = Hub::empty();
    hub.server.file("config.json", "{}");
    hub.server.file("model.safetensors.index.json", r#"{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}"#);
    for shard in ["1.safetensors", "2.safetensors", "other.safetensors"] {
        hub.server.large_file(shard, shard, &sha256(shard.as_bytes()));
    }
    let snapshot = hub.fetch("org/tiny").unwrap();
    let expected = ["1.safetensors", "2.safetensors", "config.json", "model.safetensors.index.json"];
    assert_eq!(names(&snapshot.directory), expected);
}

#[test]
fn an_adapter_is_its_own_files() {
    let hub = Hub::model();
    for file in ["adapter_config.json", "adapter_model.safetensors", "kindling.json"] {
        hub.server.file(file, file);
    }
    let snapshot = hub.fetch_as(Wanted::Adapter, "org/tiny").unwrap();
    let expected = ["adapter_config.json", "adapter_model.safetensors", "kindling.json", "tokenizer.json"];
    assert_eq!(names(&snapshot.directory), expected);
}

#[test]
fn an_adapter_of_adapterhub_is_its_own_files() {
    let hub = Hub::model();
    let own = ["adapter.safetensors", "adapter_config.json", "head_config.json", "model_head.safetensors"];
    own.into_iter().for_each(|file| hub.server.file(file, file));
    let snapshot = hub.fetch_as(Wanted::Adapter, "org/tiny").unwrap();
    assert_eq!(names(&snapshot.directory), [&own[..], &["tokenizer.json"]].concat());
}

#[test]
fn what_belongs_to_a_model_is_fetched_from_its_directories_too() {
    let hub = Hub::model();
    for file in ["additional_chat_templates/tool use.jinja", "tokenizer.model", "LICENSE", "onnx/tokenizer.json"] {
        hub.server.file(file, file);
    }
    let snapshot = hub.fetch("org/tiny").unwrap();
    let expected = [
        "LICENSE",
        "additional_chat_templates",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer.model",
    ];
    assert_eq!(names(&snapshot.directory), expected);
    let template = snapshot.directory.join("additional_chat_templates/tool use.jinja");
    assert_eq!(std::fs::read_to_string(template).unwrap(), "additional_chat_templates/tool use.jinja");
}

#[test]
fn an_empty_file_is_a_file() {
    let hub = Hub::model();
    hub.server.file("special_tokens_map.json", "");
    let snapshot = hub.fetch("org/tiny").unwrap();
    assert_eq!(std::fs::read(snapshot.directory.join("special_tokens_map.json")).unwrap(), b"");
}

#[test]
fn the_token_is_shown_to_the_hub_and_not_to_where_it_redirects() {
    let mut hub = Hub::model();
    hub.settings.token = Token::new("hf_secret");
    hub.fetch("org/tiny").unwrap();
    for request in hub.server.requests() {
        let expected = (!request.path.starts_with("/lfs/")).then(|| "Bearer hf_secret".to_string());
        assert_eq!(request.authorization, expected, "{request:?}");
    }
}

#[test]
fn the_token_stays_with_its_port_and_goes_along_within_the_hub() {
    let (mut hub, other) = (Hub::model(), Hub::model());
    hub.settings.token = Token::new("hf_secret");
    // Another program on the same host.
    hub.server.fault("/api/", 1, Kind::Redirected(other.server.endpoint()));
    hub.fetch("org/tiny").unwrap();
    assert_eq!(hub.server.requests()[0].authorization.as_deref(), Some("Bearer hf_secret"));
    let elsewhere = other.server.requests();
    assert_eq!(elsewhere.len(), 1, "{elsewhere:?}");
    assert_eq!(elsewhere[0].authorization, None);
    hub.server.fault("old/name", 1, Kind::Renamed("old/name"));
    hub.fetch("old/name").unwrap_err();
    let within: Vec<Option<String>> = hub.server.requests().into_iter().take(2).map(|it| it.authorization).collect();
    assert_eq!(within, vec![Some("Bearer hf_secret".to_string()); 2]);
}

#[test]
fn no_more_is_fetched_than_was_announced() {
    let hub = Hub::model();
    hub.server.fault("/lfs/", ALWAYS, Kind::Longer(64 << 20));
    let snapshot = hub.fetch("org/tiny").unwrap();
    assert_eq!(std::fs::read(snapshot.directory.join("model.safetensors")).unwrap(), weights());
    let blobs = hub.repository().join("blobs");
    let largest = names(&blobs).iter().map(|name| blobs.join(name).metadata().unwrap().len()).max();
    assert_eq!(largest, Some(weights().len() as u64));
}

#[test]
fn a_repository_is_found_under_its_old_name() {
    let hub = Hub::model();
    hub.server.fault("old/name", ALWAYS, Kind::Renamed("old/name"));
    let snapshot = hub.fetch("old/name").unwrap();
    assert_eq!(std::fs::read(snapshot.directory.join("model.safetensors")).unwrap(), weights());
    assert!(snapshot.directory.starts_with(hub.cache.path().join("models--old--name")));
}

#[test]
fn progress_goes_from_nothing_to_the_whole_of_each_file() {
    let hub = Hub::model();
    let seen = RefCell::new(Vec::new());
    let note = |progress: crate::hub::Progress<'_>| {
        seen.borrow_mut().push((progress.file.to_string(), progress.done, progress.total));
    };
    fetch(&HubId::parse("org/tiny").unwrap(), Wanted::Model, &hub.settings, &note).unwrap();
    let seen = seen.into_inner();
    let files: Vec<&str> = seen.chunk_by(|a, b| a.0 == b.0).map(|steps| steps[0].0.as_str()).collect();
    assert_eq!(files, ["config.json", "tokenizer.json", "model.safetensors"]);
    for steps in seen.chunk_by(|a, b| a.0 == b.0) {
        let last = &steps[steps.len() - 1];
        assert_eq!((steps[0].1, last.1), (0, last.2), "{}", last.0);
        assert!(steps.is_sorted(), "{steps:?}");
    }
    assert!(seen.iter().all(|(file, _, total)| file != "model.safetensors" || *total == 300_000));
}

#[test]
fn two_at_once_share_one_download() {
    let hub = Hub::model();
    std::thread::scope(|scope| {
        let fetches: Vec<_> = (0..4).map(|_| scope.spawn(|| hub.fetch("org/tiny").unwrap())).collect();
        for fetch in fetches {
            let snapshot = fetch.join().unwrap();
            assert_eq!(std::fs::read(snapshot.directory.join("model.safetensors")).unwrap(), weights());
        }
    });
    assert_eq!(hub.ranges(), [None]);
}

#[test]
fn the_server_hashes_as_git_does() {
    assert_eq!(git_hash(b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    assert_eq!(git_hash(b"hello world\n"), "3b18e512dba79e4c8300dd08aeb37f8e728b8dad");
    for length in 40..140 {
        let content = vec![b'x'; length];
        let header = format!("blob {length}\0");
        let expected = sha1::Sha1::new().chain_update(header).chain_update(&content).finalize();
        let expected: String = expected.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(git_hash(&content), expected, "{length} bytes");
    }
}
