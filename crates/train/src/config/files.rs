//! The files of a split: a path, a pattern such as `data/*.csv`, or a list of both. Loaded, they are files that exist.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Written as a string where it is one path.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub(crate) struct Files(Vec<PathBuf>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    One(PathBuf),
    Several(Vec<PathBuf>),
}

impl Files {
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        Self(files)
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.0.iter().map(PathBuf::as_path)
    }
}

impl<P: Into<PathBuf>> From<P> for Files {
    fn from(path: P) -> Self {
        Self(vec![path.into()])
    }
}

impl From<Written> for Files {
    fn from(written: Written) -> Self {
        match written {
            Written::One(path) => path.into(),
            Written::Several(paths) => Self(paths),
        }
    }
}

impl From<Files> for Written {
    fn from(Files(mut paths): Files) -> Self {
        match (paths.len(), paths.pop()) {
            (0, _) => Self::One(PathBuf::new()),
            (1, Some(path)) => Self::One(path),
            (_, last) => {
                paths.extend(last);
                Self::Several(paths)
            }
        }
    }
}
