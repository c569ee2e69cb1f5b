//! What can go wrong between a Hub id and its files on the disk.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum HubError {
    #[error("`HF_ENDPOINT` is `{value}`, which is not an http or https address")]
    #[diagnostic(help(
        "set it to an address such as https://huggingface.co, or remove it from the environment: that one is the default"
    ))]
    Endpoint { value: String },
    #[error("`{id}` is neither a directory here nor a repository at {endpoint}")]
    NotFound {
        id: String,
        endpoint: String,
        #[help]
        help: String,
    },
    #[error("{repository} has no revision `{revision}` at {endpoint}")]
    #[diagnostic(help(
        "a revision is a branch, a tag or a commit: {endpoint}/{repository}/commits/main lists the commits, and its menu the rest"
    ))]
    NoRevision { repository: String, revision: String, endpoint: String },
    #[error("{repository} is gated: it is for those who have accepted its conditions")]
    Gated {
        repository: String,
        #[help]
        help: String,
    },
    #[error("{endpoint} does not give {repository} to us (status {status})")]
    Refused {
        repository: String,
        endpoint: String,
        status: u16,
        #[help]
        help: String,
    },
    #[error("{repository} has no {file} at revision `{revision}`")]
    MissingFile {
        repository: String,
        revision: String,
        file: String,
        #[help]
        help: String,
    },
    #[error("{repository} has its weights only as {file}, not as safetensors")]
    #[diagnostic(help(
        "{file} is a Python pickle, which can run any code when it is read, so kindling does not: load it in Python with \
         from_pretrained(\"{repository}\"), save it with save_pretrained(DIR), and name that directory; or look for a \
         revision with safetensors among the pull requests at {endpoint}/{repository}/discussions"
    ))]
    Pickled { repository: String, endpoint: String, file: String },
    #[error("{repository} is quantised: {how}")]
    Quantised {
        repository: String,
        how: String,
        #[help]
        help: String,
    },
    #[error("{}: {reason}", file.display())]
    #[diagnostic(help("the repository is at fault: another revision of it may be whole"))]
    Index { file: PathBuf, reason: String },
    #[error("cannot reach {endpoint}: {reason}")]
    NoConnection {
        endpoint: String,
        reason: String,
        #[help]
        help: String,
    },
    #[error("the certificate of {endpoint} is not trusted: {reason}")]
    #[diagnostic(help(
        "another server may answer in its place, as where a network inspects its traffic. The roots of trust are Mozilla's, which are \
         part of kindling; others cannot be added. Fetch the model with another program, and name its directory"
    ))]
    Certificate { endpoint: String, reason: String },
    #[error("{endpoint} limits how often it may be asked, and that was too often")]
    Busy {
        endpoint: String,
        /// In how many seconds it may be asked again, if it has said so.
        retry_after: Option<u64>,
        #[help]
        help: String,
    },
    #[error("{endpoint} is out of order (status {status})")]
    #[diagnostic(help("try again later: https://status.huggingface.co tells how the Hub is"))]
    Server { endpoint: String, status: u16 },
    #[error("{url} answers what no Hub does: {reason}")]
    #[diagnostic(help("is HF_ENDPOINT right, and does the network need a login first?"))]
    Answer { url: String, reason: String },
    #[error("`HF_HUB_OFFLINE` is set and the cache has not all of {id}: {missing} is not there")]
    Offline {
        id: String,
        missing: String,
        #[help]
        help: String,
    },
    #[error("{file} of {repository} was interrupted at {done} of {total} bytes, {attempts} times in a row: {reason}")]
    #[diagnostic(help("run the command again: the download resumes"))]
    Cut { repository: String, file: String, done: u64, total: u64, attempts: u32, reason: String },
    #[error("{file} of {repository} has arrived damaged: its hash is {found}, and {expected} was promised")]
    #[diagnostic(help(
        "it has been deleted: run the command again; if that does not help, something on the way changes files"
    ))]
    Damaged { repository: String, file: String, expected: String, found: String },
    #[error("cannot write to the cache of the Hub, {}: {source}", path.display())]
    Cache {
        path: PathBuf,
        source: io::Error,
        #[help]
        help: &'static str,
    },
}

impl HubError {
    /// Whether what the user named is wrong, rather than the network, the Hub or the disk.
    pub fn is_of_input(&self) -> bool {
        match self {
            Self::Endpoint { .. }
            | Self::NotFound { .. }
            | Self::NoRevision { .. }
            | Self::Gated { .. }
            | Self::Refused { .. }
            | Self::MissingFile { .. }
            | Self::Pickled { .. }
            | Self::Quantised { .. }
            | Self::Index { .. } => true,
            Self::NoConnection { .. }
            | Self::Certificate { .. }
            | Self::Busy { .. }
            | Self::Server { .. }
            | Self::Answer { .. }
            | Self::Offline { .. }
            | Self::Cut { .. }
            | Self::Damaged { .. }
            | Self::Cache { .. } => false,
        }
    }

    /// Another attempt may succeed, and what is in the cache may serve meanwhile.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::NoConnection { .. } | Self::Busy { .. } | Self::Server { .. })
    }

    pub(super) fn cache(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| {
            let help = match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    "free some space, or set HF_HUB_CACHE to a directory on another disk; what has arrived is kept, and \
                     the next run resumes from there"
                }
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                    "set HF_HUB_CACHE to a directory that you may write to"
                }
                _ => "HF_HUB_CACHE names another place for the cache",
            };
            Self::Cache { path, source, help }
        }
    }
}
