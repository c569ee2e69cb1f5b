//! Commands that a person copies: how this program is called, and words as a shell takes them.

use std::env;
use std::path::{Path, PathBuf};

/// What stands before the arguments of a command that works where this one did: `kindling` where the search path finds
/// this very program, `cargo run -p train --` where cargo has started it, otherwise the path that it was called by.
pub(crate) fn program() -> String {
    const NAME: &str = "kindling";
    let this = env::current_exe().and_then(|this| this.canonicalize()).ok();
    if this.is_some() && on_search_path(NAME) == this {
        return NAME.to_owned();
    }
    // Cargo names the package to the program that `cargo run` starts.
    if env::var("CARGO_PKG_NAME").is_ok_and(|package| package == env!("CARGO_PKG_NAME")) {
        return format!("cargo run -p {} --", env!("CARGO_PKG_NAME"));
    }
    env::args_os().next().map_or_else(|| NAME.to_owned(), |called| quoted(&called.to_string_lossy()))
}

/// The program of this name that a shell would start, without links.
fn on_search_path(name: &str) -> Option<PathBuf> {
    let name = format!("{name}{}", env::consts::EXE_SUFFIX);
    let directories = env::var_os("PATH")?;
    let found = env::split_paths(&directories).map(|directory| directory.join(&name)).find(|file| file.is_file())?;
    found.canonicalize().ok()
}

/// A path as one word.
pub(crate) fn typed(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// The text as a shell takes it for one word.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_string(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_cut_or_expand_them() {
        assert_eq!(quoted("runs/a-b_1"), "runs/a-b_1");
        assert_eq!(quoted("it's $5"), r"'it'\''s $5'");
        assert_eq!(quoted(""), "''");
    }
}
