//! Frozen matrices in int8 and nf4: an eighth to a quarter of the memory of f32. Codes and scales are those of bitsandbytes, whose
//! files are read as they are. A product unpacks them on its way, on the CPU a panel at a time; elsewhere codes are packed in words of 32
//! bits, which composed operations unpack.

mod dynamic_map;
mod int8;
mod matrix;
mod nf4;
mod primitive;
mod source;
mod unpack;

pub(crate) use dynamic_map::DYNAMIC_MAP;
pub use dynamic_map::dynamic_map;
pub use matrix::{FrozenMatrix, Nf4Parts, Quantisation, Quantised};
pub use nf4::VALUES as NF4_VALUES;
pub(crate) use nf4::{BLOCK, NESTED_BLOCK, VALUES};
pub use primitive::FrozenPrimitive;
pub(crate) use primitive::{untracked_rows, untracked_widened};
pub(crate) use unpack::{rows as composed_rows, widened};

#[cfg(test)]
mod tests;
