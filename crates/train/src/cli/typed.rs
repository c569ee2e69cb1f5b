//! Commands as people type them: how this program was called, and arguments that a shell takes for one word.

use std::env;
use std::path::{Path, PathBuf};

/// What stands before the arguments of a command that works where this one did: `kindling` where the search path finds
/// this very program, `cargo run -p train --` where cargo has started it, otherwise the path that it was called by.
pub(super) fn program() -> String {
    const NAME: &str = "kindling";
    let this = env::current_exe().and_then(|this| this.canonicalize()).ok();
    if this.is_some() && on_search_path(NAME) == this {
        return NAME.to_owned();
    }
    // Cargo names the package to the program that `cargo run` starts.
    if env::var("CARGO_PKG_NAME").is_ok_and(|package| package == env!("CARGO_PKG_NAME")) {
        return format!("cargo run -p {} --", env!("CARGO_PKG_NAME"));
    }
    env::args_os().next().map_or_else(|| NAME.to_owned(), |called| typed(Path::new(&called)))
}

/// The program of this name that a shell would start, without links.
fn on_search_path(name: &str) -> Option<PathBuf> {
    let name = format!("{name}{}", env::consts::EXE_SUFFIX);
    let directories = env::var_os("PATH")?;
    let found = env::split_paths(&directories).map(|directory| directory.join(&name)).find(|file| file.is_file())?;
    found.canonicalize().ok()
}

/// As a shell takes it for one word.
pub(super) fn typed(file: &Path) -> String {
    let name = file.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/\\.:_-+,@%=".contains(c);
    match name.chars().all(is_plain) {
        true => name,
        false if cfg!(windows) => format!("\"{name}\""),
        false => format!("'{}'", name.replace('\'', r"'\''")),
    }
}
