//! A server in this process, with small models, and a client for it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use inference::{Device, Frozen, ModelFiles, Pipeline};
use serde_json::{Value, json};
use serve::{Base, Engine, Error, Limits, Log, Server, Settings, Stop};

pub(crate) const DECODER: &str = "tiny-decoder";

pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path).canonicalize().unwrap()
}

pub(crate) fn fixture(path: &str) -> PathBuf {
    repository("tests/fixtures/parity").join(path)
}

/// A trained BERT whose `kindling.json` records these columns of its data.
pub(crate) fn trained_on(columns: &Value) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture("bert-cls/trained")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), directory.path().join(entry.file_name())).unwrap();
    }
    let base = inference::Base::open(&fixture("bert-cls/model"), Frozen::AsStored, &Device::flex()).unwrap();
    let sidecar = json!({
        "format_version": 1, "kindling": "0.1.0", "task": "sequence-classification", "labels": ["no", "maybe", "yes"],
        "columns": columns, "max_length": 64, "base": { "path": "base", "fingerprint": base.fingerprint() },
    });
    std::fs::write(directory.path().join("kindling.json"), sidecar.to_string()).unwrap();
    directory
}

pub(crate) fn open(model: &Path, adapter: Option<&Path>) -> Pipeline {
    let files = ModelFiles { model: model.to_path_buf(), adapter: adapter.map(Path::to_path_buf) };
    Pipeline::open(&files, &Device::flex()).unwrap()
}

/// What is to be served: a base, and adapters by their names.
pub(crate) struct Models {
    base: (String, PathBuf),
    adapters: Vec<(String, PathBuf)>,
    pub(crate) limits: Limits,
}

impl Models {
    pub(crate) fn decoder() -> Self {
        Self::at(DECODER, repository("models/tiny-decoder"))
    }

    /// The base of a fixture, called `base`.
    pub(crate) fn of(case: &str) -> Self {
        Self::at("base", fixture(case).join("model"))
    }

    pub(crate) fn at(name: &str, directory: PathBuf) -> Self {
        let limits = Limits { max_queue: 64, ..Limits::default() };
        Self { base: (name.to_string(), directory), adapters: Vec::new(), limits }
    }

    /// So few texts are written at a time that others wait.
    pub(crate) fn busy(mut self) -> Self {
        self.limits.max_batch_tokens = 4;
        self
    }

    pub(crate) fn adapter(mut self, name: &str, directory: PathBuf) -> Self {
        self.adapters.push((name.to_string(), directory));
        self
    }

    pub(crate) fn serve(self) -> Served {
        self.serve_with(Settings::default())
    }

    pub(crate) fn serve_with(self, settings: Settings) -> Served {
        let (name, directory) = self.base;
        let model = inference::Base::open(&directory, Frozen::AsStored, &Device::flex()).unwrap();
        let adapters = self.adapters.into_iter().map(|(name, adapter)| (name, model.adapter(&adapter).unwrap()));
        let adapters = adapters.collect();
        let engine = Engine::start(Base { name, directory, model }, adapters, self.limits).unwrap();
        Served::start(engine, settings)
    }
}

pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) stop: Stop,
    pub(crate) thread: Option<JoinHandle<Result<(), Error>>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Served {
    fn start(engine: Engine, settings: Settings) -> Self {
        let server = Server::bind("127.0.0.1", 0).unwrap();
        let (address, stop, log) = (server.address(), server.stop(), Arc::<Mutex<Vec<String>>>::default());
        let said = log.clone();
        let lines = Log::new(move |line| said.lock().unwrap().push(line.to_string()));
        let thread = std::thread::spawn(move || server.run(engine, settings, lines));
        Self { address, stop, thread: Some(thread), log }
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.get_with(path, &[])
    }

    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let request =
            headers.iter().fold(agent().get(self.url(path)), |request, (key, value)| request.header(*key, *value));
        Reply::of(request.call().unwrap())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_with(path, &body.to_string(), &[("content-type", "application/json")])
    }

    pub(crate) fn post_with(&self, path: &str, body: &str, headers: &[(&str, &str)]) -> Reply {
        let request =
            headers.iter().fold(agent().post(self.url(path)), |request, (key, value)| request.header(*key, *value));
        Reply::of(request.send(body).unwrap())
    }

    pub(crate) fn options(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let request =
            headers.iter().fold(agent().options(self.url(path)), |request, (key, value)| request.header(*key, *value));
        Reply::of(request.call().unwrap())
    }

    /// A connection for what no proper client does.
    pub(crate) fn connect(&self) -> Raw {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Raw(stream)
    }

    /// A request whose answer is read as it comes.
    pub(crate) fn begin(&self, path: &str, body: &Value) -> Raw {
        let mut raw = self.connect();
        let body = body.to_string();
        raw.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        raw
    }

    /// The value of a metric, by the whole of its name with its labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = self.get("/metrics").body;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    pub(crate) fn wait_for(&self, name: &str, value: f64) {
        let start = Instant::now();
        while self.metric(name) != value {
            assert!(start.elapsed() < Duration::from_secs(60), "{name} is {}, not {value}", self.metric(name));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the server has ended.
    pub(crate) fn ended(&mut self) -> Result<(), Error> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

fn agent() -> ureq::Agent {
    let config =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(120)));
    config.build().into()
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    fn of(mut response: ureq::http::Response<ureq::Body>) -> Self {
        let text = |value: &ureq::http::HeaderValue| value.to_str().unwrap().to_string();
        let headers = response.headers().iter().map(|(key, value)| (key.to_string(), text(value))).collect();
        Self { status: response.status().as_u16(), headers, body: response.body_mut().read_to_string().unwrap() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The answer of a request that was answered.
    pub(crate) fn done(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// Status and message of one that was refused, in OpenAI's form.
    pub(crate) fn refused(&self) -> (u16, String) {
        let error = &self.json()["error"];
        let keys: Vec<&String> = error.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["message", "type", "param", "code"], "{self:?}");
        (self.status, error["message"].as_str().unwrap().to_string())
    }

    /// The data of the events of a stream.
    pub(crate) fn events(&self) -> Vec<String> {
        assert_eq!((self.status, self.header("content-type")), (200, Some("text/event-stream")), "{self:?}");
        events(&self.body)
    }
}

pub(crate) fn events(body: &str) -> Vec<String> {
    let events = body.split("\n\n").filter(|event| !event.is_empty() && !event.starts_with(':'));
    events.map(|event| event.strip_prefix("data: ").unwrap_or_else(|| panic!("{event:?}")).to_string()).collect()
}

pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until the text has come.
    pub(crate) fn read_until(&mut self, text: &str) -> String {
        let mut read = Vec::new();
        let mut buffer = [0; 1024];
        while !String::from_utf8_lossy(&read).contains(text) {
            let count = self.0.read(&mut buffer).unwrap();
            assert!(count > 0, "ended before {text:?}: {}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8(read).unwrap()
    }

    /// All that comes until the server closes.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset ends it as well.
        let _ = self.0.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).into_owned()
    }
}

pub(crate) fn user(content: &str) -> Value {
    json!([{ "role": "user", "content": content }])
}
