//! kindling: LoRA fine-tuning of pretrained transformers, from one binary.

mod allocator;
mod card;
mod cli;
mod compare;
mod config;
mod device;
mod estimate;
mod hub;
#[cfg(test)]
mod mutated;
mod output;
mod prepare;
mod report;
mod run;
mod shell;
mod terminal;
mod workers;

use std::process::ExitCode;

use allocator::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator::new();

fn main() -> ExitCode {
    cli::main()
}
