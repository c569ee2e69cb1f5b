//! kindling: LoRA fine-tuning of pretrained transformers, from one binary.

mod adapter;
mod cli;
mod config;
mod device;
mod estimate;
mod hub;
mod metrics;
mod output;
mod prepare;
mod report;
mod run;
mod tasks;
mod writing;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
