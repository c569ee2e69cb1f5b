//! The paths of a configuration made absolute, and looked for.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::error::{ConfigError, PathKind, Place};
use super::files::Files;
use super::syntax::instead_of_escapes;
use super::written::Config;
use glob::{MatchOptions, Pattern, glob_with};
use model::hub::HubId;
use suggest::nearest_path;

/// What relative paths are relative to.
pub(super) struct Bases<'a> {
    /// Of the configuration file: for paths written in it.
    pub(super) file: &'a Path,
    /// For paths of `--set`, and for `output_dir` wherever it is written.
    pub(super) working: &'a Path,
    pub(super) places: &'a BTreeMap<String, Place>,
}

/// Makes the paths of inputs absolute; they must exist, but for a model that is an id of the Hub. `output_dir` stays as it was typed, relative to the working
/// directory.
pub(super) fn resolve(config: &mut Config, bases: &Bases<'_>) -> Result<(), ConfigError> {
    if let Some(path) = &config.output_dir {
        let output = bases.input("output_dir", path);
        if !output.absolute_in(bases.working)?.exists() {
            output.without_escapes()?;
        }
    }
    let input = bases.input("model.path", &config.model.path);
    config.model.path = input.model()?;
    if let Some(path) = &mut config.adapter.init_from {
        *path = bases.input("adapter.init_from", path).existing(PathKind::Directory)?;
    }
    config.data.train = bases.files("data.train", &config.data.train)?;
    if let Some(files) = &mut config.data.valid {
        *files = bases.files("data.valid", files)?;
    }
    Ok(())
}

impl<'a> Bases<'a> {
    /// The files that paths and patterns stand for, each once: rows of a file that is read twice would weigh double.
    fn files(&self, key: &str, files: &Files) -> Result<Files, ConfigError> {
        let mut found: Vec<PathBuf> = Vec::new();
        for path in files.iter() {
            for file in self.input(key, path).data()? {
                if found.contains(&file) {
                    let place = self.input(key, path).place;
                    return Err(ConfigError::FileTwice { place, file: file.display().to_string() });
                }
                found.push(file);
            }
        }
        Ok(Files::new(found))
    }

    fn input(&self, key: &str, path: &Path) -> Input<'a> {
        let place = self.places.get(key);
        let (base, origin) = match place {
            Some(Place::Set(_) | Place::Vary(_) | Place::Choice { .. }) => (self.working, "the working directory"),
            Some(Place::File { .. }) | None => (self.file, "the directory of the configuration"),
        };
        Input {
            place: place.map_or_else(|| format!("`{key}`"), |place| place.of(key)),
            typed: path.to_owned(),
            base,
            origin,
        }
    }
}

/// A path as typed.
struct Input<'a> {
    place: String,
    typed: PathBuf,
    base: &'a Path,
    /// `base` in words.
    origin: &'static str,
}

impl Input<'_> {
    fn absolute(&self) -> Result<PathBuf, ConfigError> {
        self.absolute_in(self.base)
    }

    fn absolute_in(&self, base: &Path) -> Result<PathBuf, ConfigError> {
        let joined = base.join(&self.typed);
        let path = without_dots(&std::path::absolute(&joined).unwrap_or(joined));
        if path.to_str().is_none() {
            let place = self.place.clone();
            let path = path.display().to_string();
            return Err(ConfigError::NotUtf8 { place, path });
        }
        Ok(path)
    }

    /// `"C:\temp\new"` is a text with a tab and a new line in it, which is no path of anybody's.
    fn without_escapes(&self) -> Result<(), ConfigError> {
        let typed = self.typed.to_string_lossy();
        let written: Option<String> =
            typed.chars().map(|it| if it.is_control() { as_escaped(it) } else { Some(it.to_string()) }).collect();
        let Some(path) = written.filter(|written| *written != typed) else { return Ok(()) };
        let help = instead_of_escapes(&path, true);
        let help = format!("in double quotes a backslash begins an escape, as `\\t` for a tab: write {help}");
        Err(ConfigError::ControlCharacters { place: self.place.clone(), path, help })
    }

    /// The file of this path or, where there is none and it is a pattern, the files that match it, sorted.
    fn data(&self) -> Result<Vec<PathBuf>, ConfigError> {
        if self.typed == Path::new("-") {
            let place = self.place.clone();
            return Err(ConfigError::StandardInput { place });
        }
        match self.pattern()? {
            Some(pattern) => self.matching(&pattern),
            None => Ok(vec![self.existing(PathKind::File)?]),
        }
    }

    /// `None` for a path without `*`, `?` and `[`, and for a file whose name has them.
    fn pattern(&self) -> Result<Option<String>, ConfigError> {
        let typed = self.typed.to_string_lossy();
        if !typed.contains(['*', '?', '[']) || self.absolute()?.exists() {
            return Ok(None);
        }
        // Only what was typed is a pattern: the directory it starts in may have such characters in its name.
        let base = Pattern::escape(&std::path::absolute(self.base).unwrap_or_default().to_string_lossy());
        Ok(Some(if self.typed.is_absolute() { typed.into_owned() } else { format!("{base}/{typed}") }))
    }

    fn matching(&self, pattern: &str) -> Result<Vec<PathBuf>, ConfigError> {
        let (place, typed) = (self.place.clone(), self.typed.display().to_string());
        let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
        let found = glob_with(pattern, options).map_err(|error| {
            let (place, pattern) = (place.clone(), typed.clone());
            ConfigError::Pattern { place, pattern, reason: error.msg.to_owned() }
        })?;
        let mut files: Vec<PathBuf> =
            found.filter_map(Result::ok).filter(|path| !path.is_dir()).map(|path| without_dots(&path)).collect();
        files.sort();
        match files.is_empty() {
            true => Err(ConfigError::NoMatch { place, pattern: typed, origin: self.origin }),
            false => Ok(files),
        }
    }

    /// A directory, or an id of the Hub as it was typed. With a directory of nearly that name around, a typing mistake is
    /// likelier than the Hub.
    fn model(&self) -> Result<PathBuf, ConfigError> {
        let typed = self.typed.to_string_lossy();
        let absolute = self.absolute()?;
        let Some(id) = HubId::parse(&typed).filter(|_| !absolute.exists()) else {
            return self.existing(PathKind::Directory);
        };
        match self.near(&absolute).filter(|_| id.revision.is_none()) {
            Some(near) => Err(ConfigError::NoModel {
                place: self.place.clone(),
                path: typed.to_string(),
                looked: absolute.display().to_string(),
                near,
            }),
            None => Ok(self.typed.clone()),
        }
    }

    fn existing(&self, kind: PathKind) -> Result<PathBuf, ConfigError> {
        let absolute = self.absolute()?;
        let exists = match kind {
            // Not `is_file`: a named pipe or `/dev/stdin` is the reader's to refuse.
            PathKind::File => absolute.exists() && !absolute.is_dir(),
            PathKind::Directory => absolute.is_dir(),
        };
        if exists {
            return Ok(absolute);
        }
        self.without_escapes()?;
        Err(ConfigError::NoPath {
            place: self.place.clone(),
            kind,
            path: self.typed.display().to_string(),
            looked: absolute.display().to_string(),
            help: self.help(kind, &absolute),
        })
    }

    fn help(&self, kind: PathKind, absolute: &Path) -> String {
        if absolute.exists() {
            return match kind {
                PathKind::File => "it is a directory: name the file in it".to_owned(),
                PathKind::Directory => "it is a file: name the directory it is in".to_owned(),
            };
        }
        if self.typed.to_string_lossy().starts_with(['"', '\'']) {
            return "the quotes were taken as a part of it, for it is no TOML: leave them out".to_owned();
        }
        if self.typed.starts_with("~") {
            return "write the path out: `~` is not replaced".to_owned();
        }
        match self.near(absolute) {
            Some(near) => format!("did you mean `{near}`?"),
            None if self.typed.is_absolute() => "write the path of one that exists".to_owned(),
            None => format!("relative paths start at {}", self.origin),
        }
    }

    /// A neighbour with a similar name, as it would have been typed.
    fn near(&self, absolute: &Path) -> Option<String> {
        let near = nearest_path(absolute, |_| true)?;
        Some(self.typed.with_file_name(near.file_name()?).display().to_string())
    }
}

/// The escape of one letter that TOML makes a control character of.
fn as_escaped(control: char) -> Option<String> {
    let letter = match control {
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        _ => return None,
    };
    Some(format!("\\{letter}"))
}

/// A path that was typed on the command line, as the configuration reads it.
pub(crate) fn absolute(path: &Path) -> io::Result<PathBuf> {
    Ok(without_dots(&std::env::current_dir()?.join(path)))
}

/// `/a/b/../c` as `/a/c`: paths are shown to people and written into files.
fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => _ = clean.pop(),
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}
