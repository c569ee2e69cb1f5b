//! A headless Chromium, driven by the DevTools protocol over two pipes: no socket, and nothing to install but the browser.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Browser {
    process: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    count: u64,
    session: String,
    /// Errors of scripts and violations of the page's policy.
    pub(crate) complaints: Vec<String>,
    _profile: TempDir,
}

fn executable() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let directories: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let find =
        |name| directories.iter().map(move |directory: &PathBuf| directory.join(name)).find(|path| path.is_file());
    names.iter().find_map(find)
}

impl Browser {
    /// A page at this address; `None`, said on standard error, where there is no Chromium.
    pub(crate) fn open(url: &str, width: u32, height: u32) -> Option<Self> {
        let Some(executable) = executable() else {
            // Not through `eprintln!`, which the test harness keeps to itself.
            let line = b"skipped: there is no Chromium in PATH to open the page with\n";
            std::io::stderr().write_all(line).unwrap();
            return None;
        };
        let mut browser = Self::start(&executable);
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let session = browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = session["sessionId"].as_str().unwrap().to_string();
        for domain in ["Runtime", "Log", "Page"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        browser.call("Emulation.setDeviceMetricsOverride", screen);
        browser.call("Page.navigate", json!({ "url": url }));
        browser.wait_until("document.readyState === 'complete' && location.protocol === 'http:'");
        Some(browser)
    }

    /// Chromium reads from its third descriptor and writes to its fourth.
    fn start(executable: &Path) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut process = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#])
            .arg(executable)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(output).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { break };
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let (count, session, complaints) = (0, String::new(), Vec::new());
        Self { process, input, messages, count, session, complaints, _profile: profile }
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.count += 1;
        let mut message = json!({ "id": self.count, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.as_str().into();
        }
        write!(self.input, "{message}\0").unwrap();
        loop {
            let answer = self.messages.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{method}: {error}"));
            if answer["id"] == self.count {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.notice(&answer);
        }
    }

    fn notice(&mut self, event: &Value) {
        let said = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => &event["params"]["exceptionDetails"],
            // A status that is no success is an entry of its own, and shown in the page.
            Some("Log.entryAdded") if event["params"]["entry"]["source"] != "network" => &event["params"]["entry"],
            _ => return,
        };
        self.complaints.push(said.to_string());
    }

    /// The value of an expression of JavaScript.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// What is seen of the only element that a selector finds.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        let found = self.texts(selector);
        assert_eq!(found.len(), 1, "{selector}: {found:?}");
        found.into_iter().next().unwrap()
    }

    pub(crate) fn texts(&mut self, selector: &str) -> Vec<String> {
        let found = self.value(&format!(
            "[...document.querySelectorAll({selector:?})].filter((it) => it.checkVisibility()).map((it) => it.innerText)"
        ));
        found.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_string()).collect()
    }

    pub(crate) fn wait_until(&mut self, expression: &str) {
        let start = Instant::now();
        while self.value(expression) != true {
            let seen = |browser: &mut Self| browser.value("document.body.innerText");
            assert!(start.elapsed() < PATIENCE, "never {expression}: {}", seen(self));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Types into what has the focus.
    pub(crate) fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    pub(crate) fn press(&mut self, key: &str) {
        self.press_with(key, false);
    }

    pub(crate) fn press_with(&mut self, key: &str, shift: bool) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            "Escape" => (27, ""),
            "ArrowDown" => (40, ""),
            "Space" => (32, " "),
            "Backspace" => (8, ""),
            other => panic!("no key {other}"),
        };
        let key = if key == "Space" { " " } else { key };
        let mut event = json!({ "type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": if shift { 8 } else { 0 } });
        if !text.is_empty() {
            event["text"] = text.into();
        }
        self.call("Input.dispatchKeyEvent", event.clone());
        event["type"] = "keyUp".into();
        event.as_object_mut().unwrap().remove("text");
        self.call("Input.dispatchKeyEvent", event);
    }

    /// The id of the element that has the focus.
    pub(crate) fn focus(&mut self) -> String {
        self.value("document.activeElement.id").as_str().unwrap().to_string()
    }

    /// Goes there with the Tab key.
    pub(crate) fn tab_to(&mut self, id: &str) {
        let mut passed = Vec::new();
        while self.focus() != id {
            assert!(passed.len() < 30, "Tab never comes to {id}: {passed:?}");
            passed.push(self.focus());
            self.press("Tab");
        }
    }

    /// Chooses in a closed list, by the arrow key.
    pub(crate) fn choose(&mut self, id: &str, value: &str) {
        self.tab_to(id);
        let options = self.value("document.activeElement.length").as_u64().unwrap();
        for _ in 0..=options {
            if self.value("document.activeElement.value") == value {
                return;
            }
            self.press("ArrowDown");
        }
        panic!("{value} is none of {id}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its other processes end with it; those of a killed one might not.
        let _ = write!(self.input, "{}\0", json!({ "id": 0, "method": "Browser.close" }));
        let start = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
