//! A method's settings as data: the keys of a configuration, what each takes, and what PEFT calls it. Reading files and
//! speaking of their lines is the binary's.

use std::ops::Bound;

use crate::methods;

/// A key of a method's configuration.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    /// PEFT's name, where it is another.
    pub alias: Option<&'static str>,
    pub kind: SettingKind,
    /// A value to show where the default says nothing, as TOML and JSON write it; empty where it does.
    pub example: &'static str,
    /// The key without which it does nothing, and a value of that to show.
    pub needs: Option<(&'static str, &'static str)>,
    /// What it does, for documents.
    pub effect: &'static str,
}

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SettingKind {
    /// An integer, at least this.
    Count(u32),
    Number(Bound<f64>, Bound<f64>),
    Flag,
    /// One of the words, where `_N` at the end of one stands for any number of at least 1.
    Word(&'static [&'static str]),
    /// A list of names, possibly empty.
    Names,
    /// Names (possibly none), or one regular expression.
    Modules,
    /// Names (one at least), or a word or one regular expression.
    Targets,
    /// The number of a layer, or a list of them.
    Layers,
    /// A rank for each pattern.
    Ranks,
    /// A number greater than 0 for each pattern.
    Alphas,
}

impl Setting {
    pub(crate) const fn new(name: &'static str, kind: SettingKind, effect: &'static str) -> Self {
        Self { name, alias: None, kind, example: "", needs: None, effect }
    }

    pub(crate) const fn such_as(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    pub(crate) const fn called(self, alias: &'static str) -> Self {
        Self { alias: Some(alias), ..self }
    }

    pub(crate) const fn needing(self, other: &'static str, example: &'static str) -> Self {
        Self { needs: Some((other, example)), ..self }
    }

    /// Whether it says which modules are meant, or which of them is meant how: two ways to say that are the same if they
    /// come to the same modules.
    pub fn is_of_modules(&self) -> bool {
        match self.kind {
            SettingKind::Names
            | SettingKind::Modules
            | SettingKind::Targets
            | SettingKind::Layers
            | SettingKind::Ranks
            | SettingKind::Alphas => true,
            SettingKind::Count(_) | SettingKind::Number(..) | SettingKind::Flag | SettingKind::Word(..) => false,
        }
    }
}

/// The keys of all methods, each once, in the order in which files are written.
pub fn settings() -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    for setting in methods::SETTINGS.iter().flat_map(|(_, settings)| *settings) {
        if !settings.iter().any(|known| known.name == setting.name) {
            settings.push(*setting);
        }
    }
    settings
}

/// The keys of the method of this name.
pub fn settings_of(method: &str) -> &'static [Setting] {
    methods::SETTINGS.iter().find(|(name, _)| *name == method).map_or(&[], |(_, settings)| settings)
}

// The keys that every method with targets has.
pub(crate) const TARGET_MODULES: Setting = Setting::new(
    "target_modules",
    SettingKind::Targets,
    "`all-linear`: every linear layer but the output layer; `auto`: PEFT's default for the architecture; names: modules whose path is or ends in one; a regular expression (Python's, `re.fullmatch`): modules whose whole path matches",
)
.such_as("[\"query\", \"value\"]");
pub(crate) const EXCLUDE_MODULES: Setting =
    Setting::new("exclude_modules", SettingKind::Modules, "Targets to leave out, by name or regular expression")
        .such_as("[\"pooler.dense\"]");
pub(crate) const MODULES_TO_SAVE: Setting = Setting::new(
    "modules_to_save",
    SettingKind::Names,
    "Modules that are trained in full and saved with the adapter; a classification head always is",
)
.such_as("[\"classifier\"]");
