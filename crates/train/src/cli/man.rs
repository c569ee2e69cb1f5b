//! `kindling man`: the pages of the manual, from the definition of the command line itself.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use model::write_atomically;
use serde_json::json;

use super::{Cli, Failure};
use crate::output::Output;

/// Print a page of the manual, or write all of them
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kindling man | man -l -\n  kindling man train | man -l -\n  kindling man --output ~/.local/share/man/man1"
)]
pub(super) struct Arguments {
    /// The command whose page to print; default: kindling's own
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
    /// Directory to write all pages to, as kindling.1, kindling-train.1 and so on
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    output: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let mut whole = Cli::command();
    // Gives the commands the names that their pages have: `kindling-train`.
    whole.build();
    if let Some(directory) = &arguments.output {
        let pages = write(directory, &whole)?;
        if output.json() {
            output.result(&json!({ "output": directory, "pages": pages }).to_string())?;
        } else {
            output.say(&format!("wrote {} pages to {}", pages.len(), output.bold(&directory.display().to_string())));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let command = match &arguments.command {
        None => &whole,
        Some(name) => whole.find_subcommand(name).ok_or_else(|| {
            let names: Vec<&str> = whole.get_subcommands().map(Command::get_name).collect();
            Failure::usage(format!("no command is called `{name}`"), suggest::suggestion(name, names))
        })?,
    };
    let page = page(command)?;
    let page = page.trim_end();
    match output.json() {
        true => output.result(&json!({ "page": page }).to_string())?,
        false => output.result(page)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The names of the pages that were written.
fn write(directory: &Path, whole: &Command) -> Result<Vec<String>, Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        let message = format!("cannot write {}: {error}", path.display());
        Failure::usage(message, "name a directory in a place that can be written with --output")
    };
    std::fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    let mut names = Vec::new();
    // `kindling help` is clap's own, and says what the pages say.
    let commands = whole.get_subcommands().filter(|command| command.get_name() != "help");
    for command in std::iter::once(whole).chain(commands) {
        let name = format!("{}.1", command.get_display_name().unwrap_or_else(|| command.get_name()));
        let (path, page) = (directory.join(&name), page(command)?);
        write_atomically(&path, |file| file.write_all(page.as_bytes())).map_err(|error| failed(&path, error))?;
        names.push(name);
    }
    Ok(names)
}

fn page(command: &Command) -> Result<String, Failure> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
