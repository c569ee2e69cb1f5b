//! `--set KEY=VALUE`: one key from the command line.

use serde::Deserialize;
use toml::Value;
use toml::de::ValueDeserializer;

use super::error::{ConfigError, Place};
use super::keys::{KEYS, Key, split, unknown};
use super::load::Entry;

/// Reads `KEY=VALUE`. VALUE is TOML; what is not, or does not fit a key that takes a string, is taken
/// as typed, so that nobody has to quote twice for the shell.
pub(super) fn entry(argument: &str) -> Result<Entry, ConfigError> {
    let Some((name, typed)) = argument.split_once('=') else {
        let argument = argument.to_owned();
        return Err(ConfigError::SetWithoutValue { argument });
    };
    checked(name.trim(), typed, Place::Set(argument.to_owned()))
}

/// A key with the value that was typed for it there.
pub(super) fn checked(name: &str, typed: &str, place: Place) -> Result<Entry, ConfigError> {
    let Some(key) = Key::find(name) else {
        return Err(no_key(name, place.of(name)));
    };
    let as_typed = || Value::String(typed.to_owned());
    let value = match parse(typed) {
        Some(value) if key.kind.may_be(&value) || !key.kind.takes_text() => value,
        Some(_) | None => as_typed(),
    };
    key.check(&value, typed, place.of(name))?;
    Ok(Entry { key, value, place })
}

fn parse(typed: &str) -> Option<Value> {
    Value::deserialize(ValueDeserializer::parse(typed).ok()?).ok()
}

fn no_key(name: &str, place: String) -> ConfigError {
    match KEYS.iter().find(|key| key.table == name && !name.is_empty()) {
        None => {
            let (table, name) = split(name);
            unknown(table, name, place)
        }
        Some(first) => ConfigError::SetTable {
            place,
            table: name.to_owned(),
            help: format!(
                "set one of its keys, for example `--set {name}.{}`",
                first.example().replacen(" = ", "=", 1)
            ),
        },
    }
}
