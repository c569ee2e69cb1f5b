//! What a user names where a model or an adapter is expected: a directory, or a repository on the Hugging Face Hub.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a model or an adapter comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Directory(PathBuf),
    Hub(HubId),
}

/// A repository on the Hub, `name` or `org/name`, and the revision that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubId {
    pub repository: String,
    /// A branch, a tag or a commit; `None` for the default branch.
    pub revision: Option<String>,
}

impl Source {
    /// What is there on the disk is never looked for on the Hub. What is not there is a Hub id if it reads like one; all
    /// else is a directory, for whoever opens it to complain about.
    pub fn parse(text: &str) -> Self {
        if Path::new(text).exists() {
            return Self::Directory(text.into());
        }
        HubId::parse(text).map_or_else(|| Self::Directory(text.into()), Self::Hub)
    }
}

impl HubId {
    /// `name[@revision]` or `org/name[@revision]`. The revision becomes a path in the cache, so what would lead out of it
    /// is no revision.
    pub fn parse(text: &str) -> Option<Self> {
        let (repository, revision) = match text.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (text, None),
        };
        let well_formed = repository.split('/').count() <= 2
            && repository.split('/').all(is_name)
            && revision.is_none_or(is_revision);
        well_formed.then(|| Self { repository: repository.into(), revision: revision.map(Into::into) })
    }

    /// The revision by name, as the Hub wants to be asked.
    pub(super) fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        match &self.revision {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

/// The Hub's rule for users, organisations and repositories. It forbids `--`, which stands for `/` in the cache.
fn is_name(name: &str) -> bool {
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    letters && !name.is_empty() && !name.starts_with(['.', '-']) && !name.contains("--") && !name.contains("..")
}

/// What git takes for the name of a branch or a tag, less its finer points.
fn is_revision(revision: &str) -> bool {
    let letters = revision.chars().all(|letter| !letter.is_control() && !" ~^:?*[\\".contains(letter));
    letters && revision.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains(".."))
}

/// Whether a revision is a whole commit, which never changes what it names.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(repository: &str, revision: Option<&str>) -> Option<HubId> {
        Some(HubId { repository: repository.into(), revision: revision.map(Into::into) })
    }

    #[test]
    fn ids_are_names_with_and_without_organisation_and_revision() {
        assert_eq!(HubId::parse("gpt2"), id("gpt2", None));
        assert_eq!(HubId::parse("google-bert/bert-base-uncased"), id("google-bert/bert-base-uncased", None));
        assert_eq!(HubId::parse("Qwen/Qwen3-0.6B@refs/pr/3"), id("Qwen/Qwen3-0.6B", Some("refs/pr/3")));
        assert_eq!(HubId::parse("gpt2@v1.0"), id("gpt2", Some("v1.0")));
    }

    #[test]
    fn paths_and_what_would_leave_the_cache_are_no_ids() {
        let paths = ["", ".", "./model", "../model", "/models/bert", "~/bert", "a/b/c", "org/", "/name", "C:\\bert"];
        let escapes = ["org/..", "a/../b", "a--b", "org/name@", "org/name@../../x", "org/name@a//b", "org/name@a b"];
        for text in paths.into_iter().chain(escapes) {
            assert_eq!(HubId::parse(text), None, "{text}");
            assert_eq!(Source::parse(text), Source::Directory(text.into()), "{text}");
        }
    }

    #[test]
    fn what_exists_is_never_a_hub_id() {
        let directory = tempfile::tempdir().unwrap();
        let text = directory.path().to_str().unwrap();
        assert_eq!(Source::parse(text), Source::Directory(text.into()));
        assert_eq!(Source::parse("src"), Source::Directory("src".into()), "a directory that reads like an id");
        assert_eq!(Source::parse("Cargo.toml"), Source::Directory("Cargo.toml".into()), "a file that reads like an id");
    }

    proptest! {
        #[test]
        fn an_id_is_written_as_it_is_read(text in "[a-z.@/-]{0,12}|[a-z]{1,4}/[a-z]{1,4}@[a-z/.]{1,6}") {
            if let Some(id) = HubId::parse(&text) {
                prop_assert_eq!(id.to_string(), text);
            }
        }

        #[test]
        fn an_id_names_nothing_outside_the_cache(text in "\\PC{0,24}") {
            if let Some(id) = HubId::parse(&text) {
                let parts = format!("{}/{}", id.repository, id.revision());
                prop_assert!(parts.split('/').all(|part| !part.is_empty() && part != "." && part != ".."));
            }
        }
    }
}
