//! Which modules are adapted, and which are saved in full: PEFT's rules (`check_target_module_exists`,
//! `get_pattern_key`, `_set_trainable`), asked by the loader module by module. PEFT lets a misspelt name, layer or
//! pattern pass in silence; here each must have found a module once the model is built. Of a finished adapter what found
//! none is idle and told.

mod entry;
mod error;
#[cfg(test)]
pub(crate) mod fixtures;
mod layers;
mod overrides;
mod path;
mod seen;
mod selector;
mod shorten;

pub(crate) use entry::{Entry, Match};
pub use error::{LayersOfTargets, NameSetting, TargetError};
pub(crate) use layers::layer_of;
pub(crate) use overrides::Overrides;
pub(crate) use path::saves;
pub(crate) use seen::unknown_saved;
pub use selector::{Kind, Selection, Selections, Selector, Settings};
