//! `kindling completions`: what a shell has to know to complete its command lines, from the definition of the command line itself.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use super::{Cli, Failure};
use crate::output::Output;

/// Print a script that completes command lines in a shell
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  source <(kindling completions bash)\n  kindling completions bash > ~/.local/share/bash-completion/completions/kindling\n  kindling completions zsh > ~/.zfunc/_kindling\n  kindling completions fish > ~/.config/fish/completions/kindling.fish\n  kindling completions powershell >> $PROFILE"
)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "kindling", &mut script);
    let script = String::from_utf8_lossy(&script);
    let script = script.trim_end();
    match output.json() {
        true => output.result(&json!({ "shell": arguments.shell.to_string(), "script": script }).to_string())?,
        false => output.result(script)?,
    }
    Ok(ExitCode::SUCCESS)
}
