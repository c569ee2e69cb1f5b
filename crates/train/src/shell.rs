//! Commands as people copy them into a shell: how this program is called, and words as a shell takes them.

use std::borrow::Cow;
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
    env::args_os().next().map_or_else(|| NAME.to_owned(), |called| quoted(&called.to_string_lossy()).into_owned())
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
    quoted(&path.to_string_lossy()).into_owned()
}

/// One word of a POSIX shell, which is also one of PowerShell's as long as it holds no single quote.
pub(crate) fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => Cow::Borrowed(word),
        false => Cow::Owned(format!("'{}'", word.replace('\'', r"'\''"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_only_where_a_shell_would_take_it_apart() {
        assert_eq!(quoted("runs/sst2-r8"), "runs/sst2-r8");
        assert_eq!(quoted("my runs/x"), "'my runs/x'");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }
}
