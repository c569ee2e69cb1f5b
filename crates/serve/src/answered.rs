//! An answer, and which model gave it.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};

use crate::engine::Model;

/// Which model has answered, beside a response: for the metrics.
#[derive(Debug, Clone)]
pub(crate) struct AnsweredBy(pub(crate) Arc<str>);

/// What an answer was made of, as a header: not every form of an answer has room for it.
const FINGERPRINT: &str = "x-system-fingerprint";

/// The answer of a model, with what it was made of.
pub(crate) fn answered(model: &Model, answer: impl IntoResponse) -> Response<Body> {
    let mut response = answer.into_response();
    if let Ok(fingerprint) = HeaderValue::from_str(&model.fingerprint) {
        response.headers_mut().insert(FINGERPRINT, fingerprint);
    }
    response.extensions_mut().insert(AnsweredBy(model.name.as_str().into()));
    response
}
