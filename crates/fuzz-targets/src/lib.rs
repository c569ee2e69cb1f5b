//! What reads files of strangers, as functions of bytes, with inputs for it: real small files of this repository, and what a
//! mutator makes of them that knows their formats. `tests/mutated.rs` runs every target on a fixed number of inputs and
//! [judges](Judge) each; `fuzz/` runs the same targets under libFuzzer, with the same mutator.
//!
//! Input `n` of a target is a function of `n` alone, so that a number is enough to see a fault again.

mod allocator;
mod archive;
mod corpus;
mod judge;
mod mutate;
mod random;
mod targets;

pub use allocator::CountingAllocator;
pub use archive::Archive;
pub use judge::{Campaign, Fault, Judge};
pub use mutate::{Form, mutated, mutated_once};
pub use targets::{Target, all, named};
