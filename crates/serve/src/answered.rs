//! Which model a request is for, and which gave an answer.

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};

use crate::engine::Model;

/// Which model a request was for, beside it: for the metrics. Only models that are served come here, whatever clients write.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked(Arc<OnceLock<Arc<str>>>);

impl Asked {
    pub(crate) fn found(&self, model: &Model) {
        // One request asks one model.
        self.0.get_or_init(|| model.name.as_str().into());
    }

    /// The model's name; empty where none was found.
    pub(crate) fn model(&self) -> Arc<str> {
        self.0.get().cloned().unwrap_or_else(|| "".into())
    }
}

/// What an answer was made of, as a header: not every form of an answer has room for it.
const FINGERPRINT: &str = "x-system-fingerprint";

/// The answer of a model, with what it was made of.
pub(crate) fn answered(model: &Model, answer: impl IntoResponse) -> Response<Body> {
    let mut response = answer.into_response();
    if let Ok(fingerprint) = HeaderValue::from_str(&model.fingerprint) {
        response.headers_mut().insert(FINGERPRINT, fingerprint);
    }
    response
}
