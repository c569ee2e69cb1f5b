//! The targets. Each reads an input as the program does with a file of that kind, goes on to use what was read, and drops
//! it: whether it was refused, and why, is for other tests.

mod adapters;
mod checkpoints;
mod files;
mod gguf;
mod server;
mod tables;
mod templates;
mod tokenizers;

use std::fmt;

use crate::{Form, mutated};

/// Something that reads what strangers wrote.
pub struct Target {
    pub name: &'static str,
    pub form: Form,
    /// Real files.
    pub seeds: fn() -> Vec<Vec<u8>>,
    pub run: fn(&[u8]),
}

impl Target {
    /// Input `number` of the corpus that [`Self::seeds`] gives.
    pub fn input(&self, seeds: &[Vec<u8>], number: u64) -> Vec<u8> {
        mutated(self.form, seeds, number)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("name", &self.name).field("form", &self.form).finish_non_exhaustive()
    }
}

pub fn all() -> Vec<Target> {
    let mut all = Vec::new();
    all.extend(tokenizers::targets());
    all.extend(templates::targets());
    all.extend(tables::targets());
    all.extend(checkpoints::targets());
    all.extend(adapters::targets());
    all.extend(gguf::targets());
    all.extend(server::targets());
    all
}

pub fn named(name: &str) -> Option<Target> {
    all().into_iter().find(|target| target.name == name)
}
