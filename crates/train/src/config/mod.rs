//! The configuration as the user writes it: a TOML file and `--set KEY=VALUE`, complete with defaults.
//! Every value is checked here for itself, and against the other values and the file system; every
//! error says which key, where it was written, what was expected and what to do. What the run makes
//! of the values (devices, data, targets) is decided elsewhere.

mod error;
mod files;
mod keys;
mod kinds;
mod legs;
mod load;
mod paths;
#[cfg(test)]
mod reference;
mod set;
mod syntax;
#[cfg(test)]
mod tests;
mod validate;
mod vary;
mod words;
mod written;

pub(crate) use error::ConfigError;
pub(crate) use files::Files;
pub(crate) use legs::Leg;
pub(crate) use load::{Loaded, load, load_candidate, load_text, method_of};
pub(crate) use paths::absolute;
pub(crate) use vary::{Choice, Varied};
pub(crate) use words::{Compute, Dtype, SaveDtype, Schedule, Weights};
pub(crate) use written::{Config, DataConfig, TrainConfig};
