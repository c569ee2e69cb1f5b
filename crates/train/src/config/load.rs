//! From a file and the `--set` arguments to a checked configuration.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use lora::Method;
use serde::Deserialize;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Table, Value};

use super::error::{ConfigError, Place, line_and_column};
use super::keys::{KEYS, Key, TABLES, dotted, has, unknown};
use super::paths::{self, Bases};
use super::set;
use super::syntax::Slip;
use super::validate;
use super::vary::Choice;
use super::written::Config;

/// A configuration and where its values are from.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    /// Its paths are absolute, and those of inputs exist.
    pub(crate) config: Config,
    /// The keys that the file or `--set` wrote: `adapter.r`.
    pub(crate) written: BTreeSet<String>,
    /// The file's name without its ending.
    pub(crate) name: String,
    /// The file itself, absolute; `None` for a draft.
    pub(crate) file: Option<PathBuf>,
    places: BTreeMap<String, Place>,
}

impl Loaded {
    /// A configuration that no file holds yet; its paths are absolute.
    pub(crate) fn draft(config: Config) -> Self {
        Self { config, written: BTreeSet::new(), name: "draft".to_owned(), file: None, places: BTreeMap::new() }
    }

    /// The file that says what was written and no more, with absolute paths: a run of it is a run of this.
    pub(crate) fn as_written(&self) -> String {
        self.config.to_toml_of(|key| self.written.contains(&key.dotted()))
    }

    /// Whether `--set` gave `key` its value.
    pub(crate) fn is_set(&self, key: &str) -> bool {
        matches!(self.places.get(key), Some(Place::Set(_)))
    }

    /// Where `key` was written, as the beginning of a message: `` `train.r` in sst2.toml, line 14 ``,
    /// `` `--set train.r=3` ``, or `` `train.r` `` for a default.
    pub(crate) fn place(&self, key: &str) -> String {
        self.places.get(key).map_or_else(|| format!("`{key}`"), |place| place.of(key))
    }
}

/// A key with its value, checked.
pub(super) struct Entry {
    pub(super) key: &'static Key,
    pub(super) value: Value,
    pub(super) place: Place,
}

/// Reads `file` (relative to `working_directory`) and lays `sets` over it, the later over the earlier.
///
/// # Errors
/// The first thing that is wrong: of the text, then of keys and values in the order of the file and of
/// `sets`, then between values, then on disk.
pub(crate) fn load(file: &Path, sets: &[String], working_directory: &Path) -> Result<Loaded, ConfigError> {
    load_text(&read(file, working_directory)?, file, sets, working_directory)
}

/// As `load`, of the candidate of a comparison of `methods` that has these choices: keys that its method does not have are passed
/// over, for they are there for another candidate. Of `sets` only those are that another of `methods` has.
pub(crate) fn load_candidate(
    file: &Path,
    sets: &[String],
    choices: &[Choice],
    methods: &[String],
    working_directory: &Path,
) -> Result<Loaded, ConfigError> {
    let text = read(file, working_directory)?;
    let mut entries = entries(&text, file, sets)?;
    for choice in choices {
        put(&mut entries, choice.entry()?);
    }
    let method = written_method(&entries);
    let is_of_another = |key: &Key| methods.iter().filter_map(|name| Method::named(name)).any(|it| has(&it, key.name));
    entries.retain(|Entry { key, place, .. }| {
        let is_foreign = key.table == "adapter" && !has(&method, key.name);
        match place {
            Place::File { .. } => !is_foreign,
            Place::Set(_) => !(is_foreign && is_of_another(key)),
            Place::Vary(_) | Place::Choice { .. } => true,
        }
    });
    complete(entries, file, working_directory)
}

/// The method that `file` and `sets` name, whatever else they say.
///
/// # Errors
/// What is wrong with the text, a key or a value.
pub(crate) fn method_of(file: &Path, sets: &[String], working_directory: &Path) -> Result<Method, ConfigError> {
    let text = read(file, working_directory)?;
    Ok(written_method(&entries(&text, file, sets)?))
}

/// As `load`, of the text that `file` has or will have.
pub(crate) fn load_text(
    text: &str,
    file: &Path,
    sets: &[String],
    working_directory: &Path,
) -> Result<Loaded, ConfigError> {
    complete(entries(text, file, sets)?, file, working_directory)
}

/// What `text` and `sets` write.
fn entries(text: &str, file: &Path, sets: &[String]) -> Result<Vec<Entry>, ConfigError> {
    let mut entries = Document { file, text }.entries()?;
    check_aliases(&entries)?;
    for argument in sets {
        put(&mut entries, set::entry(argument)?);
    }
    Ok(entries)
}

/// In place of what the key had.
fn put(entries: &mut Vec<Entry>, entry: Entry) {
    entries.retain(|earlier| !std::ptr::eq(earlier.key, entry.key));
    entries.push(entry);
}

fn written_method(entries: &[Entry]) -> Method {
    method(entries.iter().find(|entry| entry.key.dotted() == "adapter.method").map(|entry| &entry.value))
}

/// The method that is written so; `keys.rs` lets no other names through.
fn method(written: Option<&Value>) -> Method {
    match written.and_then(Value::as_str) {
        Some(name) => Method::named(name).expect("keys.rs lets no other names through"),
        None => Method::default(),
    }
}

fn complete(entries: Vec<Entry>, file: &Path, working_directory: &Path) -> Result<Loaded, ConfigError> {
    require(&entries, "model.path", file)?;
    require(&entries, "data.train", file)?;

    let mut loaded = assemble(entries, file);
    validate::combinations(&loaded)?;
    let path = working_directory.join(file);
    loaded.file = Some(path.clone());
    let bases =
        Bases { file: path.parent().unwrap_or(working_directory), working: working_directory, places: &loaded.places };
    paths::resolve(&mut loaded.config, &bases)?;
    Ok(loaded)
}

fn read(file: &Path, working_directory: &Path) -> Result<String, ConfigError> {
    let path = working_directory.join(file);
    let typed = file.display().to_string();
    let bytes = fs::read(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ConfigError::NoConfiguration {
            help: match suggest::nearest_path(&path, |_| true).as_deref().and_then(Path::file_name) {
                Some(near) => format!("did you mean `{}`?", file.with_file_name(near).display()),
                None => "write the path of a TOML file".to_owned(),
            },
            file: typed.clone(),
        },
        _ => ConfigError::Read { file: typed.clone(), source },
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let (line, column) = line_and_column(&String::from_utf8_lossy(error.as_bytes()), valid);
        ConfigError::NotText { file: typed, line, column }
    })
}

/// The text of a configuration file.
struct Document<'a> {
    file: &'a Path,
    text: &'a str,
}

/// A key of the document with its bytes in the text.
type DeKey<'a> = Spanned<Cow<'a, str>>;

impl Document<'_> {
    /// All keys of the document, in its order.
    fn entries(&self) -> Result<Vec<Entry>, ConfigError> {
        let document = DeTable::parse(self.text).map_err(|error| self.syntax(&error))?;
        let mut entries = Vec::new();
        for (name, value) in document.into_inner() {
            if !TABLES[1..].contains(&name.get_ref().as_ref()) {
                entries.push(self.entry("", &name, value)?);
                continue;
            }
            let span = value.span();
            let DeValue::Table(table) = value.into_inner() else {
                return Err(self.no_table(&name, span));
            };
            for (key, value) in table {
                entries.push(self.entry(name.get_ref(), &key, value)?);
            }
        }
        Ok(entries)
    }

    fn entry(&self, table: &str, name: &DeKey<'_>, value: Spanned<DeValue<'_>>) -> Result<Entry, ConfigError> {
        let full = dotted(table, name.get_ref());
        let mut place = self.place(name);
        // A quoted key may hold a dot and read like a key of a table.
        let Some(key) = Key::find(&full).filter(|key| key.is_called(name.get_ref())) else {
            return Err(unknown(table, name.get_ref(), place.of(&full)));
        };
        let found = self.text.get(value.span()).unwrap_or_default();
        let misfit = || ConfigError::value(place.of(&full), key, found, key.kind.expected());
        let value = Value::deserialize(ValueDeserializer::from(value)).map_err(|_| misfit())?;
        key.check(&value, found, place.of(&full))?;
        if let Place::File { alias, .. } = &mut place {
            *alias = (full != key.dotted()).then_some(full);
        }
        Ok(Entry { key, value, place })
    }

    fn place(&self, key: &DeKey<'_>) -> Place {
        Place::File {
            file: self.file.display().to_string(),
            line: line_and_column(self.text, key.span().start).0,
            alias: None,
        }
    }

    fn no_table(&self, name: &DeKey<'_>, value: Range<usize>) -> ConfigError {
        let table = name.get_ref();
        let key = KEYS.iter().find(|key| key.table == table.as_ref());
        ConfigError::not_a_table(
            self.place(name).of(table),
            self.text.get(value).unwrap_or_default(),
            format!(
                "write `[{table}]` and below it its keys, one a line, for example `{}`",
                key.map_or_else(String::new, Key::example)
            ),
        )
    }

    fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let start = error.span().map_or(0, |span| span.start);
        let (line, column) = line_and_column(self.text, start);
        let message = error.message().to_owned();
        let help = Slip::new(self.text, start, &message).help();
        ConfigError::Syntax { file: self.file.display().to_string(), line, column, message, help }
    }
}

/// A key may be written under PEFT's name, but not under both.
fn check_aliases(entries: &[Entry]) -> Result<(), ConfigError> {
    for (i, Entry { key, place, .. }) in entries.iter().enumerate() {
        if let Some(earlier) = entries[..i].iter().find(|earlier| std::ptr::eq(earlier.key, *key)) {
            let key = key.dotted();
            return Err(ConfigError::Both { place: place.of(&key), other: earlier.place.of(&key) });
        }
    }
    Ok(())
}

fn require(entries: &[Entry], key: &str, file: &Path) -> Result<(), ConfigError> {
    if entries.iter().any(|entry| entry.key.dotted() == key) {
        return Ok(());
    }
    let help =
        Key::find(key).map_or_else(String::new, |key| format!("write under [{}]: `{}`", key.table, key.example()));
    Err(ConfigError::Missing { key: key.to_owned(), file: file.display().to_string(), help })
}

/// Fills in the defaults.
fn assemble(entries: Vec<Entry>, file: &Path) -> Loaded {
    let mut document = Table::new();
    let mut places = BTreeMap::new();
    for Entry { key, value, place } in entries {
        places.insert(key.dotted(), place);
        let table = match key.table {
            "" => &mut document,
            table => document
                .entry(table)
                .or_insert_with(|| Value::Table(Table::new()))
                .as_table_mut()
                .expect("no key at the top has the name of a table"),
        };
        table.insert(key.name.to_owned(), value);
    }
    if let Some(Value::Table(adapter)) = document.get_mut("adapter") {
        // The method decides which other keys there are, and what they are by default.
        let defaults = Table::try_from(method(adapter.get("method"))).expect("settings are TOML");
        for (key, value) in defaults {
            adapter.entry(key).or_insert(value);
        }
    }
    Loaded {
        config: Config::deserialize(document).expect("keys.rs lets no other values through"),
        written: places.keys().cloned().collect(),
        name: file.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        file: None,
        places,
    }
}
