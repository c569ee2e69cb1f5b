//! kindling: LoRA fine-tuning of pretrained transformers, from one binary.

mod adapter;
mod cli;
mod config;
mod device;
mod estimate;
mod metrics;
mod output;
mod prepare;
#[cfg_attr(not(test), expect(dead_code, reason = "`run` is to fill and write it when training ends"))]
mod report;
mod run;
mod tasks;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
