//! Where the Hub is, where its cache is and who is asking: the variables that `huggingface_hub` reads, by its rules. This
//! is the one place that looks at the environment.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::Uri;

/// How the Hub is used.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `HF_ENDPOINT`, without a slash at its end and without a name and a password: they are not sent, and messages show the rest.
    pub endpoint: String,
    /// `HF_HUB_CACHE`, or `hub` in `HF_HOME`.
    pub cache: PathBuf,
    /// `HF_TOKEN`, or what `hf auth login` has stored.
    pub token: Option<Token>,
    /// `HF_HUB_OFFLINE`: the network is not touched.
    pub offline: bool,
    /// How often the same is tried in a row without getting any further.
    pub attempts: u32,
    /// How long the first pause between two attempts is; each is twice as long as the one before.
    pub pause: Duration,
    /// How long a connection may be silent.
    pub patience: Duration,
}

/// A token, which no message and no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Settings {
    pub fn from_environment() -> Self {
        Self::read(|name| std::env::var_os(name))
    }

    fn read(environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
        let text = |name: &str| variable(name).and_then(|value| value.into_string().ok());
        let user = variable("HOME").map(PathBuf::from).or_else(std::env::home_dir).unwrap_or_default();
        let path = |name: &str| variable(name).map(|value| below_home(Path::new(&value), &user));
        let cached = path("XDG_CACHE_HOME").unwrap_or_else(|| user.join(".cache"));
        let home = path("HF_HOME").unwrap_or_else(|| cached.join("huggingface"));
        let switch = |name: &str| {
            text(name).is_some_and(|value| matches!(value.to_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE"))
        };
        let stored = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
        let token = text("HF_TOKEN")
            .or_else(|| text("HUGGING_FACE_HUB_TOKEN"))
            .or_else(|| std::fs::read_to_string(stored).ok())
            .and_then(|token| Token::new(&token));
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        Self {
            endpoint: without_userinfo(endpoint.trim_end_matches('/')),
            cache: path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE")).unwrap_or_else(|| home.join("hub")),
            token: token.filter(|_| !switch("HF_HUB_DISABLE_IMPLICIT_TOKEN")),
            offline: switch("HF_HUB_OFFLINE") || switch("TRANSFORMERS_OFFLINE"),
            attempts: 5,
            pause: Duration::from_millis(500),
            patience: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// The token, where nobody but the Hub can read it: over TLS, or on this machine.
    pub(super) fn sent_token(&self) -> Option<&Token> {
        self.token.as_ref().filter(|_| self.is_encrypted() || self.is_local())
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.endpoint.parse::<Uri>().is_ok_and(|uri| uri.scheme_str() == Some("https"))
    }

    /// Whether the endpoint is on this machine.
    pub(super) fn is_local(&self) -> bool {
        let is_loopback = |host: &str| {
            let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
        };
        self.endpoint.parse::<Uri>().is_ok_and(|uri| uri.host().is_some_and(is_loopback))
    }
}

impl Token {
    /// `None` for what is no token: a header cannot carry it.
    pub fn new(text: &str) -> Option<Self> {
        let token = text.trim();
        (!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Self(token.into()))
    }

    pub(super) fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// An address without the name and the password before its host. Of what is no address all before an `@` goes: the password may be at
/// fault.
fn without_userinfo(address: &str) -> String {
    let (scheme, rest) = address.split_at(address.find("://").map_or(0, |scheme| scheme + 3));
    let end = match address.parse::<Uri>() {
        Ok(_) => rest.find(['/', '?', '#']).unwrap_or(rest.len()),
        Err(_) => rest.len(),
    };
    let host = rest[..end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}{}", &rest[host..])
}

/// `~/x` as the shell would have written it: a variable set in a file has not been through one.
fn below_home(path: &Path, user: &Path) -> PathBuf {
    path.strip_prefix("~").map_or_else(|_| path.into(), |rest| user.join(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Settings {
        Settings::read(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_cache_is_the_one_that_python_uses() {
        let home = ("HOME", "/home/ada");
        let cache = |variables: &[(&str, &str)]| read(&[variables, &[home]].concat()).cache;
        assert_eq!(cache(&[]), Path::new("/home/ada/.cache/huggingface/hub"));
        assert_eq!(cache(&[("HF_HOME", "")]), Path::new("/home/ada/.cache/huggingface/hub"));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/c")]), Path::new("/c/huggingface/hub"));
        assert_eq!(cache(&[("HF_HOME", "~/hf"), ("XDG_CACHE_HOME", "/c")]), Path::new("/home/ada/hf/hub"));
        assert_eq!(cache(&[("HF_HUB_CACHE", "/d"), ("HF_HOME", "/hf")]), Path::new("/d"));
    }

    #[test]
    fn the_token_comes_from_the_environment_or_its_file_and_is_not_shown() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().to_str().unwrap();
        assert_eq!(read(&[("HF_HOME", directory)]).token, None);
        std::fs::write(home.path().join("token"), "hf_stored\n").unwrap();
        let stored = read(&[("HF_HOME", directory)]);
        assert_eq!(stored.token, Token::new("hf_stored"));
        assert!(!format!("{stored:?}").contains("hf_stored"));
        assert_eq!(read(&[("HF_HOME", directory), ("HF_TOKEN", " hf_typed ")]).token, Token::new("hf_typed"));
        assert_eq!(read(&[("HF_HOME", directory), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]).token, None);
        assert_eq!(read(&[("HF_HOME", "/nowhere"), ("HF_TOKEN", "a\nb")]).token, None);
    }

    #[test]
    fn offline_is_what_python_takes_for_true() {
        assert!(!read(&[]).offline);
        assert!(!read(&[("HF_HUB_OFFLINE", "0")]).offline);
        assert!(read(&[("HF_HUB_OFFLINE", "1")]).offline);
        assert!(read(&[("TRANSFORMERS_OFFLINE", "yes")]).offline);
    }

    #[test]
    fn a_token_is_sent_over_tls_and_within_this_machine_alone() {
        let is_sent = |endpoint| read(&[("HF_TOKEN", "hf_x"), ("HF_ENDPOINT", endpoint)]).sent_token().is_some();
        for endpoint in [
            "https://huggingface.co",
            "HTTPS://hub.example/",
            "https://127.0.0.1:8443",
            "http://127.0.0.1:8080",
            "http://127.1.2.3",
            "http://localhost:8080/hub",
            "http://LOCALHOST",
            "http://[::1]:8080",
        ] {
            assert!(is_sent(endpoint), "{endpoint}");
        }
        for endpoint in [
            "http://huggingface.co",
            "HTTP://hub.example/",
            "http://localhost.example",
            "http://127.0.0.1.example",
            "http://127.0.0.1@hub.example",
            "http://10.0.0.1",
            "http://0.0.0.0",
            "http://[::]",
            "http://[2001:db8::1]",
            "hub.example",
        ] {
            assert!(!is_sent(endpoint), "{endpoint}");
        }
    }

    #[test]
    fn an_endpoint_has_no_password() {
        for (typed, expected) in [
            ("https://ada:pass@hub.example/hf/", "https://hub.example/hf"),
            ("http://ada@127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("https://hub.example/a@b", "https://hub.example/a@b"),
            // No addresses: a space, no scheme, another scheme.
            ("https://ada:pa s/s@hub.example", "https://hub.example"),
            ("ada:pass@hub.example", "hub.example"),
            ("ftp://ada:pass@hub.example", "ftp://hub.example"),
            ("not a url", "not a url"),
        ] {
            assert_eq!(read(&[("HF_ENDPOINT", typed)]).endpoint, expected);
        }
    }

    #[test]
    fn an_endpoint_ends_without_a_slash() {
        assert_eq!(read(&[]).endpoint, "https://huggingface.co");
        assert_eq!(read(&[("HF_ENDPOINT", "https://hub.example/")]).endpoint, "https://hub.example");
    }
}
