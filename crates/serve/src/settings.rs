//! What whoever starts the server decides.

use std::path::PathBuf;
use std::time::Duration;

use crate::ApiKeys;

/// The defaults are for one machine's own programs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What a client must show; `None`: nothing.
    pub api_keys: Option<ApiKeys>,
    /// Pages from elsewhere that browsers let read the answers, as `https://example.org`; `*` is any.
    pub cors_origins: Vec<String>,
    /// Names that the server answers to beside those of this machine, where it listens on that alone.
    pub allowed_hosts: Vec<String>,
    /// Below which adapters may be loaded over HTTP; `None`: none may be. Without links in it.
    pub adapter_root: Option<PathBuf>,
    /// Bytes of a request.
    pub max_body: usize,
    /// Texts written for one prompt.
    pub max_samples: u32,
    /// New tokens of a text.
    pub max_tokens: u32,
    /// Prompts, or texts to classify, of one request.
    pub max_inputs: usize,
    /// At the same time; for another one that which has been idle longest is closed.
    pub max_connections: usize,
    /// From the request's first byte read to the end of its answer.
    pub request_timeout: Duration,
    /// For the head of a request, for its body, and for each piece of an answer to be taken.
    pub client_timeout: Duration,
    /// For running answers when the server is to stop.
    pub grace: Duration,
    /// Gives what was freed back to the system, where the program's allocator keeps it.
    pub release_memory: fn(),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            api_keys: None,
            cors_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            adapter_root: None,
            max_body: 4 << 20,
            max_samples: 16,
            max_tokens: 4096,
            max_inputs: 1024,
            max_connections: 512,
            request_timeout: Duration::from_secs(600),
            client_timeout: Duration::from_secs(30),
            grace: Duration::from_secs(20),
            release_memory: || {},
        }
    }
}
