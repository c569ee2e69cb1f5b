//! What belongs to somebody else in the directories where kindling writes: files, directories, links, a FIFO and, where it
//! can be made, a device. Whatever a command does, they are the same afterwards: bytes, modes, types and link targets.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Project;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    File(Vec<u8>),
    Directory,
    Link(PathBuf),
    Fifo,
    Device,
}

/// Things that were laid down, as they were then.
pub(crate) struct Foreign(Vec<(PathBuf, u32, Content)>);

impl Foreign {
    /// Lays them into each of the directories, which are made where there are none.
    pub(crate) fn lay(project: &Project, directories: &[&str]) -> Self {
        let mut paths = Vec::new();
        for directory in directories {
            let place = |name: &str| project.path(directory).join(name);
            fs::create_dir_all(place("work.tmp")).unwrap();
            for (name, mode) in
                [("notes.txt", 0o640), ("notes.tmp", 0o600), ("README.md.tmp", 0o444), ("run.sh", 0o755)]
            {
                fs::write(place(name), format!("{name} in {directory}")).unwrap();
                fs::set_permissions(place(name), fs::Permissions::from_mode(mode)).unwrap();
            }
            fs::write(place("work.tmp/f"), "mine").unwrap();
            symlink("notes.txt", place("link")).unwrap();
            symlink("nowhere", place("link-to-nothing")).unwrap();
            make(&["mkfifo", "fifo"], &place(""));
            let names = ["notes.txt", "notes.tmp", "README.md.tmp", "run.sh", "work.tmp", "work.tmp/f", "link"];
            paths.extend(names.iter().chain(&["link-to-nothing", "fifo"]).map(|name| place(name)));
            // Only root can make one.
            if make_device(&place("device")) {
                paths.push(place("device"));
            }
        }
        Self(paths.into_iter().map(look).collect())
    }

    /// Adds something that is there already.
    pub(crate) fn and(mut self, path: PathBuf) -> Self {
        self.0.push(look(path));
        self
    }

    #[track_caller]
    pub(crate) fn assert_unchanged(&self) {
        for (path, mode, content) in &self.0 {
            assert!(path.symlink_metadata().is_ok(), "{} is gone", path.display());
            assert_eq!(look(path.clone()), (path.clone(), *mode, content.clone()), "{}", path.display());
        }
    }
}

fn look(path: PathBuf) -> (PathBuf, u32, Content) {
    let found = path.symlink_metadata().unwrap();
    let kind = found.file_type();
    let content = match kind {
        _ if kind.is_symlink() => Content::Link(fs::read_link(&path).unwrap()),
        _ if kind.is_dir() => Content::Directory,
        _ if kind.is_fifo() => Content::Fifo,
        _ if kind.is_char_device() => Content::Device,
        _ => Content::File(fs::read(&path).unwrap()),
    };
    (path, found.permissions().mode(), content)
}

fn make(command: &[&str], directory: &Path) {
    assert!(Command::new(command[0]).args(&command[1..]).current_dir(directory).status().unwrap().success());
}

/// A device like `/dev/null`, of which a test must not risk the real one; `false` where it cannot be made.
pub(crate) fn make_device(path: &Path) -> bool {
    let made = Command::new("mknod").arg(path).args(["c", "1", "3"]).stderr(Stdio::null()).status();
    made.is_ok_and(|status| status.success())
}
