//! Who may ask: keys, and pages in browsers.

use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::app::App;
use crate::host;
use crate::problem::Problem;

/// What is answered to anybody: whether the server runs, and the page, say nothing of the models. The page asks for a key.
const OPEN: [&str; 3] = ["/", "/health", "/ready"];

/// The keys that clients may show, as their hashes: all are equally long, so that the time of a comparison says nothing.
#[derive(Clone)]
pub struct ApiKeys(Arc<[[u8; 32]]>);

impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKeys")
    }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum KeyError {
    #[error("cannot read the API keys in {file}: {source}")]
    Read { file: String, source: std::io::Error },
    #[error("{file} has no API key")]
    #[diagnostic(help("write one on each line, for example what `openssl rand -hex 32` prints"))]
    None { file: String },
}

impl ApiKeys {
    /// One key a line; empty lines are passed over.
    pub fn read(file: &Path) -> Result<Self, KeyError> {
        let shown = || file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|source| KeyError::Read { file: shown(), source })?;
        let keys: Vec<[u8; 32]> = text.lines().map(str::trim).filter(|key| !key.is_empty()).map(hash).collect();
        if keys.is_empty() { Err(KeyError::None { file: shown() }) } else { Ok(Self(keys.into())) }
    }

    /// Compares with every key, whichever is right.
    fn has(&self, key: &str) -> bool {
        let key = hash(key);
        let found = self.0.iter().fold(Choice::from(0), |found, known| found | known.ct_eq(&key));
        found.into()
    }
}

/// Whether every user of this machine may read the file, where files have such permissions.
pub fn is_readable_by_all(file: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        const OF_OTHERS: u32 = 0o004;
        std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & OF_OTHERS != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        false
    }
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Lets a request through, or refuses it.
pub(crate) async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = origin.as_ref().is_some_and(|origin| is_allowed(&app, origin));
    let mut response = match () {
        () if allowed && request.method() == Method::OPTIONS => preflight(request.headers()),
        () => match refusal(&app, &request, allowed) {
            Some(problem) => problem.into_response(),
            None => next.run(request).await,
        },
    };
    if let Some(origin) = origin.filter(|_| allowed) {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}

fn is_allowed(app: &App, origin: &HeaderValue) -> bool {
    app.settings.cors_origins.iter().any(|allowed| allowed == "*" || origin.as_bytes() == allowed.as_bytes())
}

fn refusal(app: &App, request: &Request, is_allowed: bool) -> Option<Problem> {
    if let Some(problem) = host::refusal(app, request.headers()) {
        return Some(problem);
    }
    if !is_allowed && !is_own(app, request.headers()) {
        let message = "pages of other sites may not use this server: name theirs with `--cors-origin` if they are to";
        return Some(Problem::new(StatusCode::FORBIDDEN, message));
    }
    let keys = app.settings.api_keys.as_ref().filter(|_| !OPEN.contains(&request.uri().path()))?;
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let key = shown.and_then(|value| value.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
    let message = match key {
        Some((_, key)) if keys.has(key.trim()) => return None,
        Some(_) => "the API key is not one of this server's",
        None => "an API key is needed: send it as `Authorization: Bearer KEY`",
    };
    Some(Problem::new(StatusCode::UNAUTHORIZED, message).code("invalid_api_key"))
}

/// Whether it is no page that asks, since programs send no origin, or the server's own.
fn is_own(app: &App, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Some((_, host)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else { return false };
    let same = headers.get(header::HOST).is_some_and(|named| named.as_bytes() == host.as_bytes());
    same && host::is_answered(app, host::without_port(host))
}

/// Which headers a client sends is its own affair: none of them is obeyed that is not known.
fn preflight(asked: &HeaderMap) -> Response {
    const USUAL: HeaderValue = HeaderValue::from_static("authorization, content-type");
    let allowed = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned().unwrap_or(USUAL);
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}
