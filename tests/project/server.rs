//! `kindling serve` as a process of its own, on a port that was free, and a plain client for it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::Project;

/// A server that runs until it is dropped.
pub(crate) struct Running {
    process: Child,
    output: BufReader<ChildStdout>,
    /// `127.0.0.1:` and its port.
    pub(crate) address: String,
}

impl Running {
    /// Waits until it has printed its address.
    pub(crate) fn start(project: &Project, arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_kindling"))
            .args([&["serve", "--port", "0"], arguments].concat())
            .current_dir(project.path("."))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on http://").map(str::to_string);
        let Some(address) = address else { panic!("{line}, {}", errors(&mut process)) };
        Self { process, output, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    /// A request whose answer is read as it comes.
    pub(crate) fn begin(&self, path: &str, body: &Value) -> TcpStream {
        let (body, mut stream) = (body.to_string(), self.connect());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n"
        );
        write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
        stream
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        document(&mut self.begin(path, body))
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        document(&mut stream)
    }

    /// Ends it by SIGTERM: its exit status, and standard error.
    pub(crate) fn terminated(mut self) -> (Option<i32>, String) {
        let killed = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let status = self.process.wait().unwrap().code();
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "standard output has the address alone");
        (status, errors(&mut self.process))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn errors(process: &mut Child) -> String {
    let mut text = String::new();
    process.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

fn document(stream: &mut TcpStream) -> Value {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{answer}");
    serde_json::from_str(body).unwrap()
}
