//! `kindling serve`: a base model and its adapters answer over HTTP until a signal comes.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use burn::tensor::Device;
use clap::Args;
use inference::{DirectoryKind, Frozen, ModelFiles, Overrides, ServedAdapter};
use model::hub::Source;
use serde_json::json;
use serve::{ApiKeys, Base, Engine, KeyError, Limits, Log, Server, Settings, is_readable_by_all};
use tasks::{TaskName, Use};

use super::open::read;
use super::size::size;
use super::source::{adapter_of, model_of, neighbour, with_adapter};
use super::{DeviceArgument, Failure, ModelArguments, signals};
use crate::device::DeviceName;
use crate::output::{Output, counted};
use crate::run::tell;
use crate::shell::quoted;

/// Answer over HTTP: chat and completions as OpenAI has them, classification
///
/// One base model in memory, and any number of adapters for it, which clients call by their names.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kindling serve --run runs/sst2
  kindling serve --model Qwen/Qwen2.5-0.5B-Instruct
  kindling serve --model models/SmolLM2-135M --adapter places=runs/places --adapter sums=runs/sums
  kindling serve --run runs/chat --port 0 --adapter-root runs
  kindling serve --run runs/chat --host 0.0.0.0 --api-key-file keys.txt

  curl http://127.0.0.1:8080/v1/models")]
pub(super) struct Arguments {
    /// Directory of a run: its adapter, called by the run's name, on the base that it records, or its model
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// The base: a directory, or an id on the Hugging Face Hub. With a run or an adapter needed only where that is no longer
    /// where it was
    #[arg(long, value_name = "M")]
    model: Option<PathBuf>,
    /// An adapter for the base, and what clients call it: its directory, that of its run, or an id on the Hub; without a name it
    /// is called by its directory (repeatable)
    #[arg(long, value_name = "NAME=DIR")]
    adapter: Vec<String>,
    /// Address to listen on; 0.0.0.0 is every one of this machine
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 is any that is free
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,
    /// Directory below which clients may load adapters (/v1/load_lora_adapter); without it they may not
    #[arg(long, value_name = "DIR")]
    adapter_root: Option<PathBuf>,
    /// File with the keys of which clients must show one, one a line
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Origin, scheme and host, of pages that browsers let use the server; * is any (repeatable)
    #[arg(long, value_name = "ORIGIN")]
    cors_origin: Vec<String>,
    /// Name that the server answers to beside those of this machine, where it listens on that alone: that of a proxy before it
    /// (repeatable)
    #[arg(long, value_name = "HOST")]
    allowed_host: Vec<String>,
    /// Requests that wait; more are answered with 503
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    max_queue: u32,
    /// Tokens of a pass over the model: longer prompts and more texts to classify are read in several, between the tokens of others
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    max_batch_tokens: u32,
    /// Memory for the keys and values of all texts that are being written: 500MB, 2GB
    #[arg(long, value_name = "SIZE", default_value = "2GB", value_parser = size)]
    cache_memory: usize,
    /// Seconds from a request's arrival to the end of its answer
    #[arg(long, value_name = "S", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    request_timeout: u32,
    /// New tokens of a text that a client may ask for
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: u32,
    /// Texts for one prompt that a client may ask for (n)
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    max_n: u32,
    /// Bytes of a request
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20, value_parser = clap::value_parser!(u32).range(1024..))]
    max_body: u32,
    /// Connections at a time; for another one that which has been idle longest is closed, and where none is idle it waits
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    max_connections: u32,
    #[command(flatten)]
    pub(super) device: DeviceArgument,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let device = DeviceName::parse(&arguments.device.device, None)?.open()?;
    let settings = settings(arguments)?;
    let has_keys = settings.api_keys.is_some();
    // Before minutes of loading: a port in use is seen at once.
    let server = Server::bind(&arguments.host, arguments.port).map_err(of_socket)?;
    let named = Named::of(arguments, output)?;
    let (base, adapters) = named.open(&device, output)?;
    let limits = Limits {
        max_queue: arguments.max_queue as usize,
        max_batch_tokens: arguments.max_batch_tokens as usize,
        cache_memory: arguments.cache_memory,
    };
    check_cache(&base, limits.cache_memory)?;
    let engine = Engine::start(base, adapters, limits)
        .map_err(|error| Failure::message(format!("cannot start the models' thread: {error}")))?;
    let names: Vec<String> = engine.models().iter().map(|model| model.name.clone()).collect();
    let (address, stop) = (server.address(), server.stop());
    signals::instead(move || stop.stop());
    if !address.ip().is_loopback() && !has_keys {
        output.warn(&format!(
            "whoever reaches {address} can use the models: give clients a key with --api-key-file, or listen on 127.0.0.1"
        ));
    }
    if let Some(file) = arguments.api_key_file.as_deref().filter(|file| is_readable_by_all(file)) {
        let file = file.display().to_string();
        let command = format!("chmod 600 {}", quoted(&file));
        output.warn(&format!("every user of this machine can read the API keys in {file}: `{command}`"));
    }
    if arguments.cors_origin.iter().any(|origin| origin == "*") && !has_keys {
        output.warn(
            "any page that a browser on this machine or its network opens can use the models: name the pages' origins with \
             --cors-origin, or give clients a key with --api-key-file",
        );
    }
    output.say(&format!("models: {}; Ctrl-C stops the server", names.join(", ")));
    let url = format!("http://{address}");
    match output.json() {
        true => output.result(&json!({ "url": url, "models": names }).to_string())?,
        false => output.result(&format!("listening on {url}"))?,
    }
    let log = Log::new({
        let output = output.clone();
        move |line| output.say(line)
    });
    server.run(engine, settings, log).map_err(of_socket)?;
    output.say("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Errors: it has no room for a text of a few tokens, so that no request would be answered.
fn check_cache(base: &Base, cache_memory: usize) -> Result<(), Failure> {
    const TOKENS: usize = 16;
    let Some(of_token) = base.model.model.causal_lm().map(|model| model.cache_bytes_per_token()) else { return Ok(()) };
    if cache_memory >= TOKENS * of_token {
        return Ok(());
    }
    let (room, least) = (counted(cache_memory / of_token, "token", "tokens"), TOKENS * of_token);
    let help = format!("a token's keys and values take {of_token} bytes: give it --cache-memory {least}, or more");
    Err(Failure::usage(format!("--cache-memory has room for {room}: no text could be written"), help))
}

fn settings(arguments: &Arguments) -> Result<Settings, Failure> {
    let api_keys = arguments.api_key_file.as_deref().map(ApiKeys::read).transpose().map_err(|error| match error {
        KeyError::Read { .. } => {
            let help = "--api-key-file names a file of text with a key on each line";
            Failure::usage(error.to_string(), help)
        }
        KeyError::None { .. } => Failure::input(error),
    })?;
    let is_origin =
        |origin: &&String| *origin == "*" || origin.split_once("://").is_some_and(|(_, host)| !host.contains('/'));
    if let Some(origin) = arguments.cors_origin.iter().find(|origin| !is_origin(origin)) {
        let help = "an origin is a scheme and a host without a path: https://example.org, http://localhost:3000";
        return Err(Failure::usage(format!("`--cors-origin {origin}` is no origin"), help));
    }
    let root = |root: &Path| {
        let found = root.canonicalize().ok().filter(|root| root.is_dir());
        found.ok_or_else(|| {
            let help = "--adapter-root names the directory that adapters are in, `runs` for example";
            Failure::usage(format!("there is no directory {}", root.display()), help)
        })
    };
    Ok(Settings {
        api_keys,
        cors_origins: arguments.cors_origin.clone(),
        allowed_hosts: allowed_hosts(arguments)?,
        release_memory: || crate::ALLOCATOR.give_back(),
        adapter_root: arguments.adapter_root.as_deref().map(root).transpose()?,
        max_body: arguments.max_body as usize,
        max_samples: arguments.max_n,
        max_tokens: arguments.max_tokens,
        max_connections: arguments.max_connections as usize,
        request_timeout: Duration::from_secs(u64::from(arguments.request_timeout)),
        ..Settings::default()
    })
}

/// The names as typed, and the one that it listens at.
fn allowed_hosts(arguments: &Arguments) -> Result<Vec<String>, Failure> {
    let is_none =
        |host: &&String| host.is_empty() || host.contains(['/', ':', '*']) || host.contains(char::is_whitespace);
    if let Some(host) = arguments.allowed_host.iter().find(is_none) {
        let help = "a host is its name alone, without scheme, port and path: models.example.org";
        return Err(Failure::usage(format!("`--allowed-host {host}` is no name of a host"), help));
    }
    Ok(arguments.allowed_host.iter().chain([&arguments.host]).cloned().collect())
}

fn of_socket(error: serve::Error) -> Failure {
    let serve::Error::Listen { source, .. } = &error else { return Failure::running(error) };
    let help = match source.kind() {
        ErrorKind::AddrInUse => {
            "another program listens there: choose another port with --port, or 0 for any that is free"
        }
        ErrorKind::PermissionDenied => "ports below 1024 are the system's own: choose another with --port",
        _ => "--host names an address of this machine: 127.0.0.1, or 0.0.0.0 for all of them",
    };
    Failure::usage(error.to_string(), help)
}

/// What is to be served, as directories and names.
struct Named {
    base: String,
    files: PathBuf,
    adapters: BTreeMap<String, PathBuf>,
}

impl Named {
    fn of(arguments: &Arguments, output: &Output) -> Result<Self, Failure> {
        let run = arguments.run.as_deref().map(|run| of_run(run, arguments.model.as_deref(), output)).transpose()?;
        let typed = arguments.adapter.iter().map(|typed| adapter(typed, output));
        let typed = typed.collect::<Result<Vec<_>, _>>()?;
        let (files, first) = match (run, &arguments.model, typed.first()) {
            (Some((name, files)), _, _) => (files, Some(name)),
            (None, Some(model), _) => (ModelFiles { model: model_of(model, output)?, adapter: None }, None),
            (None, None, Some((name, directory))) => {
                (with_adapter(directory.clone(), None, output)?, Some(name.clone()))
            }
            (None, None, None) => {
                let help = "name a run with --run DIR, a model with --model M, or an adapter with --adapter NAME=DIR";
                return Err(Failure::usage("no model is named", help));
            }
        };
        let base = match (&arguments.model, &files.adapter) {
            (Some(model), _) => name_of(model),
            (None, Some(adapter)) => match inference::recorded_base(adapter)? {
                Some(recorded) => name_of(Path::new(&recorded.path)),
                None => name_of(&files.model),
            },
            // All weights of a run were trained: it is called by the run's name.
            (None, None) => first.clone().unwrap_or_else(|| name_of(&files.model)),
        };
        let mut adapters = BTreeMap::new();
        let of_run = arguments.run.is_some().then(|| Some((first?, files.adapter?))).flatten();
        for (name, directory) in of_run.into_iter().chain(typed) {
            if name == base || adapters.insert(name.clone(), directory).is_some() {
                let help = "names are how clients choose: write --adapter NAME=DIR with another one";
                return Err(Failure::usage(format!("two models are called `{name}`"), help));
            }
        }
        Ok(Self { base, files: files.model, adapters })
    }

    /// Opens the base, which may have no head of its own, and every adapter on it.
    fn open(&self, device: &Device, output: &Output) -> Result<(Base, Vec<(String, ServedAdapter)>), Failure> {
        let base = ModelFiles { model: self.files.clone(), adapter: None };
        let of_base = read(&base, None)?.task();
        let mut frozen = None;
        for directory in self.adapters.values() {
            let files = ModelFiles { adapter: Some(directory.clone()), ..base.clone() };
            let saved = read(&files, None)?;
            check_task(saved.task(), directory)?;
            // Where they differ, the first was trained on the base as it is kept.
            frozen.get_or_insert(saved.frozen(&Overrides::default()));
        }
        if self.adapters.is_empty() {
            check_task(of_base, &self.files)?;
        }
        let model = inference::Base::open(&self.files, frozen.unwrap_or(Frozen::AsStored), device)?;
        tell(&model.loaded, output);
        let alone = match of_base.usage {
            Use::Score => Some(format!("it is for {of_base}")),
            Use::Generate | Use::Predict => model.processor().err().map(|_| "it has no trained head".to_string()),
        };
        match alone {
            Some(_) if self.adapters.is_empty() => {
                let message = format!("{} has no trained head", self.files.display());
                return Err(Failure::usage(message, "serve an adapter for it with --adapter NAME=DIR"));
            }
            Some(why) => output.say(&format!("{} answers through its adapters alone: {why}", self.base)),
            None => {}
        }
        let mut adapters = Vec::new();
        for (name, directory) in &self.adapters {
            let adapter = model.adapter(directory)?;
            say(name, &adapter, output);
            adapters.push((name.clone(), adapter));
        }
        Ok((Base { name: self.base.clone(), directory: self.files.clone(), model }, adapters))
    }
}

fn check_task(task: TaskName, directory: &Path) -> Result<(), Failure> {
    match task.usage {
        Use::Score => {
            let message = format!("{} is for {task}, whose models neither write nor classify", directory.display());
            Err(Failure::usage(message, "serve an adapter or a model that was trained for another task"))
        }
        Use::Generate | Use::Predict => Ok(()),
    }
}

/// What there is to know of an adapter.
fn say(name: &str, adapter: &ServedAdapter, output: &Output) {
    if let Some(kinds) = adapter.other_kind {
        let [trained, opened] = kinds.map(|kind| kind.map_or("a float type".to_string(), |kind| kind.to_string()));
        output.warn(&format!("the adapter {name} was trained on a base in {trained}, not in {opened}"));
    }
    tell(&adapter.loaded, output);
    let tensors = counted(adapter.loaded.plan.parameters().len(), "tensor", "tensors");
    output.say(&format!("adapter {name}: {}, {tensors}", adapter.task.definition().id()));
}

/// A run's name, and its files.
fn of_run(run: &Path, model: Option<&Path>, output: &Output) -> Result<(String, ModelFiles), Failure> {
    let arguments = ModelArguments { run: Some(run.into()), model: model.map(Path::to_path_buf), adapter: None };
    Ok((name_of(run), arguments.located(output)?))
}

/// An adapter as typed: `NAME=DIR`, or a directory alone.
fn adapter(typed: &str, output: &Output) -> Result<(String, PathBuf), Failure> {
    let (name, directory) = match typed.split_once('=') {
        // A directory may have the sign in its name.
        Some((name, directory)) if !name.contains('/') => (name.to_string(), Path::new(directory)),
        _ => (name_of(Path::new(typed)), Path::new(typed)),
    };
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Failure::usage(
            format!("`--adapter {typed}` has no name"),
            "write it as NAME=DIR: places=runs/places",
        ));
    }
    let is_directory = matches!(Source::parse(&directory.to_string_lossy()), Source::Directory(_));
    if is_directory && !directory.exists() {
        return Err(Failure::usage(format!("there is no directory {}", directory.display()), neighbour(directory)));
    }
    Ok((name, adapter_of(directory, output)?))
}

/// What a directory or a repository is called; nobody learns where it lies.
fn name_of(named: &Path) -> String {
    if let Source::Hub(id) = Source::parse(&named.to_string_lossy()) {
        return id.repository;
    }
    // A link has the name that it was given; `.` and `..` have none of their own.
    let whole = match named.file_name() {
        Some(_) => std::path::absolute(named),
        None => named.canonicalize(),
    };
    let whole = whole.unwrap_or_else(|_| named.to_path_buf());
    let directory = match (DirectoryKind::of(&whole), whole.file_name(), whole.parent()) {
        // `runs/x/adapter` and `runs/x/model` are what the run x has.
        (DirectoryKind::Adapter, Some(name), Some(run)) if name == "adapter" => run,
        (DirectoryKind::Model, Some(name), Some(run)) if name == "model" => run,
        _ => &whole,
    };
    directory.file_name().map_or_else(|| "model".to_string(), |name| name.to_string_lossy().into_owned())
}
