//! A JSON document as an answer.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

#[derive(Debug)]
pub(crate) struct Json(pub(crate) Value);

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], self.0.to_string()).into_response()
    }
}
