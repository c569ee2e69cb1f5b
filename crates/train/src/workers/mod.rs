//! Several processes that work on one run. Each holds the whole model; the first alone writes and speaks. What they compute
//! does not depend on how many they are: MPI moves bytes, and everything is added in the order in which one worker would.
//!
//! Wherever workers meet, each says whether it can go on. So a failure of one is the failure of all, with one message and one
//! exit status.

#![cfg_attr(not(any(feature = "mpi", test)), expect(dead_code, reason = "without MPI there is nobody to join"))]

mod elsewhere;
mod exchange;
mod files;
mod input_files;
mod joined;
mod launcher;
mod meeting;
#[cfg(feature = "mpi")]
mod mpi;
mod schedule;
#[cfg(test)]
pub(crate) mod threads;
mod traffic;
mod transport;

pub(crate) use elsewhere::Elsewhere;
pub(crate) use exchange::{Exchange, Gradients, Group};
pub(crate) use files::FilesError;
pub(crate) use input_files::{InputFile, difference};
pub(crate) use launcher::Launched;
pub(crate) use meeting::{PATIENCE, Workers};
pub(crate) use schedule::shared;
pub(crate) use traffic::Traffic;
