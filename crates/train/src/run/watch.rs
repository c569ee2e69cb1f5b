//! `train --watch`: the page of a run in progress, served on this machine alone.
//!
//! A few lines of HTTP/1.1: one page, made of what the run's directory holds when it is asked for. It tells the browser to
//! ask again after some seconds; the page of a finished run does not. The server ends with the run, but stays until browsers
//! that were looking have the last page, for a few seconds at most. It answers requests to the loopback interface by
//! its own name alone, so that no page of the web can read it through a browser.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::directory::in_progress;
use crate::report::{self, Report};

/// After which a browser asks again.
const REFRESH: Duration = Duration::from_secs(3);
/// The time a browser has for its request, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at a time; browsers open some that they do not use.
const CONNECTIONS: usize = 16;
/// Bytes of a request.
const REQUEST: u64 = 16 * 1024;

/// A bound socket, before there is a run to show.
#[derive(Debug)]
pub(crate) struct Watch {
    listener: TcpListener,
    address: SocketAddr,
}

impl Watch {
    /// On the loopback interface; port 0 is any that is free.
    pub(crate) fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Serves the page of the run at `root` until the answer is dropped.
    ///
    /// # Errors
    /// The system starts no more threads.
    pub(super) fn serve(self, root: &Path) -> io::Result<Watching> {
        let shared = Arc::new(Shared {
            root: root.into(),
            address: self.address,
            ended: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            seen: Mutex::new(Seen { at: None, last: false }),
        });
        let server = shared.clone();
        let listener = self.listener;
        // The thread ends with the process; nothing waits for it.
        std::thread::Builder::new().spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                server.clone().take(stream);
            }
        })?;
        Ok(Watching(shared))
    }
}

/// The server of a run; dropped when the run has ended.
#[derive(Debug)]
pub(super) struct Watching(Arc<Shared>);

impl Drop for Watching {
    /// A browser that looks on gets the page of the finished run.
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
        let start = Instant::now();
        let is_looking = |seen: &Seen| !seen.last && seen.at.is_some_and(|at| at.elapsed() < 3 * REFRESH);
        while start.elapsed() < 2 * REFRESH && is_looking(&self.0.seen()) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    address: SocketAddr,
    ended: AtomicBool,
    connections: AtomicUsize,
    seen: Mutex<Seen>,
}

/// When the page was asked for, and whether that was after the run's end.
#[derive(Debug)]
struct Seen {
    at: Option<Instant>,
    last: bool,
}

struct Answer {
    status: &'static str,
    kind: &'static str,
    body: String,
    refresh: bool,
}

impl Shared {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: Arc<Self>, stream: TcpStream) {
        // Beyond that it is closed at once.
        if self.connections.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS {
            self.connections.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        let shared = self.clone();
        let answer = move || {
            // A browser that goes away is no failure of the run.
            let _ = shared.answer(&stream);
            shared.connections.fetch_sub(1, Ordering::SeqCst);
        };
        // Without a thread for it the connection is closed.
        if std::thread::Builder::new().spawn(answer).is_err() {
            self.connections.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn answer(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let Some(request) = Request::read(stream)? else { return Ok(()) };
        let ended = self.ended.load(Ordering::SeqCst);
        let answer = self.respond(&request);
        let refresh = if answer.refresh { format!("Refresh: {}\r\n", REFRESH.as_secs()) } else { String::new() };
        let body = if request.method == "HEAD" { "" } else { &answer.body };
        write!(
            &*stream,
            "HTTP/1.1 {}\r\nContent-Type: {}; charset=utf-8\r\nContent-Length: {}\r\n{refresh}Cache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{body}",
            answer.status,
            answer.kind,
            answer.body.len(),
        )?;
        if answer.status.starts_with("200") {
            let mut seen = self.seen();
            (seen.at, seen.last) = (Some(Instant::now()), ended);
        }
        Ok(())
    }

    fn respond(&self, request: &Request) -> Answer {
        let plain =
            |status, text: &str| Answer { status, kind: "text/plain", body: format!("{text}\n"), refresh: false };
        let names = [self.address.to_string(), format!("localhost:{}", self.address.port())];
        if !names.contains(&request.host) {
            return plain("403 Forbidden", "this page is for the machine that trains");
        }
        if request.method != "GET" && request.method != "HEAD" {
            return plain("405 Method Not Allowed", "only GET");
        }
        if request.path != "/" {
            return plain("404 Not Found", "there is only /");
        }
        match self.page() {
            Ok((body, refresh)) => Answer { status: "200 OK", kind: "text/html", body, refresh },
            // A file may be in the middle of its replacement: the browser asks again.
            Err(reason) => Answer { refresh: true, ..plain("503 Service Unavailable", &reason) },
        }
    }

    /// The page, and whether there will be a newer one.
    fn page(&self) -> Result<(String, bool), String> {
        let root = in_progress(&self.root);
        let mut report = Report::read(&root).map_err(|error| error.to_string())?;
        if root != self.root {
            report.title = self.root.file_name().unwrap_or_default().to_string_lossy().into_owned();
            report.place = self.root.display().to_string();
        }
        report.live = !self.ended.load(Ordering::SeqCst) && !report.finished;
        let page = report::html(&report).map_err(|error| error.to_string())?;
        Ok((page, report.live))
    }
}

#[derive(Debug, PartialEq)]
struct Request {
    method: String,
    path: String,
    host: String,
}

impl Request {
    /// `None` of a connection that was opened and not used.
    fn read(stream: &TcpStream) -> io::Result<Option<Self>> {
        Self::parse(BufReader::new(stream.take(REQUEST)))
    }

    fn parse(mut reader: impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
        let path = target.split('?').next().unwrap_or_default().to_string();
        let mut request = Self { method: method.to_string(), path, host: String::new() };
        loop {
            line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                return Ok(Some(request));
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("host")
            {
                request.host = value.trim().to_string();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn only_this_machine_reads_the_page_and_nobody_writes() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("config.toml"), "seed = 1\n").unwrap();
        let watch = Watch::bind(0).unwrap();
        let address = watch.address;
        assert!(address.ip().is_loopback());
        let watching = watch.serve(directory.path()).unwrap();
        let get = |host: &str| asked(address, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));

        let page = get(&address.to_string());
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("\r\nRefresh: 3\r\n"), "{page}");
        assert!(page.contains("about to take its first step"), "{page}");
        assert!(get("rebound.example").starts_with("HTTP/1.1 403 "));
        let post = asked(address, &format!("POST / HTTP/1.1\r\nHost: {address}\r\n\r\n"));
        assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
        let other = asked(address, &format!("GET /../config.toml HTTP/1.1\r\nHost: {address}\r\n\r\n"));
        assert!(other.starts_with("HTTP/1.1 404 ") && !other.contains("seed"), "{other}");
        let head = asked(address, &format!("HEAD / HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", address.port()));
        assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");

        // Whoever looked gets the last page before the server ends.
        let ending = std::thread::spawn(move || drop(watching));
        while get(&address.to_string()).contains("\r\nRefresh:") {}
        ending.join().unwrap();
    }

    #[test]
    fn a_request_that_is_none_is_no_request() {
        let parse = |text: &str| Request::parse(text.as_bytes()).unwrap();
        assert_eq!((parse(""), parse("\r\n"), parse("GET\r\n")), (None, None, None));
        let request = parse("GET /?a=1 HTTP/1.1\r\nhOsT:  x:1 \r\n\r\n").unwrap();
        assert_eq!((request.path.as_str(), request.host.as_str()), ("/", "x:1"));
        assert!(Request::parse(b"GET \xff HTTP/1.1\r\n".as_slice()).is_err());
    }
}
