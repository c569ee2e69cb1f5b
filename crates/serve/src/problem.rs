//! What an answer says where it is an error: OpenAI's form, `{"error": {"message", "type", "param", "code"}}`, with a status
//! that fits.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::engine::{CHANGED_BASE, Error};
use crate::json::Json;

/// After which a client is told to try again where there was no room for its request.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Names that a client sends are shown to it; one of megabytes would hide what is said of it.
const MAX_MESSAGE_CHARS: usize = 1000;

#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// The field that is to blame.
    pub(crate) param: Option<String>,
    pub(crate) code: Option<&'static str>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code: None }
    }

    /// A request that cannot be answered as it is.
    pub(crate) fn request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// A field that is not as it should be.
    pub(crate) fn field(name: &str, message: impl Into<String>) -> Self {
        Self { param: Some(name.to_string()), ..Self::request(message) }
    }

    /// Blames a field, unless another one is blamed already, or the server.
    pub(crate) fn at(self, name: &str) -> Self {
        match self.status.is_client_error() {
            true => Self { param: self.param.or_else(|| Some(name.to_string())), ..self },
            false => self,
        }
    }

    pub(crate) fn code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    pub(crate) fn timeout(seconds: f64) -> Self {
        let message =
            format!("the answer was not complete after {seconds} s: ask for fewer tokens, or try again later");
        Self::new(StatusCode::GATEWAY_TIMEOUT, message).code("timeout")
    }

    /// Of the server, not of a request.
    pub(crate) fn changed_base() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, CHANGED_BASE).code("changed_base")
    }

    pub(crate) fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping: the answer is not complete")
            .code("stopping")
    }

    pub(crate) fn body(&self) -> Value {
        let kind = match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        let param = self.param.as_deref().map(cut);
        json!({ "error": { "message": cut(&self.message), "type": kind, "param": param, "code": self.code } })
    }
}

/// Its beginning and its end, where it is too long.
fn cut(text: &str) -> Cow<'_, str> {
    if text.chars().count() <= MAX_MESSAGE_CHARS {
        return text.into();
    }
    let half = MAX_MESSAGE_CHARS / 2;
    let beginning: String = text.chars().take(half).collect();
    let end: Vec<char> = text.chars().rev().take(half).collect();
    format!("{beginning} ... {}", end.iter().rev().collect::<String>()).into()
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let bad = |param: Option<String>| Self { param, ..Self::request(&message) };
        match error {
            Error::QueueFull { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, message).code("queue_full"),
            Error::TooLong { field, .. } => bad(field).code("context_length_exceeded"),
            Error::Cache { field, .. } => bad(field).code("cache_too_small"),
            Error::Truncated { field, .. } => {
                Self { status: StatusCode::PAYLOAD_TOO_LARGE, ..bad(field) }.code("input_too_long")
            }
            Error::Input { field, .. } => bad(field),
            Error::Unsupported { field, .. } => bad(Some(field)).code("unsupported"),
            Error::NoModel { .. } => Self::new(StatusCode::NOT_FOUND, message).code("model_not_found"),
            Error::NameTaken { .. } => Self::new(StatusCode::CONFLICT, message),
            Error::Failed { .. } | Error::Panicked => Self::new(StatusCode::INTERNAL_SERVER_ERROR, message),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => _ = headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into()),
            StatusCode::UNAUTHORIZED => {
                _ = headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // What is left of the body is not read.
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
                _ = headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}
