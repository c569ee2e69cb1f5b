//! Adapters loaded and unloaded while the server answers, as vLLM has it: only below the adapter root.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use inference::DirectoryKind;

use crate::app::App;
use crate::fields::{Fields, text};
use crate::problem::Problem;

/// vLLM's number of an adapter, which has none here.
const NUMBER: &str = "lora_int_id";
const NAME: &str = "lora_name";

pub(crate) async fn load(State(app): State<Arc<App>>, request: Request) -> Result<String, Problem> {
    let root = root(&app)?.to_path_buf();
    let mut fields = app.fields(request).await?;
    let name = name(&mut fields)?;
    let path = text("lora_path", fields.required("lora_path", "a directory below the adapter root")?)?;
    fields.refuse("load_inplace", "unload the adapter, then load the other one under its name")?;
    fields.take(NUMBER);
    fields.finish(&[])?;
    let directory = below(&root, &path)?;
    app.engine.load(&name, directory).await.map_err(|error| {
        let problem = Problem::from(error).at(NAME);
        // What is said of a file names it from the root on.
        Problem { message: problem.message.replace(&root.display().to_string(), "[adapter root]"), ..problem }
    })?;
    app.log.say(&format!("loaded the adapter {name}"));
    Ok(format!("Success: LoRA adapter '{name}' added successfully."))
}

pub(crate) async fn unload(State(app): State<Arc<App>>, request: Request) -> Result<String, Problem> {
    root(&app)?;
    let mut fields = app.fields(request).await?;
    let name = name(&mut fields)?;
    fields.take(NUMBER);
    fields.finish(&[])?;
    app.engine.unload(&name).map_err(|error| Problem::from(error).at(NAME))?;
    app.memory.freed();
    app.log.say(&format!("unloaded the adapter {name}"));
    Ok(format!("Success: LoRA adapter '{name}' removed successfully."))
}

fn root(app: &App) -> Result<&Path, Problem> {
    app.settings.adapter_root.as_deref().ok_or_else(|| {
        let message = "adapters can be neither loaded nor unloaded: the server was started without `--adapter-root`";
        Problem::new(StatusCode::FORBIDDEN, message)
    })
}

fn name(fields: &mut Fields) -> Result<String, Problem> {
    let name = text(NAME, fields.required(NAME, "a name for the adapter")?)?;
    let is_name = !name.is_empty() && name.len() <= 200 && !name.chars().any(char::is_control);
    match is_name {
        true => Ok(name),
        false => Err(Problem::field(NAME, "`lora_name` should be 1 to 200 bytes without control characters")),
    }
}

/// The adapter at `path`, from the root on or absolute. What leads out of the root, by its words or by a link, is refused in the
/// same words, so that nobody learns what is there.
fn below(root: &Path, path: &str) -> Result<PathBuf, Problem> {
    let outside = || {
        let message = format!("`{path}` is not below the adapter root");
        Problem { status: StatusCode::FORBIDDEN, ..Problem::field("lora_path", message) }
    };
    let missing = || {
        let message =
            format!("there is no adapter at `{path}`: it is a directory with adapter_config.json, or that of a run");
        Problem { status: StatusCode::NOT_FOUND, ..Problem::field("lora_path", message) }
    };
    let joined = root.join(path);
    if path.contains('\0') || !normalised(&joined).starts_with(root) {
        return Err(outside());
    }
    let found = joined.canonicalize().map_err(|_| missing())?;
    if !found.starts_with(root) {
        return Err(outside());
    }
    let directory = match DirectoryKind::of(&found) {
        DirectoryKind::Adapter => found,
        DirectoryKind::RunWithAdapter(directory) => directory.canonicalize().map_err(|_| missing())?,
        _ => return Err(missing()),
    };
    // A file may be a link, too, as in the cache of the Hub: within the root it may lead anywhere.
    let entries: Vec<PathBuf> = directory.read_dir().map_err(|_| missing())?.flatten().map(|it| it.path()).collect();
    let leads_out = |path: &Path| path.canonicalize().is_ok_and(|target| !target.starts_with(root));
    if leads_out(&directory) || entries.iter().any(|entry| leads_out(entry)) {
        return Err(outside());
    }
    // Whoever opens a FIFO waits for its writer.
    let is_special = |entry: &PathBuf| entry.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir());
    match entries.iter().any(is_special) {
        true => Err(Problem::field("lora_path", format!("`{path}` has a FIFO, a socket or a device: remove it"))),
        false => Ok(directory),
    }
}

/// Without `.` and `..`, by the words of the path alone.
fn normalised(path: &Path) -> PathBuf {
    let mut normalised = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => _ = normalised.pop(),
            other => normalised.push(other),
        }
    }
    normalised
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(root: &Path, path: &str) -> (u16, String) {
        let problem = below(root, path).unwrap_err();
        (problem.status.as_u16(), problem.message)
    }

    #[test]
    fn an_adapter_is_found_below_the_root_alone() {
        let directory = tempfile::tempdir().unwrap();
        let outer = directory.path().canonicalize().unwrap();
        let root = outer.join("root");
        for adapter in ["root/a", "root/run/adapter", "other"] {
            std::fs::create_dir_all(outer.join(adapter)).unwrap();
            std::fs::write(outer.join(adapter).join("adapter_config.json"), "{}").unwrap();
        }
        assert_eq!(below(&root, "a").unwrap(), root.join("a"));
        assert_eq!(below(&root, root.join("a").to_str().unwrap()).unwrap(), root.join("a"));
        assert_eq!(below(&root, "run").unwrap(), root.join("run/adapter"));
        for path in ["../other", "a/../../other", "/etc", "/etc/nothing", "../nothing", "a\0b"] {
            assert_eq!(refused(&root, path), (403, format!("`{path}` is not below the adapter root")), "{path}");
        }
        let expected = "there is no adapter at `b`: it is a directory with adapter_config.json, or that of a run";
        assert_eq!(refused(&root, "b"), (404, expected.to_string()));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(outer.join("other"), root.join("link")).unwrap();
            assert_eq!(refused(&root, "link"), (403, "`link` is not below the adapter root".to_string()));
            std::fs::create_dir(root.join("c")).unwrap();
            std::fs::write(root.join("c/adapter_config.json"), "{}").unwrap();
            std::os::unix::fs::symlink("/etc/hostname", root.join("c/adapter_model.safetensors")).unwrap();
            assert_eq!(refused(&root, "c"), (403, "`c` is not below the adapter root".to_string()));
            let fifo = root.join("a/adapter_model.safetensors");
            assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
            assert_eq!(refused(&root, "a"), (400, "`a` has a FIFO, a socket or a device: remove it".to_string()));
        }
    }
}
