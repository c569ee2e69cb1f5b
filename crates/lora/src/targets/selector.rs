//! What becomes of each module, decided while the model is built; and once it is built, whether everything that was
//! configured found a module.

use std::collections::BTreeSet;

use super::TargetError;
use super::entry::{Entry, Match};
use super::layers::Layers;
use super::path::{lies_in, saves, with_ancestors};
use super::seen::{Seen, TARGET_MODULES, unknown};
use super::shorten::shorten;
use crate::Method;
use crate::config::{Names, Targets};
use crate::peft::STANDARD_HEADS;

/// What the loader is about to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Linear,
    /// `lm_head` or a classification head: left out of `all-linear`.
    OutputLinear,
    Embedding,
    /// torch's `LayerNorm`, with a bias or without; other norms are [`Other`](Self::Other).
    LayerNorm,
    Other,
}

/// What becomes of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    Adapted,
    /// Trained in full and saved with the adapter.
    Saved,
    Untouched,
}

/// Whose settings a selector goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settings {
    /// A user's, for an adapter that is to be trained: what finds no module is a mistake.
    New,
    /// A finished adapter's, whose tensors say what was adapted: PEFT's rules decide, and what finds no module is idle.
    Finished,
}

/// Decides by path; remembers what was found, for the adapter's configuration and for [`finish`](Self::finish).
#[derive(Debug)]
pub struct Selector {
    settings: Settings,
    /// Which kinds of modules can be adapted.
    method: Method,
    /// `None` is `all-linear`.
    targets: Option<Vec<Entry>>,
    exclude: Vec<Entry>,
    layers: Option<Layers>,
    modules_to_save: Vec<Entry>,
    configured: Targets,
    seen: Vec<Seen>,
    matched: Vec<String>,
    problem: Option<TargetError>,
}

impl Selector {
    /// `None` for a method that adapts no module.
    ///
    /// # Errors
    /// Settings that are wrong whatever the model is: a bad expression, a rank of 0, an empty name, a combination that
    /// PEFT refuses.
    pub fn of(method: &Method, settings: Settings) -> Result<Option<Self>, TargetError> {
        method.check()?;
        let Some(config) = method.targets() else { return Ok(None) };
        let targets = match &config.target_modules {
            Targets::AllLinear => None,
            Targets::Auto => Some(Vec::new()),
            Targets::Names(names) => Some(Entry::of(TARGET_MODULES, names)?),
        };
        if targets.as_ref().is_some_and(Vec::is_empty) {
            return Err(TargetError::NoTargets);
        }
        Ok(Some(Self {
            settings,
            method: method.clone(),
            targets,
            exclude: config.exclude_modules.as_ref().map_or(Ok(vec![]), |names| Entry::of("exclude_modules", names))?,
            layers: Layers::new(config)?,
            modules_to_save: Entry::list("modules_to_save", &config.modules_to_save)?,
            configured: config.target_modules.clone(),
            seen: vec![],
            matched: vec![],
            problem: None,
        }))
    }

    /// What becomes of the module at `path`, without PEFT's prefix. The loader calls this once for every module that
    /// holds parameters, while the model is built; a contradiction found here is reported by [`finish`](Self::finish).
    pub fn select(&mut self, path: &str, kind: Kind) -> Selection {
        self.decide(path, kind).unwrap_or_else(|problem| {
            self.problem.get_or_insert(problem);
            Selection::Untouched
        })
    }

    /// The adapted modules in the order in which they were built.
    pub fn matched(&self) -> &[String] {
        &self.matched
    }

    /// `target_modules` for `adapter_config.json`, from which PEFT selects the same modules. `all-linear` becomes the
    /// list of full names, or from 20 names on the suffixes that single them out.
    pub fn names_written(&self) -> Names {
        let names: BTreeSet<&str> = match &self.configured {
            Targets::AllLinear => shorten(self.matched.iter().map(String::as_str).collect(), &self.seen),
            Targets::Names(Names::List(names)) => names.iter().map(String::as_str).collect(),
            Targets::Names(Names::Pattern(pattern)) => return Names::Pattern(pattern.clone()),
            Targets::Auto => BTreeSet::new(),
        };
        Names::List(names.into_iter().map(str::to_owned).collect())
    }

    /// Whether the settings can be for the model, once it is built.
    ///
    /// # Errors
    /// Modules that cannot be adapted, or none that is; of new settings also the first name, pattern or layer that found no
    /// module, with the nearest ones.
    pub fn finish(&self) -> Result<(), TargetError> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        let wrong = match self.settings {
            Settings::New => self.without_module().or_else(|| self.without_effect()),
            Settings::Finished if self.matched.is_empty() => self.without_module().or_else(|| self.without_effect()),
            Settings::Finished => None,
        };
        wrong.map_or(Ok(()), Err)
    }

    /// What found no module, once the model is built: a mistake in new settings, idle in those of a finished adapter.
    /// Targets that are excluded as well are not among it, for PEFT itself writes such lists.
    pub fn idle(&self) -> Vec<TargetError> {
        let named = self.named().filter(|entry| !entry.found).map(|entry| unknown(entry, &self.seen));
        let layers = self.layers.as_ref().filter(|layers| layers.asked()).and_then(|layers| layers.check().err());
        named.chain(layers).collect()
    }

    fn named(&self) -> impl Iterator<Item = &Entry> {
        let saved = self.modules_to_save.iter().filter(|entry| !STANDARD_HEADS.contains(&entry.text.as_str()));
        self.targets.iter().flatten().chain(&self.exclude).chain(saved)
    }

    fn without_module(&self) -> Option<TargetError> {
        self.named().find(|entry| !entry.found).map(|entry| unknown(entry, &self.seen))
    }

    fn decide(&mut self, path: &str, kind: Kind) -> Result<Selection, TargetError> {
        let mut excluded = false;
        for entry in &mut self.exclude {
            excluded |= entry.matches(path)? != Match::No;
        }
        let (saved, whole_segments) = self.saved_by(path);
        let kept_out = excluded || whole_segments;
        let is_adaptable = self.method.check_kind(path, kind).is_ok() && !excluded && saved.is_none();
        let is_of_head = saved.as_ref().is_some_and(|entry| STANDARD_HEADS.contains(&entry.as_str()));
        self.seen.push(Seen { path: path.to_owned(), is_adaptable, kept_out, is_of_head });

        let targeted = self.targeted(path, kind, kept_out)?;
        match (saved, targeted) {
            (None, false) => Ok(Selection::Untouched),
            (Some(_), false) => Ok(Selection::Saved),
            // DistilBERT's `pre_classifier` ends in `classifier`. PEFT fails on it; it is meant to be saved.
            (Some(_), true) if self.targets.is_none() => Ok(Selection::Saved),
            (Some(entry), true) => Err(TargetError::AdaptedAndSaved { module: path.to_owned(), entry }),
            (None, true) => self.adapt(path, kind),
        }
    }

    /// The first `modules_to_save` entry that has this module, or one it lies in, saved, and whether one has so by
    /// whole segments. PEFT saves whatever **ends in** the entry, but keeps out of the targets only what has it as a
    /// whole segment.
    fn saved_by(&mut self, path: &str) -> (Option<String>, bool) {
        let (mut saved, mut whole_segments) = (None, false);
        for entry in &mut self.modules_to_save {
            if with_ancestors(path).any(|module| module.ends_with(&entry.text)) {
                entry.found = true;
                whole_segments |= lies_in(path, &entry.text);
                saved.get_or_insert_with(|| entry.text.clone());
            }
        }
        (saved, whole_segments)
    }

    fn targeted(&mut self, path: &str, kind: Kind, kept_out: bool) -> Result<bool, TargetError> {
        let Some(targets) = &mut self.targets else {
            return Ok(kind == Kind::Linear && !kept_out);
        };
        let matches: Vec<Match> = targets.iter_mut().map(|entry| entry.matches(path)).collect::<Result<_, _>>()?;
        if kept_out || matches.iter().all(|found| *found == Match::No) {
            return Ok(false);
        }
        let in_layers = match &mut self.layers {
            // A full name is adapted whatever its layer.
            Some(layers) if !matches.contains(&Match::Whole) => layers.admit(path)?,
            Some(_) | None => true,
        };
        for (entry, found) in targets.iter_mut().zip(matches) {
            entry.adapted |= in_layers && found != Match::No;
        }
        Ok(in_layers)
    }

    fn adapt(&mut self, path: &str, kind: Kind) -> Result<Selection, TargetError> {
        self.method.check_kind(path, kind)?;
        self.matched.push(path.to_owned());
        Ok(Selection::Adapted)
    }

    /// The first target or layer by which nothing is adapted.
    fn without_effect(&self) -> Option<TargetError> {
        let idle = self.targets.iter().flatten().find(|entry| !entry.adapted);
        // A layer that does not exist is the better explanation, unless other reasons kept the targets from it.
        if let Some(layers) = &self.layers
            && (idle.is_none() || layers.asked())
            && let Err(error) = layers.check()
        {
            return Some(error);
        }
        match idle {
            Some(entry) => {
                Some(TargetError::WithoutEffect { name: entry.text.clone(), of_head: self.is_of_head(entry) })
            }
            None => self.matched.is_empty().then_some(TargetError::NothingAdapted),
        }
    }

    /// Whether all that the target stands for is of a head.
    fn is_of_head(&self, target: &Entry) -> bool {
        self.seen
            .iter()
            .filter(|seen| target.meaning(&seen.path).is_ok_and(|meaning| meaning != Match::No))
            .all(|seen| seen.is_of_head)
    }
}

impl Method {
    /// Whether the module at `path` is one that is trained in full and saved with an adapter.
    pub(crate) fn saves(&self, path: &str) -> bool {
        self.modules_to_save().iter().any(|entry| saves(entry, path))
    }

    /// What becomes of each of these modules, with what the method varies from one to the other; and the settings that are
    /// for none of them.
    ///
    /// # Errors
    /// Settings that cannot be for a model with these modules.
    pub fn selections(&self, modules: &[(String, Kind)], settings: Settings) -> Result<Selections, TargetError> {
        let Some(mut selector) = Selector::of(self, settings)? else {
            let selection = |path: &str| if self.saves(path) { Selection::Saved } else { Selection::Untouched };
            let of_modules = modules.iter().map(|(path, _)| (selection(path), Vec::new())).collect();
            return Ok(Selections { of_modules, idle: Vec::new() });
        };
        let select = |(path, kind): &(String, Kind)| match selector.select(path, *kind) {
            Selection::Adapted => Ok((Selection::Adapted, self.numbers(path, settings)?)),
            selection => Ok((selection, Vec::new())),
        };
        let of_modules = modules.iter().map(select).collect::<Result<_, _>>()?;
        selector.finish()?;
        let idle = selector.idle().into_iter().chain(self.idle(selector.matched())?).collect();
        Ok(Selections { of_modules, idle })
    }
}

/// See [`Method::selections`].
#[derive(Debug, Default)]
pub struct Selections {
    pub of_modules: Vec<(Selection, Vec<f64>)>,
    pub idle: Vec<TargetError>,
}

#[cfg(test)]
mod tests;
