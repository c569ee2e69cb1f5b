//! The body of a request: JSON, within its limits of bytes and time.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::answered::Asked;
use crate::app::App;
use crate::fields::Fields;
use crate::problem::Problem;

impl App {
    /// The JSON object that the request is.
    pub(crate) async fn fields(&self, request: Request) -> Result<Fields, Problem> {
        check_content_type(request.headers())?;
        let asked = request.extensions().get::<Asked>().cloned().unwrap_or_default();
        Fields::parse(&self.body(request).await?, asked)
    }

    /// The body within its limits of bytes and time.
    async fn body(&self, request: Request) -> Result<Vec<u8>, Problem> {
        let limit = self.settings.max_body;
        let too_large = || {
            let message = format!("the body is larger than {limit} bytes: send less, or several requests");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message)
        };
        let announced =
            request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: u64| length > limit as u64) {
            return Err(too_large());
        }
        let mut body = request.into_body();
        let read = async {
            let mut bytes = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| Problem::request("the body ended before it was complete"))?;
                if let Ok(data) = frame.into_data() {
                    if bytes.len() + data.len() > limit {
                        return Err(too_large());
                    }
                    bytes.extend_from_slice(&data);
                }
            }
            self.memory.read(bytes.len());
            Ok(bytes)
        };
        let allowed = self.settings.client_timeout;
        timeout(allowed, read).await.unwrap_or_else(|_| {
            let message = format!("the body was not complete after {} s", allowed.as_secs_f64());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, message))
        })
    }
}

/// Browsers send other types to any server without asking it, so that a page of the web could.
fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let of_body = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = of_body.split(';').next().unwrap_or_default().trim();
    let refused = |message| Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    if !essence.eq_ignore_ascii_case("application/json") {
        return refused("the body should be JSON: send it with `Content-Type: application/json`");
    }
    match headers.get(header::CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity") {
        true => Ok(()),
        false => refused("the body is compressed: send it without `Content-Encoding`"),
    }
}
