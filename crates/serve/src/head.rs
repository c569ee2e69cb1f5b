//! The bytes of a request's head. Hyper's buffer has this limit, too, but what it reads at once may be more.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;

pub(crate) const MAX_HEAD_BYTES: usize = 64 << 10;

pub(crate) async fn check(request: Request, next: Next) -> Response {
    // Each line with what is between its parts and at its end.
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let first = request.method().as_str().len() + path + " HTTP/1.1\r\n".len() + 1;
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    let head = first + fields.sum::<usize>() + "\r\n".len();
    match head > MAX_HEAD_BYTES {
        true => {
            let message = format!("the request's head has {head} bytes: at most {MAX_HEAD_BYTES} are read");
            Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message).into_response()
        }
        false => next.run(request).await,
    }
}
