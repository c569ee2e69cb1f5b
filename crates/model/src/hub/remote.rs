//! The Hub over HTTP: which files a revision has, what a file's hash is, and its bytes from a place on. Everything that a
//! server or the network does wrong becomes a [`HubError`] here.

use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{HeaderMap, Method, Request, Response, Uri};
use ureq::{Agent, Body, Proxy};

use super::cache::Blob;
use super::source::is_commit;
use super::{HubError, HubId, Settings};

/// A wait longer than this is told rather than waited for.
const LONGEST_PAUSE: u64 = 60;

/// More redirections than this in a row lead nowhere.
const REDIRECTIONS: usize = 10;

pub(super) struct Remote<'a> {
    agent: Agent,
    id: &'a HubId,
    settings: &'a Settings,
}

/// What becomes of a user's token.
enum TokenUse {
    /// There is none.
    None,
    /// It would go through a network as it stands.
    Withheld,
    Sent,
}

/// The files of a revision.
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: Vec<String>,
}

#[derive(Deserialize)]
struct Info {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl<'a> Remote<'a> {
    pub(super) fn new(id: &'a HubId, settings: &'a Settings) -> Result<Self, HubError> {
        if !is_web_address(&settings.endpoint) {
            return Err(HubError::Endpoint { value: settings.endpoint.clone() });
        }
        // A server on this machine is never behind a proxy, whatever NO_PROXY leaves out.
        let proxy = (!settings.is_local()).then(Proxy::try_from_env).flatten();
        // Certificates are checked against Mozilla's roots, which `ureq` has built in (`webpki-roots`); nothing turns that off.
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(settings.is_encrypted())
            .user_agent(concat!("kindling/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .proxy(proxy)
            .timeout_connect(Some(settings.patience))
            .timeout_resolve(Some(settings.patience))
            .timeout_per_read(Some(settings.patience))
            .build();
        Ok(Self { agent: config.into(), id, settings })
    }

    pub(super) fn listing(&self) -> Result<Listing, HubError> {
        let revision = encoded(self.id.revision());
        let url = format!("{}/api/models/{}/revision/{revision}", self.settings.endpoint, self.id.repository);
        let mut response = self.patiently(is_of_the_hub, || self.ask(Method::GET, &url, None, None))?;
        let text = response.body_mut().read_to_string().map_err(|error| self.unreachable(&error))?;
        let info: Info = serde_json::from_str(&text).map_err(|error| answer(&url, error.to_string()))?;
        if !is_commit(&info.sha) {
            return Err(answer(&url, format!("`{}` is no commit", info.sha)));
        }
        Ok(Listing { commit: info.sha, files: info.siblings.into_iter().map(|file| file.rfilename).collect() })
    }

    /// Hash and size of a file. The Hub itself answers, before it sends on to where large files lie: nobody there knows
    /// the hash. What it sends on to on itself is a repository under its new name.
    pub(super) fn describe(&self, commit: &str, file: &str) -> Result<Blob, HubError> {
        let mut url = self.file_url(commit, file);
        for _ in 0..5 {
            let response = self.patiently(HubError::is_passing, || self.ask(Method::HEAD, &url, Some(file), None))?;
            match header(response.headers(), "location")
                .filter(|place| place.starts_with('/') && !place.starts_with("//"))
            {
                Some(place) => url = format!("{}{place}", origin(&self.settings.endpoint)),
                None => return blob(response.headers()).ok_or_else(|| answer(&url, "no hash and size".into())),
            }
        }
        Err(answer(&url, "it sends on and on".into()))
    }

    /// The bytes of a file from `start` on, or from 0 if the server cannot do that: the place they begin at comes first.
    pub(super) fn open(&self, commit: &str, file: &str, start: u64) -> Result<(u64, impl Read + use<>), HubError> {
        let range = (start > 0).then(|| format!("bytes={start}-"));
        let response = self.ask(Method::GET, &self.file_url(commit, file), Some(file), range)?;
        let start = if response.status() == 206 { start } else { 0 };
        Ok((start, response.into_body().into_reader()))
    }

    fn file_url(&self, commit: &str, file: &str) -> String {
        let path = file.split('/').map(encoded).collect::<Vec<_>>().join("/");
        format!("{}/{}/resolve/{commit}/{path}", self.settings.endpoint, self.id.repository)
    }

    /// Again and again while what goes wrong is `worth` it.
    fn patiently<T>(
        &self,
        worth: fn(&HubError) -> bool,
        mut ask: impl FnMut() -> Result<T, HubError>,
    ) -> Result<T, HubError> {
        let mut attempts = 1;
        loop {
            let error = match ask() {
                Err(error) if worth(&error) => error,
                other => return other,
            };
            match self.pause(attempts, &error) {
                Some(pause) => std::thread::sleep(pause),
                None => return Err(error),
            }
            attempts += 1;
        }
    }

    /// How long to wait after this many attempts without any success; `None` when there were enough.
    pub(super) fn pause(&self, attempts: u32, error: &HubError) -> Option<Duration> {
        let asked = match error {
            HubError::Busy { retry_after: Some(seconds), .. } if *seconds > LONGEST_PAUSE => return None,
            HubError::Busy { retry_after: Some(seconds), .. } => Duration::from_secs(*seconds),
            _ => Duration::ZERO,
        };
        let pause = self.settings.pause * 2u32.pow(attempts.saturating_sub(1).min(6));
        (attempts < self.settings.attempts).then(|| pause.max(asked))
    }

    fn ask(
        &self,
        method: Method,
        url: &str,
        file: Option<&str>,
        range: Option<String>,
    ) -> Result<Response<Body>, HubError> {
        let mut place = url.to_string();
        for _ in 0..=REDIRECTIONS {
            let response = self.ask_at(&method, &place, range.as_deref())?;
            match response.status().as_u16() {
                // The Hub tells the hash of a file in LFS while it sends on, so a HEAD is not sent on.
                301 | 302 | 303 | 307 | 308 if method != Method::HEAD => {
                    let location = header(response.headers(), "location").unwrap_or_default();
                    place = resolved(&place, &location);
                    if location.is_empty() || !is_web_address(&place) {
                        return Err(answer(url, format!("it redirects to `{location}`")));
                    }
                }
                200..400 => return Ok(response),
                status => return Err(self.refusal(url, status, response.headers(), file)),
            }
        }
        Err(self.unreachable(&ureq::Error::TooManyRedirects))
    }

    /// One request, of which no redirection is followed: `ureq` would send the token to every port of the Hub's host.
    fn ask_at(&self, method: &Method, place: &str, range: Option<&str>) -> Result<Response<Body>, HubError> {
        let mut request = Request::builder().method(method).uri(place);
        if let Some(token) = self.settings.sent_token().filter(|_| is_of_one_origin(place, &self.settings.endpoint)) {
            request = request.header("authorization", token.authorization());
        }
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let request = request.body(()).map_err(|error| answer(place, error.to_string()))?;
        let request = self.agent.configure_request(request).max_redirects(0).build();
        self.agent.run(request).map_err(|error| self.unreachable(&error))
    }

    /// What an answer means that is none. The Hub says it in a header; mirrors may only have a status.
    fn refusal(&self, url: &str, status: u16, headers: &HeaderMap, file: Option<&str>) -> HubError {
        let (endpoint, repository) = (self.settings.endpoint.clone(), self.id.repository.clone());
        let revision = self.id.revision().to_string();
        match (status, header(headers, "x-error-code").as_deref(), file) {
            (_, Some("GatedRepo"), _) => HubError::Gated { help: self.how_to_enter(), repository },
            (404, Some("RevisionNotFound"), _) => HubError::NoRevision { repository, revision, endpoint },
            (_, Some("RepoNotFound"), _) | (404, _, None) => {
                HubError::NotFound { id: self.id.to_string(), help: self.how_to_find(), endpoint }
            }
            (404, _, Some(file)) => {
                let help = "the Hub lists it among the files, so this will pass: try again later".into();
                HubError::MissingFile { repository, revision, file: file.into(), help }
            }
            (401 | 403, ..) => HubError::Refused { repository, endpoint, status, help: self.how_to_find() },
            (429, ..) => self.busy(headers),
            (500.., ..) => HubError::Server { endpoint, status },
            _ => answer(url, format!("status {status}")),
        }
    }

    fn how_to_find(&self) -> String {
        let endpoint = &self.settings.endpoint;
        match self.token() {
            TokenUse::None => {
                "check the spelling; if it is private, set HF_TOKEN to a token that may read it, or run `hf auth login`"
                    .into()
            }
            TokenUse::Withheld => format!("check the spelling; {}", self.withheld()),
            TokenUse::Sent => format!(
                "check the spelling, and at {endpoint}/settings/tokens whether the token from HF_TOKEN or `hf auth login` is \
                 still valid and may read it"
            ),
        }
    }

    fn how_to_enter(&self) -> String {
        let place = format!("{}/{}", self.settings.endpoint, self.id.repository);
        match self.token() {
            TokenUse::None => {
                format!("accept them at {place}, then set HF_TOKEN to a token of that account, or run `hf auth login`")
            }
            TokenUse::Withheld => self.withheld(),
            TokenUse::Sent => format!(
                "accept them at {place} with the account of the token in use (from HF_TOKEN or `hf auth login`); a \
                 fine-grained token must also be allowed to read gated repositories"
            ),
        }
    }

    fn token(&self) -> TokenUse {
        match (&self.settings.token, self.settings.sent_token()) {
            (None, _) => TokenUse::None,
            (Some(_), None) => TokenUse::Withheld,
            (Some(_), Some(_)) => TokenUse::Sent,
        }
    }

    fn withheld(&self) -> String {
        let endpoint = &self.settings.endpoint;
        format!(
            "the token is not sent to {endpoint}, where it could be read on the way: set HF_ENDPOINT to an https address"
        )
    }

    fn busy(&self, headers: &HeaderMap) -> HubError {
        let retry_after = header(headers, "retry-after").and_then(|seconds| seconds.parse().ok());
        let when =
            retry_after.map_or("try again later".into(), |seconds: u64| format!("try again in {seconds} seconds"));
        let help = match self.token() {
            TokenUse::None => format!("{when}; with a token (HF_TOKEN or `hf auth login`) the limit is higher"),
            TokenUse::Withheld => format!("{when}; {}", self.withheld()),
            TokenUse::Sent => when,
        };
        HubError::Busy { endpoint: self.settings.endpoint.clone(), retry_after, help }
    }

    /// What has gone wrong while the bytes of [`Remote::open`] were read.
    pub(super) fn broken(&self, error: io::Error) -> HubError {
        self.unreachable(&error.into())
    }

    fn unreachable(&self, error: &ureq::Error) -> HubError {
        let endpoint = self.settings.endpoint.clone();
        if let Some(reason) = of_certificate(error) {
            return HubError::Certificate { endpoint, reason };
        }
        let reason = match error {
            ureq::Error::HostNotFound => "its name is not known to this network".into(),
            ureq::Error::Timeout(_) => format!("no sign of life for {} seconds", self.settings.patience.as_secs_f32()),
            ureq::Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => "the connection was closed".into(),
            ureq::Error::Io(error) => error.to_string(),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => return answer(&endpoint, error.to_string()),
            ureq::Error::RequireHttpsOnly(place) => {
                return answer(&endpoint, format!("it redirects to {place}, without TLS"));
            }
            other => other.to_string(),
        };
        let help = "check the network; behind a proxy set HTTPS_PROXY, for a mirror HF_ENDPOINT".into();
        HubError::NoConnection { endpoint, reason, help }
    }
}

/// What is wrong with the certificate of a server. The type of the error is that of rustls, whose words these are.
fn of_certificate(error: &ureq::Error) -> Option<String> {
    let words = match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Rustls(error) => error.to_string(),
        _ => return None,
    };
    words.strip_prefix("invalid peer certificate: ").map(str::to_owned)
}

/// The first question is not repeated without a connection: who works without a network has the cache, and should not
/// wait for it in every command.
fn is_of_the_hub(error: &HubError) -> bool {
    matches!(error, HubError::Server { .. } | HubError::Busy { .. })
}

fn answer(url: &str, reason: String) -> HubError {
    HubError::Answer { url: url.into(), reason }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(Into::into)
}

/// `x-linked-*` speak of the file, the others of the answer, which for a file in LFS is a redirection.
fn blob(headers: &HeaderMap) -> Option<Blob> {
    let either = |linked, plain| header(headers, linked).or_else(|| header(headers, plain));
    let tag = either("x-linked-etag", "etag")?;
    let hash = tag.trim_start_matches("W/").trim_matches('"').to_string();
    let size = either("x-linked-size", "content-length")?.parse().ok()?;
    // It becomes a file name.
    let known = matches!(hash.len(), 40 | 64) && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    known.then_some(Blob { hash, size })
}

fn is_web_address(endpoint: &str) -> bool {
    endpoint.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|it| !it.is_empty())
    })
}

/// `https://host` of `https://host/path`.
fn origin(endpoint: &str) -> &str {
    let host = endpoint.find("://").map_or(0, |scheme| scheme + 3);
    endpoint[host..].find('/').map_or(endpoint, |path| &endpoint[..host + path])
}

/// Whether two addresses have scheme, host and port in common.
fn is_of_one_origin(one: &str, other: &str) -> bool {
    let origin = |address: &str| {
        let uri: Uri = address.parse().ok()?;
        let is_encrypted = uri.scheme_str()? == "https";
        let port = uri.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
        Some((is_encrypted, uri.host()?.to_ascii_lowercase(), port))
    };
    origin(one).is_some_and(|one| origin(other) == Some(one))
}

/// Where a redirection leads to: it names an address, one without its scheme, a path from the root, or one from where it stands.
fn resolved(from: &str, location: &str) -> String {
    let (location, _) = location.split_once('#').unwrap_or((location, ""));
    let is_scheme = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if location.starts_with("//") {
        let (scheme, _) = from.split_once("//").unwrap_or_default();
        format!("{scheme}{location}")
    } else if location.starts_with('/') {
        format!("{}{location}", origin(from))
    } else if location.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme)) {
        location.to_string()
    } else {
        let (path, _) = from.split_once('?').unwrap_or((from, ""));
        let (directory, _) = path.rsplit_once('/').unwrap_or_default();
        format!("{directory}/{location}")
    }
}

/// Percent-encoded as one part of a path: a branch may be called `feature/x`.
fn encoded(part: &str) -> String {
    part.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use ureq::tls::RootCerts;

    use super::*;

    #[test]
    fn certificates_are_checked_and_what_is_asked_over_tls_is_answered_over_tls() {
        let id = HubId::parse("org/tiny").unwrap();
        for (endpoint, https_only) in [("https://hub.example", true), ("http://hub.example", false)] {
            let settings = Settings { endpoint: endpoint.into(), ..Settings::from_environment() };
            let remote = Remote::new(&id, &settings).unwrap();
            let config = remote.agent.config();
            assert_eq!(config.https_only(), https_only, "{endpoint}");
            assert!(!config.tls_config().disable_verification());
            assert!(matches!(config.tls_config().root_certs(), RootCerts::WebPki));
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (one, other) in [
            ("https://hub.example/a?b", "https://HUB.example:443"),
            ("http://127.0.0.1/a", "http://127.0.0.1:80/b"),
            ("http://[::1]:8080", "http://[::1]:8080/a"),
        ] {
            assert!(is_of_one_origin(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("https://hub.example", "https://hub.example:8443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8081"),
            ("https://hub.example", "http://hub.example"),
            ("https://hub.example", "https://cdn.hub.example"),
            ("https://hub.example", "https://hub.example@other.example"),
            ("/a", "/a"),
        ] {
            assert!(!is_of_one_origin(one, other), "{one} {other}");
        }
    }

    #[test]
    fn a_redirection_leads_to_an_address() {
        let from = "http://hub.example:8080/org/tiny/resolve/main/a.json?x=/y";
        for (location, expected) in [
            ("https://cdn.example/b?c#d", "https://cdn.example/b?c"),
            ("//cdn.example/b", "http://cdn.example/b"),
            ("/b?next=http://x", "http://hub.example:8080/b?next=http://x"),
            ("b.json", "http://hub.example:8080/org/tiny/resolve/main/b.json"),
            ("file:///etc/passwd", "file:///etc/passwd"),
        ] {
            assert_eq!(resolved(from, location), expected);
        }
    }
}
