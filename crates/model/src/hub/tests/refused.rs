//! What the Hub, a repository or the disk refuses: each by its own message.

use super::*;

const TYPED: &str = "org/tiny";

/// The complaint when the Hub answers so, to a user with and without a token.
fn answered(path: &str, status: u16, headers: &'static [(&'static str, &'static str)], token: Option<&str>) -> String {
    let mut hub = Hub::model();
    hub.settings.token = token.and_then(Token::new);
    hub.server.fault(path, ALWAYS, Kind::Status(status, headers));
    hub.complaint(TYPED)
}

#[test]
fn a_repository_that_is_not_there_names_both_readings() {
    let hub = Hub::model();
    let message = "error: `org/tny` is neither a directory here nor a repository at HUB\nhelp: check the spelling; if it is \
                   private, set HF_TOKEN to a token that may read it, or run `hf auth login`";
    assert_eq!(hub.complaint("org/tny"), message);
    // The Hub does not tell strangers whether a private repository exists.
    assert_eq!(answered("/api/", 401, &[("x-error-code", "RepoNotFound")], None), message.replace("tny", "tiny"));
    assert_eq!(
        answered("/api/", 404, &[("x-error-code", "RepoNotFound")], Some("hf_x")),
        "error: `org/tiny` is neither a directory here nor a repository at HUB\nhelp: check the spelling, and at \
         HUB/settings/tokens whether the token from HF_TOKEN or `hf auth login` is still valid and may read it"
    );
}

#[test]
fn a_revision_that_is_not_there() {
    let hub = Hub::model();
    assert!(hub.fetch("org/tiny@v9").unwrap_err().is_of_input());
    assert_eq!(
        hub.complaint("org/tiny@v9"),
        "error: org/tiny has no revision `v9` at HUB\nhelp: a revision is a branch, a tag or a commit: \
         HUB/org/tiny/commits/main lists the commits, and its menu the rest"
    );
}

#[test]
fn a_gated_repository_says_where_to_enter() {
    // Its files are listed for everyone, and given to few.
    let gated = |status, token| answered("/resolve/", status, &[("x-error-code", "GatedRepo")], token);
    assert_eq!(
        gated(401, None),
        "error: org/tiny is gated: it is for those who have accepted its conditions\nhelp: accept them at HUB/org/tiny, then \
         set HF_TOKEN to a token of that account, or run `hf auth login`"
    );
    assert_eq!(
        gated(403, Some("hf_x")),
        "error: org/tiny is gated: it is for those who have accepted its conditions\nhelp: accept them at HUB/org/tiny with \
         the account of the token in use (from HF_TOKEN or `hf auth login`); a fine-grained token must also be allowed to \
         read gated repositories"
    );
}

#[test]
fn a_refusal_without_a_reason_is_about_the_token() {
    assert_eq!(
        answered("/api/", 403, &[], Some("hf_x")),
        "error: HUB does not give org/tiny to us (status 403)\nhelp: check the spelling, and at HUB/settings/tokens whether \
         the token from HF_TOKEN or `hf auth login` is still valid and may read it"
    );
    assert!(
        answered("/api/", 401, &[], None).starts_with("error: HUB does not give org/tiny to us (status 401)\nhelp: ")
    );
}

#[test]
fn too_many_questions() {
    assert_eq!(
        answered("/api/", 429, &[("retry-after", "300")], None),
        "error: HUB limits how often it may be asked, and that was too often\nhelp: try again in 300 seconds; with a token \
         (HF_TOKEN or `hf auth login`) the limit is higher"
    );
    assert!(answered("/api/", 429, &[], Some("hf_x")).ends_with("\nhelp: try again later"));
}

#[test]
fn a_hub_out_of_order() {
    assert_eq!(
        answered("/api/", 502, &[], None),
        "error: HUB is out of order (status 502)\nhelp: try again later: https://status.huggingface.co tells how the Hub is"
    );
}

#[test]
fn a_passing_failure_passes() {
    for path in ["/api/", "/resolve/", "/lfs/"] {
        for status in [429, 500, 503] {
            let hub = Hub::model();
            hub.server.fault(path, 2, Kind::Status(status, &[]));
            assert!(hub.fetch(TYPED).is_ok(), "{path} {status}");
        }
    }
}

#[test]
fn a_long_wait_is_told_at_once() {
    let hub = Hub::model();
    hub.server.fault("/api/", ALWAYS, Kind::Status(429, &[("retry-after", "300")]));
    hub.fetch(TYPED).unwrap_err();
    assert_eq!(hub.server.requests().len(), 1);
}

#[test]
fn what_is_no_hub_is_not_taken_for_one() {
    let hub = Hub::model();
    hub.server.fault("/api/", 1, Kind::Text("<html>Welcome to the hotel</html>"));
    assert_eq!(
        hub.complaint(TYPED),
        "error: HUB/api/models/org/tiny/revision/main answers what no Hub does: expected value at line 1 column 1\nhelp: is \
         HF_ENDPOINT right, and does the network need a login first?"
    );
    hub.server.fault("/api/", 1, Kind::Text(r#"{"sha": "../../x", "siblings": []}"#));
    assert!(hub.complaint(TYPED).contains("`../../x` is no commit"));
    hub.server.fault("/resolve/", 1, Kind::Text("no etag"));
    assert!(hub.complaint(TYPED).contains("config.json answers what no Hub does: no hash and size"));
}

#[test]
fn redirections_that_lead_nowhere_are_named() {
    let hub = Hub::model();
    hub.server.fault("/api/", ALWAYS, Kind::Redirected(hub.server.endpoint()));
    assert_eq!(
        hub.complaint(TYPED),
        "error: cannot reach HUB: too many redirects\nhelp: check the network; behind a proxy set HTTPS_PROXY, for a mirror \
         HF_ENDPOINT; there is no directory `org/tiny`, and the cache of the Hub lacks revision `main`"
    );
    assert_eq!(hub.server.requests().len(), 11);
    hub.server.heal();
    hub.server.fault("/api/", ALWAYS, Kind::Redirected("file:///etc/passwd?".to_string()));
    assert_eq!(
        hub.complaint(TYPED),
        "error: HUB/api/models/org/tiny/revision/main answers what no Hub does: it redirects to \
         `file:///etc/passwd?/api/models/org/tiny/revision/main`\n\
         help: is HF_ENDPOINT right, and does the network need a login first?"
    );
}

#[test]
fn an_endpoint_that_is_no_address_is_named() {
    let mut hub = Hub::model();
    for typed in ["not a url", "huggingface.co", "ftp://x", "https://", "https://:443", "/hub"] {
        hub.settings.endpoint = typed.into();
        let error = hub.fetch(TYPED).unwrap_err();
        assert!(error.is_of_input(), "{typed}");
        assert_eq!(error.to_string(), format!("`HF_ENDPOINT` is `{typed}`, which is not an http or https address"));
    }
    hub.settings.offline = true;
    assert!(matches!(hub.fetch(TYPED), Err(HubError::Offline { .. })), "what is not used may be wrong");
}

#[test]
fn pickled_weights_are_never_fetched() {
    let hub = Hub::empty();
    hub.server.file("config.json", "{}");
    hub.server.file("pytorch_model.bin", "pickle");
    assert_eq!(
        hub.complaint(TYPED),
        "error: org/tiny has its weights only as pytorch_model.bin, not as safetensors\nhelp: pytorch_model.bin is a Python \
         pickle, which can run any code when it is read, so kindling does not: load it in Python with \
         from_pretrained(\"org/tiny\"), save it with save_pretrained(DIR), and name that directory; or look for a revision \
         with safetensors among the pull requests at HUB/org/tiny/discussions"
    );
    assert_eq!(names(hub.cache.path()), Vec::<String>::new());
}

#[test]
fn a_missing_file_is_named() {
    let hub = Hub::empty();
    hub.server.file("config.json", "{}");
    assert_eq!(
        hub.complaint(TYPED),
        "error: org/tiny has no model.safetensors at revision `main`\nhelp: a model has config.json, model.safetensors (or an \
         index and its shards) and a tokenizer"
    );
    hub.server.file("model.safetensors.index.json", r#"{"weight_map": {"a": "1.safetensors"}}"#);
    assert!(hub.complaint(TYPED).starts_with("error: org/tiny has no 1.safetensors at revision `main`\n"));
    let adapter = hub.fetch_as(Wanted::Adapter, TYPED).unwrap_err();
    assert_eq!(
        hub.shown(&adapter),
        "error: org/tiny has no adapter_config.json at revision `main`\nhelp: it holds a model, not an adapter"
    );
    let hub = Hub::empty();
    hub.server.file("adapter_config.json", "{}");
    assert_eq!(
        hub.complaint(TYPED),
        "error: org/tiny has no config.json at revision `main`\nhelp: it holds an adapter: name it where an adapter is \
         expected, and its base as the model"
    );
}

#[test]
fn an_index_that_leads_out_of_the_snapshot_is_refused() {
    let hub = Hub::empty();
    hub.server.file("config.json", "{}");
    hub.server.file("model.safetensors.index.json", r#"{"weight_map": {"a": "../../x"}}"#);
    assert_eq!(
        hub.complaint(TYPED),
        format!(
            "error: CACHE/models--org--tiny/snapshots/{COMMIT}/model.safetensors.index.json: `../../x` is not the name of a \
             shard\nhelp: the repository is at fault: another revision of it may be whole"
        )
    );
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let mut hub = Hub::model();
    let file = hub.cache.path().join("file");
    std::fs::write(&file, "").unwrap();
    hub.settings.cache = file;
    let complaint = hub.complaint(TYPED);
    assert!(complaint.starts_with("error: cannot write to the cache of the Hub, CACHE/file/"), "{complaint}");
    assert!(complaint.ends_with("\nhelp: HF_HUB_CACHE names another place for the cache"), "{complaint}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_says_how_to_make_room() {
    let hub = Hub::model();
    std::fs::create_dir_all(hub.repository().join("blobs")).unwrap();
    let partial = format!("{}.incomplete", sha256(&weights()));
    std::os::unix::fs::symlink("/dev/full", hub.blob(&partial)).unwrap();
    assert_eq!(
        hub.complaint(TYPED),
        format!(
            "error: cannot write to the cache of the Hub, CACHE/models--org--tiny/blobs/{partial}: No space left on device (os \
             error 28)\nhelp: free some space, or set HF_HUB_CACHE to a directory on another disk; what has arrived is kept, \
             and the next run resumes from there"
        )
    );
}

#[test]
fn a_quantised_repository_is_refused_before_its_weights_have_come() {
    let hub = Hub::model();
    hub.server.file(
        "config.json",
        r#"{"quantization_config": {"quant_method": "awq", "bits": 4}, "_name_or_path": "org/whole"}"#,
    );
    assert_eq!(
        hub.complaint(TYPED),
        "error: org/tiny is quantised: config.json says so (`quantization_config`: awq, 4 bits)\nhelp: take the unquantised \
         checkpoint: config.json says that it was made from org/whole; if its weights are not quantised after all, remove \
         `quantization_config` from config.json"
    );
    assert!(hub.ranges().is_empty(), "no weights were asked for");
}

#[test]
fn a_repository_of_gguf_files_alone_says_what_they_are() {
    let hub = Hub::empty();
    hub.server.file("model.Q4_K_M.gguf", "GGUF");
    assert_eq!(
        hub.complaint(TYPED),
        "error: org/tiny has no config.json at revision `main`\nhelp: its GGUF files are for llama.cpp, and mostly quantised: \
         name the repository of the unquantised checkpoint"
    );
}
