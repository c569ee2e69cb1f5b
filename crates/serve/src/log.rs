//! What the server has to say to whoever runs it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

type Say = dyn Fn(&str) + Send + Sync;

/// Takes lines; where they go is the caller's affair.
#[derive(Clone)]
pub struct Log {
    say: Arc<Say>,
    /// What is said once only.
    said: Arc<Mutex<BTreeSet<String>>>,
}

impl Log {
    pub fn new(say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { say: Arc::new(say), said: Arc::default() }
    }

    pub(crate) fn say(&self, line: &str) {
        (self.say)(line);
    }

    pub(crate) fn say_once(&self, line: String) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if !said.contains(&line) {
            self.say(&line);
            said.insert(line);
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}
