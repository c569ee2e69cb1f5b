//! The Hub against a server on this machine.

mod cached;
mod fetched;
mod interrupted;
mod refused;
#[path = "../../../../../tests/hub/server.rs"]
mod server;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use miette::Diagnostic;
use sha2::{Digest, Sha256};

use super::{HubError, HubId, Settings, Snapshot, Token, Wanted, fetch};
use server::{COMMIT, Kind, Request, Server, git_hash};

const ALWAYS: usize = usize::MAX;

/// More than one read's worth, and no two parts of it the same.
fn weights() -> Vec<u8> {
    (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as u8).collect()
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A server, a cache and a user.
struct Hub {
    server: Server,
    cache: tempfile::TempDir,
    settings: Settings,
}

impl Hub {
    /// `org/tiny`, empty.
    fn empty() -> Self {
        let server = Server::start("org/tiny");
        let cache = tempfile::tempdir().unwrap();
        let settings = Settings {
            endpoint: server.endpoint(),
            cache: cache.path().into(),
            token: None,
            offline: false,
            attempts: 3,
            pause: Duration::from_millis(1),
            patience: Duration::from_secs(60),
        };
        Self { server, cache, settings }
    }

    /// `org/tiny`, a whole model with more than is needed.
    fn model() -> Self {
        let hub = Self::empty();
        hub.server.file("README.md", "a model");
        hub.server.file("config.json", "{}");
        hub.server.file("tokenizer.json", r#"{"version": "1.0"}"#);
        hub.server.file("pytorch_model.bin", "pickle");
        hub.server.large_file("model.safetensors", weights(), &sha256(&weights()));
        hub
    }

    fn fetch(&self, id: &str) -> Result<Snapshot, HubError> {
        self.fetch_as(Wanted::Model, id)
    }

    fn fetch_as(&self, wanted: Wanted, id: &str) -> Result<Snapshot, HubError> {
        fetch(&HubId::parse(id).unwrap(), wanted, &self.settings, &|_| {})
    }

    /// The error of a fetch as the user sees it, with the server and the cache by name.
    fn complaint(&self, id: &str) -> String {
        self.shown(&self.fetch(id).unwrap_err())
    }

    fn shown(&self, error: &HubError) -> String {
        let help = error.help().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
        format!("error: {error}{help}")
            .replace(&self.settings.endpoint, "HUB")
            .replace(self.cache.path().to_str().unwrap(), "CACHE")
    }

    fn repository(&self) -> PathBuf {
        self.cache.path().join("models--org--tiny")
    }

    fn blob(&self, name: &str) -> PathBuf {
        self.repository().join("blobs").join(name)
    }

    /// The ranges in which the weights were asked for; `None` is from the start.
    fn ranges(&self) -> Vec<Option<String>> {
        let downloads = |request: &Request| request.method == "GET" && request.path.contains("/lfs/");
        self.server.requests().into_iter().filter(downloads).map(|request| request.range).collect()
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    names.sort_unstable();
    names
}
