//! Models and adapters from the Hugging Face Hub: an id becomes a directory in the cache that Python shares with us, with
//! the files that are needed and no others. Nothing is asked of the network that the disk can answer, and nothing is
//! printed: the caller draws what [`Progress`] tells.
//!
//! The protocol is spoken here rather than by the `hf-hub` crate: its 1.0 begins a file anew after every cut, checks no
//! hash, does not tell that of a large file beforehand, and knows no `HF_HUB_OFFLINE`.

mod cache;
mod download;
mod error;
mod remote;
mod settings;
mod source;
#[cfg(test)]
mod tests;
mod wanted;

use std::path::PathBuf;

use crate::quantised::{QuantisedError, check_directory};

pub use error::HubError;
pub use settings::{Settings, Token};
pub use source::{HubId, Source};
pub use wanted::Wanted;

use cache::Cache;
use download::Download;
use remote::{Listing, Remote};
use source::is_commit;
use wanted::Lack;

/// How far the download of a file is, in bytes. `done` begins with what an earlier download has left, and goes back if
/// that turns out to be of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    pub file: &'a str,
    pub done: u64,
    pub total: u64,
}

/// A repository at one commit, on the disk.
#[derive(Debug)]
pub struct Snapshot {
    pub directory: PathBuf,
    pub commit: String,
    /// Why the Hub could not be asked whether the revision has moved on. The caller tells the user.
    pub unconfirmed: Option<HubError>,
}

/// Fetches what the cache does not have yet of `id`.
pub fn fetch(
    id: &HubId,
    wanted: Wanted,
    settings: &Settings,
    progress: &dyn Fn(Progress<'_>),
) -> Result<Snapshot, HubError> {
    let cache = Cache::of(id, settings);
    if settings.offline {
        return cached(id, wanted, &cache).map_err(|missing| offline(id, missing, settings));
    }
    if is_commit(id.revision())
        && let Ok(snapshot) = cached(id, wanted, &cache)
        && Wanted::has_tokenizer(&|file| cache.has(&snapshot.commit, file))
    {
        return Ok(snapshot);
    }
    let remote = Remote::new(id, settings)?;
    match remote.listing() {
        Ok(listing) => {
            let download = Download { id, settings, cache: &cache, remote: &remote, commit: &listing.commit, progress };
            complete(&download, wanted, &listing)
        }
        Err(error) if error.is_passing() || matches!(error, HubError::Certificate { .. }) => {
            match cached(id, wanted, &cache) {
                Ok(snapshot) => Ok(Snapshot { unconfirmed: Some(error), ..snapshot }),
                Err(missing) => Err(unreachable(id, &missing, error)),
            }
        }
        Err(error) => Err(error),
    }
}

/// Small files first: they say which the large ones are, and a repository that lacks one is refused before gigabytes of it
/// have arrived. The revision is remembered last, so that it never leads to half a snapshot.
fn complete(download: &Download<'_>, wanted: Wanted, listing: &Listing) -> Result<Snapshot, HubError> {
    let directory = download.cache.snapshot(&listing.commit);
    let has = |file: &str| listing.files.iter().any(|listed| listed == file);
    let is_gguf = |file: &String| file.ends_with(".gguf");
    let advice = match listing.files.iter().any(is_gguf) && wanted == Wanted::Model {
        true => {
            "its GGUF files are for llama.cpp, and mostly quantised: name the repository of the unquantised checkpoint"
        }
        false => wanted.advice(&has),
    };
    let lacks = |lack| refused(download, lack, advice);
    for file in wanted.first(&has).map_err(lacks)?.into_iter().chain(wanted.beside(&listing.files)) {
        download.file(file)?;
    }
    if wanted == Wanted::Model
        && let Err(QuantisedError::Checkpoint { how, help, .. }) = check_directory(&directory)
    {
        return Err(HubError::Quantised { repository: download.id.repository.clone(), how, help });
    }
    for file in wanted.weights(&has, &directory).map_err(lacks)? {
        download.file(&file)?;
    }
    download.cache.remember(download.id.revision(), &listing.commit)?;
    Ok(Snapshot { directory, commit: listing.commit.clone(), unconfirmed: None })
}

/// The snapshot in the cache, if it is complete, otherwise what is missing.
fn cached(id: &HubId, wanted: Wanted, cache: &Cache) -> Result<Snapshot, String> {
    let commit = cache.commit(id.revision()).ok_or_else(|| format!("revision `{}`", id.revision()))?;
    let directory = cache.snapshot(&commit);
    let has = |file: &str| cache.has(&commit, file);
    match wanted.first(&has).and_then(|_| wanted.weights(&has, &directory)) {
        Ok(_) => Ok(Snapshot { directory, commit, unconfirmed: None }),
        Err(Lack::Missing(file)) => Err(file),
        // That the cache has only a pickle does not say that the Hub has no more.
        Err(Lack::Pickled(file)) => Err(format!("anything but the pickle {file}")),
        Err(Lack::Index(reason)) => Err(format!("a readable index ({reason})")),
    }
}

fn refused(download: &Download<'_>, lack: Lack, advice: &str) -> HubError {
    let (repository, revision) = (download.id.repository.clone(), download.id.revision().to_string());
    match lack {
        Lack::Missing(file) => HubError::MissingFile { repository, revision, file, help: advice.into() },
        Lack::Pickled(file) => {
            HubError::Pickled { repository, endpoint: download.settings.endpoint.clone(), file: file.into() }
        }
        Lack::Index(reason) => {
            let file = download.cache.snapshot(download.commit).join("model.safetensors.index.json");
            HubError::Index { file, reason }
        }
    }
}

fn offline(id: &HubId, missing: String, settings: &Settings) -> HubError {
    let help = format!(
        "there is no directory `{id}` either; run the command once without HF_HUB_OFFLINE, or copy {} from a machine that \
         has it",
        Cache::of(id, settings).repository().display()
    );
    HubError::Offline { id: id.to_string(), missing, help }
}

/// Without a network both readings of what the user wrote are still open.
fn unreachable(id: &HubId, missing: &str, error: HubError) -> HubError {
    match error {
        HubError::NoConnection { endpoint, reason, help } => {
            let help = format!("{help}; there is no directory `{id}`, and the cache of the Hub lacks {missing}");
            HubError::NoConnection { endpoint, reason, help }
        }
        other => other,
    }
}
