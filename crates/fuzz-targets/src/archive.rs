//! Several files as one input: a byte with the length of the name, the name, four with that of the contents, the contents.

use std::fs;
use std::path::Path;

/// Files of one directory, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archive(pub Vec<(String, Vec<u8>)>);

impl Archive {
    /// Of bytes that are none, as much as can be made of them.
    pub fn of(mut bytes: &[u8]) -> Self {
        let mut files = Vec::new();
        while let Some((name, contents, rest)) = first(bytes) {
            files.push((name, contents));
            bytes = rest;
        }
        Self(files)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, contents) in &self.0 {
            bytes.push(name.len() as u8);
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(&(contents.len() as u32).to_le_bytes());
            bytes.extend_from_slice(contents);
        }
        bytes
    }

    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, contents)| contents.as_slice())
    }

    /// What lies in a directory of the repository, by these names.
    pub(crate) fn read(directory: &Path, names: &[&str]) -> Self {
        let file = |name: &&str| Some(((*name).to_owned(), fs::read(directory.join(name)).ok()?));
        Self(names.iter().filter_map(file).collect())
    }

    /// Lays the files into a directory. Names that lead elsewhere are passed over.
    pub(crate) fn lay(&self, directory: &Path) {
        for (name, contents) in &self.0 {
            // A directory may have the name of another's file.
            let _ = fs::write(directory.join(name), contents);
        }
    }
}

fn first(bytes: &[u8]) -> Option<(String, Vec<u8>, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let name = str::from_utf8(name).ok().filter(|name| !name.is_empty() && !name.starts_with('.'))?;
    let name = name.bytes().all(|byte| is_plain(&byte)).then(|| name.to_owned())?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (contents, rest) = rest.split_at(rest.len().min(u32::from_le_bytes(*length) as usize));
    Some((name, contents.to_vec(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_out_as_they_went_in_and_names_lead_nowhere_else() {
        let archive = Archive(vec![("a.json".to_owned(), b"{}".to_vec()), ("b".to_owned(), Vec::new())]);
        assert_eq!(Archive::of(&archive.bytes()), archive);
        for name in ["../a", "a/b", ".."] {
            assert_eq!(Archive::of(&Archive(vec![(name.to_owned(), Vec::new())]).bytes()), Archive::default());
        }
        assert_eq!(Archive::of(b"\xff"), Archive::default());
    }
}
