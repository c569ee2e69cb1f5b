//! Several ways of training on the same data, compared: which candidates there are, the runs of each in processes of their own,
//! what came of them, and whether one is better than another.
//!
//! A comparison is a directory. Each candidate has a directory below it, with the configuration of each of its runs
//! (`seed-42.toml`), the run itself (`seed-42`) and what the trained model answers to each example of the validation data
//! (`seed-42.jsonl`). All else is made of these: `results.jsonl`, `table.md`, `report.html`.

mod budget;
mod candidates;
mod child;
mod outcome;
mod paired;
mod place;
mod summary;
mod table;

pub(crate) use budget::Budget;
pub(crate) use candidates::{Candidate, candidates};
pub(crate) use child::{Child, Ended};
pub(crate) use outcome::{Diverged, Known, Outcome, Ran, lines};
pub(crate) use paired::FEWEST;
pub(crate) use place::Place;
pub(crate) use summary::{Results, Summary};
pub(crate) use table::{markdown, note, seconds, text};
