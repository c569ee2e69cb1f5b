//! A Hugging Face Hub on 127.0.0.1 for tests, of one repository and with the standard library alone: it answers as the real
//! one does in what kindling asks, misbehaves as it is told, and remembers what it was asked.

#![allow(dead_code, reason = "the tests of the library and those of the binary need different parts")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// The commit of every revision there is.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stopped: Arc<AtomicBool>,
}

struct State {
    id: String,
    revisions: Vec<String>,
    files: BTreeMap<String, File>,
    faults: Vec<Fault>,
    log: Vec<Request>,
}

#[derive(Clone)]
struct File {
    content: Vec<u8>,
    /// What names the content in the cache: git's hash, or the SHA-256 of a file in LFS.
    hash: String,
    lfs: bool,
}

/// What goes wrong with requests whose path contains `path`, `times` times.
struct Fault {
    path: String,
    times: usize,
    kind: Kind,
}

#[derive(Clone)]
pub(crate) enum Kind {
    /// A status instead of the answer, and headers with it.
    Status(u16, &'static [(&'static str, &'static str)]),
    /// The connection is closed instead of an answer.
    Close,
    /// The connection is closed after this many bytes of a file.
    Cut(usize),
    /// Nothing more is sent after this many bytes of a file, for as long as the server lives.
    Hang(usize),
    /// Other bytes than those of the file, as many.
    Damage,
    /// So many more bytes after those of the file, which are all that was announced.
    Longer(usize),
    /// A file from its start, whatever range was asked for.
    Whole,
    /// A redirection to the same path below another repository's name.
    Renamed(&'static str),
    /// A redirection to the same path behind this address.
    Redirected(String),
    /// This text as a whole answer.
    Text(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
}

impl Server {
    /// Serves the repository `id` with the branch `main`, which has no files yet.
    pub(crate) fn start(id: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let revisions = vec!["main".to_string(), COMMIT.to_string()];
        let state = State { id: id.into(), revisions, files: BTreeMap::new(), faults: Vec::new(), log: Vec::new() };
        let (state, stopped) = (Arc::new(Mutex::new(state)), Arc::new(AtomicBool::new(false)));
        let server = Self { address, state, stopped };
        let (state, stopped) = (server.state.clone(), server.stopped.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let (state, stopped) = (state.clone(), stopped.clone());
                // A client that goes away in the middle is part of some tests.
                std::thread::spawn(move || drop(answer(stream, address, &state, &stopped)));
            }
        });
        server
    }

    /// For HF_ENDPOINT.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn revision(&self, name: &str) {
        self.state().revisions.push(name.into());
    }

    /// A file in git.
    pub(crate) fn file(&self, name: &str, content: impl Into<Vec<u8>>) {
        let content = content.into();
        let hash = git_hash(&content);
        self.state().files.insert(name.into(), File { content, hash, lfs: false });
    }

    /// A file in LFS, to which the Hub redirects.
    pub(crate) fn large_file(&self, name: &str, content: impl Into<Vec<u8>>, sha256: &str) {
        let file = File { content: content.into(), hash: sha256.into(), lfs: true };
        self.state().files.insert(name.into(), file);
    }

    /// All files of a directory, as files in git.
    pub(crate) fn directory(&self, directory: &Path) {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            self.file(&entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap());
        }
    }

    /// The next `times` requests whose path contains `path` go wrong; of several faults the first that fits.
    pub(crate) fn fault(&self, path: &str, times: usize, kind: Kind) {
        self.state().faults.push(Fault { path: path.into(), times, kind });
    }

    pub(crate) fn heal(&self) {
        self.state().faults.clear();
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn answer(
    mut stream: TcpStream,
    address: SocketAddr,
    state: &Mutex<State>,
    stopped: &AtomicBool,
) -> std::io::Result<()> {
    let request = read(&stream)?;
    let (fault, answer) = {
        let mut state = state.lock().unwrap();
        state.log.push(request.clone());
        let fault = state.fault(&request);
        (fault.clone(), state.answer(&request, address, fault.as_ref()))
    };
    if matches!(fault, Some(Kind::Close)) {
        return Ok(());
    }
    let mut head = format!("HTTP/1.1 {} -\r\nconnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", answer.body.len()));
    let sent = match fault {
        _ if request.method == "HEAD" => 0,
        Some(Kind::Cut(bytes) | Kind::Hang(bytes)) => bytes.min(answer.body.len()),
        _ => answer.body.len(),
    };
    stream.write_all(&[head.as_bytes(), &answer.body[..sent]].concat())?;
    while matches!(fault, Some(Kind::Hang(_))) && !stopped.load(Ordering::SeqCst) {
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    Ok(())
}

fn read(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut words = first.split(' ').map(String::from);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut request = Request { method, path, range: None, authorization: None };
    for line in lines {
        let line = line?;
        match line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_string())) {
            Some((name, value)) if name == "range" => request.range = Some(value),
            Some((name, value)) if name == "authorization" => request.authorization = Some(value),
            Some(_) => {}
            None => break,
        }
    }
    Ok(request)
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Self { status, headers, body: body.into() }
    }
}

impl State {
    fn fault(&mut self, request: &Request) -> Option<Kind> {
        let bytes = |kind: &Kind| matches!(kind, Kind::Cut(_) | Kind::Hang(_) | Kind::Damage | Kind::Whole);
        let found = self.faults.iter_mut().find(|fault| {
            let fits = request.path.contains(&fault.path) && fault.times > 0;
            fits && !(request.method == "HEAD" && bytes(&fault.kind))
        })?;
        found.times -= 1;
        Some(found.kind.clone())
    }

    fn answer(&self, request: &Request, address: SocketAddr, fault: Option<&Kind>) -> Answer {
        match fault {
            Some(Kind::Status(status, headers)) => return Answer::new(*status, headers, "{}"),
            Some(Kind::Text(text)) => return Answer::new(200, &[], *text),
            Some(Kind::Renamed(old)) => {
                let place = request.path.replacen(old, &self.id, 1);
                return Answer::new(307, &[("location", &place)], "");
            }
            Some(Kind::Redirected(place)) => {
                return Answer::new(302, &[("location", &format!("{place}{}", request.path))], "");
            }
            _ => {}
        }
        if let Some(hash) = request.path.strip_prefix("/lfs/") {
            let file = self.files.values().find(|file| file.hash == hash);
            return file.map_or_else(|| Answer::new(404, &[], ""), |file| file.bytes(request, fault, &[]));
        }
        let api = format!("/api/models/{}/revision/", self.id);
        if let Some(revision) = request.path.strip_prefix(&api) {
            return self.info(&revision.replace("%2F", "/"));
        }
        let file = request.path.strip_prefix(&format!("/{}/resolve/", self.id)).and_then(|rest| rest.split_once('/'));
        match file {
            Some((revision, file)) => self.file(revision, &file.replace("%20", " "), request, address, fault),
            None => Answer::new(404, &[("x-error-code", "RepoNotFound")], r#"{"error":"Repository not found"}"#),
        }
    }

    fn info(&self, revision: &str) -> Answer {
        if !self.revisions.iter().any(|known| known == revision) {
            return Answer::new(404, &[("x-error-code", "RevisionNotFound")], r#"{"error":"Invalid rev id"}"#);
        }
        let siblings: Vec<String> = self.files.keys().map(|name| format!(r#"{{"rfilename":"{name}"}}"#)).collect();
        let body = format!(r#"{{"id":"{}","sha":"{COMMIT}","siblings":[{}]}}"#, self.id, siblings.join(","));
        Answer::new(200, &[("content-type", "application/json")], body)
    }

    fn file(&self, revision: &str, name: &str, request: &Request, address: SocketAddr, fault: Option<&Kind>) -> Answer {
        let known = self.revisions.iter().any(|known| known == revision);
        let Some(file) = self.files.get(name).filter(|_| known) else {
            return Answer::new(404, &[("x-error-code", "EntryNotFound"), ("x-repo-commit", COMMIT)], "");
        };
        let (tag, size) = (format!("\"{}\"", file.hash), file.content.len().to_string());
        if !file.lfs {
            return file.bytes(request, fault, &[("etag", &tag), ("x-repo-commit", COMMIT)]);
        }
        // By another name, as large files lie with another host, whom the token is none of the business.
        let place = format!("http://localhost:{}/lfs/{}", address.port(), file.hash);
        let linked = [("location", &place), ("x-linked-etag", &tag), ("x-linked-size", &size)];
        let linked: Vec<(&str, &str)> = linked.into_iter().map(|(name, value)| (name, value.as_str())).collect();
        Answer::new(302, &[linked.as_slice(), &[("etag", "\"pointer\""), ("x-repo-commit", COMMIT)]].concat(), "")
    }
}

impl File {
    fn bytes(&self, request: &Request, fault: Option<&Kind>, headers: &[(&str, &str)]) -> Answer {
        let mut content = self.content.clone();
        if matches!(fault, Some(Kind::Damage)) {
            content.iter_mut().for_each(|byte| *byte = !*byte);
        }
        if let Some(Kind::Longer(more)) = fault {
            content.resize(content.len() + more, 0);
        }
        let from =
            request.range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        match from.filter(|_| !matches!(fault, Some(Kind::Whole))) {
            Some(from) => Answer::new(206, headers, content.split_off(from)),
            None => Answer::new(200, headers, content),
        }
    }
}

/// The SHA-1 by which git names a file.
pub(crate) fn git_hash(content: &[u8]) -> String {
    let mut message = format!("blob {}\0", content.len()).into_bytes();
    message.extend_from_slice(content);
    let bits = (message.len() as u64 * 8).to_be_bytes();
    message.push(0x80);
    message.resize((message.len() + 8).next_multiple_of(64), 0);
    let end = message.len();
    message[end - 8..].copy_from_slice(&bits);
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in message.chunks_exact(64) {
        let mut words: Vec<u32> =
            block.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]])).collect();
        for i in 16..80 {
            words.push((words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16]).rotate_left(1));
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (i, word) in words.iter().enumerate() {
            let (mix, constant) = match i {
                0..20 => ((b & c) | (!b & d), 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = a.rotate_left(5).wrapping_add(mix).wrapping_add(e).wrapping_add(constant).wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (sum, value) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(value);
        }
    }
    state.iter().map(|word| format!("{word:08x}")).collect()
}
