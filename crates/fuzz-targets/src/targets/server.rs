//! Requests to the server: a path and a body, sent to one that runs in this process with a small model.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use inference::{Base, Device, Frozen};
use serve::{Engine, Limits, Log, Server, Settings};

use super::{Form, Target};
use crate::corpus;

pub(super) fn targets() -> [Target; 1] {
    [Target { name: "requests", form: Form::Request, seeds: requests, run }]
}

fn requests() -> Vec<Vec<u8>> {
    let requests = [
        r#"/v1/chat/completions
{"model":"m","messages":[{"role":"system","content":"a"},{"role":"user","content":"b"}],"max_tokens":2,"temperature":0.7,"top_p":0.9,"seed":1,"stop":["x"],"logprobs":true,"top_logprobs":2,"n":1,"stream":false}"#,
        r#"/v1/chat/completions
{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}}]},{"role":"tool","tool_call_id":"c","content":"b"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],"tool_choice":"auto","max_tokens":1}"#,
        r#"/v1/completions
{"prompt":["a","b"],"max_tokens":2,"temperature":0,"stream":true,"echo":true,"logprobs":1,"frequency_penalty":0.5,"presence_penalty":0.1,"logit_bias":{"5":1.5}}"#,
        "/tokenize\n{\"prompt\":\"a fine film\",\"add_special_tokens\":true}",
        "/detokenize\n{\"tokens\":[1,2,3]}",
        "/classify\n{\"input\":[\"a\",\"b\"]}",
        "/v1/load_lora_adapter\n{\"lora_name\":\"a\",\"lora_path\":\"a/b\"}",
    ];
    requests.map(|request| request.as_bytes().to_vec()).to_vec()
}

/// One for the process: it ends with it.
fn address() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| {
        let directory = corpus::case("llama-lm").join("model");
        let model = Base::open(&directory, Frozen::AsStored, &Device::flex()).expect("a model of the repository");
        let limits = Limits { max_queue: 64, max_batch_tokens: 64, cache_memory: 4 << 20 };
        let base = serve::Base { name: "m".to_owned(), directory, model };
        let engine = Engine::start(base, Vec::new(), limits).expect("a thread");
        let server = Server::bind("127.0.0.1", 0).expect("a port");
        let address = server.address();
        let settings = Settings { max_tokens: 4, max_samples: 2, max_inputs: 8, ..Settings::default() };
        std::thread::spawn(move || server.run(engine, settings, Log::new(|_| ())));
        address
    })
}

/// # Panics
/// Where the server does not answer, or says that the fault is its own.
fn run(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (path, body) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    let mut stream = TcpStream::connect(address()).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time");
    let length = body.len().to_string();
    let head = [
        b"POST ".as_slice(),
        path,
        b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ",
        length.as_bytes(),
        b"\r\n\r\n",
    ];
    let mut reply = Vec::new();
    // It may close before it has read all of a body that it refuses.
    let _ = stream.write_all(&[&head.concat(), body].concat());
    let read = stream.read_to_end(&mut reply);
    assert!(read.is_ok() || !reply.is_empty(), "the server does not answer: {read:?}");
    let text = String::from_utf8_lossy(&reply);
    assert!(text.starts_with("HTTP/1.1 ") && !text.starts_with("HTTP/1.1 500"), "{text}");
}
