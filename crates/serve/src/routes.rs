//! Which path is answered where.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::handler::Handler;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};

use crate::app::App;
use crate::problem::Problem;
use crate::stage::Stage;
use crate::{access, adapters, classify, head, metrics, openai, openapi, page, predict, tokens};

/// All paths, for suggestions.
pub(crate) const PATHS: [&str; 15] = [
    "/",
    "/v1/models",
    "/v1/models/{model}",
    "/v1/chat/completions",
    "/v1/completions",
    "/classify",
    "/predict",
    "/tokenize",
    "/detokenize",
    "/v1/load_lora_adapter",
    "/v1/unload_lora_adapter",
    "/health",
    "/ready",
    "/metrics",
    "/openapi.json",
];

pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(page::show))
        .route("/v1/models", get(openai::models::list))
        .route("/v1/models/{*model}", get(openai::models::one))
        .route("/v1/chat/completions", post(openai::chat))
        .route("/v1/completions", post(openai::completions))
        .route("/classify", post(classify::classify))
        .route("/predict", post(predict::predict))
        .route("/tokenize", post(tokens::tokenize))
        .route("/detokenize", post(tokens::detokenize))
        .route("/v1/load_lora_adapter", post(adapters::load))
        .route("/v1/unload_lora_adapter", post(adapters::unload))
        .route("/health", get(StatusCode::OK))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics::show))
        .route("/openapi.json", get(openapi::show))
        .fallback(nothing)
        .layer(from_fn_with_state(app.clone(), access::check))
        .layer(from_fn(head::check))
        .layer(from_fn_with_state(app.clone(), metrics::count))
        .with_state(app)
}

/// The models are loaded before anybody is answered, so it is ready until it stops, or until the base is another.
async fn ready(State(app): State<Arc<App>>) -> Response {
    let stage = *app.stage.borrow();
    match stage {
        Stage::Open if app.engine.is_intact().await => StatusCode::OK.into_response(),
        Stage::Open => Problem::changed_base().into_response(),
        Stage::Stopping | Stage::Ended => Problem::stopping().into_response(),
    }
}

async fn nothing(uri: Uri) -> Problem {
    let message = format!("there is nothing at {}: {}", uri.path(), suggest::suggestion(uri.path(), PATHS));
    Problem::new(StatusCode::NOT_FOUND, message)
}

/// HEAD is answered, too. The header `Allow` of a refusal is axum's.
fn get<T: 'static>(handler: impl Handler<T, Arc<App>>) -> MethodRouter<Arc<App>> {
    routing::get(handler).fallback(|method, uri| other_method("GET", method, uri))
}

fn post<T: 'static>(handler: impl Handler<T, Arc<App>>) -> MethodRouter<Arc<App>> {
    routing::post(handler).fallback(|method, uri| other_method("POST", method, uri))
}

async fn other_method(allowed: &'static str, method: Method, uri: Uri) -> Problem {
    let message = format!("{} is asked with {allowed}, not with {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, message)
}
