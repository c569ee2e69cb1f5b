//! The models there are: the base and its adapters.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};

use crate::answered::{Asked, answered};
use crate::app::App;
use crate::engine::Model;
use crate::json::Json;
use crate::problem::Problem;

pub(crate) async fn list(State(app): State<Arc<App>>) -> Json {
    let models: Vec<Value> = app.engine.models().iter().map(|model| card(model)).collect();
    Json(json!({ "object": "list", "data": models }))
}

pub(crate) async fn one(
    State(app): State<Arc<App>>,
    Extension(asked): Extension<Asked>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(name) = name.map_err(|_| Problem::request("the name of a model in a path should be UTF-8"))?;
    let model = app.engine.model(&name)?;
    asked.found(&model);
    Ok(answered(&model, Json(card(&model))))
}

/// OpenAI's, with `root`, `parent` and `max_model_len` as vLLM has them, and what the model is for.
fn card(model: &Model) -> Value {
    json!({
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "kindling",
        "root": model.parent.as_ref().unwrap_or(&model.name),
        "parent": model.parent,
        "max_model_len": model.max_length,
        "task": model.task.to_string(),
        "labels": model.labels,
        "columns": model.columns,
        "endpoints": endpoints(model),
        "system_fingerprint": model.fingerprint,
    })
}

/// What can be asked of it.
fn endpoints(model: &Model) -> &'static [&'static str] {
    match (model.writes(), model.chats) {
        (true, true) => &["/v1/chat/completions", "/v1/completions"],
        (true, false) => &["/v1/completions"],
        (false, _) => &["/classify", "/predict"],
    }
}
