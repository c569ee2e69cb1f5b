//! What every request is answered with, and what every answer needs of it: the body, the model, the time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::engine::{Engine, Model};
use crate::fields::Fields;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::stage::{Stage, reached};
use crate::{Log, Settings};

#[derive(Debug)]
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) settings: Settings,
    pub(crate) log: Log,
    pub(crate) metrics: Metrics,
    pub(crate) stage: watch::Receiver<Stage>,
    /// Whether it is reached from this machine alone.
    pub(crate) is_local: bool,
}

/// Which model has answered, beside a response: for the metrics.
#[derive(Debug, Clone)]
pub(crate) struct AnsweredBy(pub(crate) Arc<str>);

/// What an answer was made of, as a header: not every form of an answer has room for it.
const FINGERPRINT: &str = "x-system-fingerprint";

impl App {
    /// The JSON object that the request is.
    pub(crate) async fn fields(&self, request: Request) -> Result<Fields, Problem> {
        check_content_type(request.headers())?;
        Fields::parse(&self.body(request).await?)
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
            Ok(bytes)
        };
        let allowed = self.settings.client_timeout;
        timeout(allowed, read).await.unwrap_or_else(|_| {
            let message = format!("the body was not complete after {} s", allowed.as_secs_f64());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, message))
        })
    }

    /// The model that a request names; where it names none, the only one that can answer.
    pub(crate) fn model(&self, fields: &mut Fields, use_: Use) -> Result<Arc<Model>, Problem> {
        let name = fields.text("model")?;
        let Some(name) = name else {
            let models = self.engine.models();
            let fit: Vec<&Arc<Model>> = models.iter().filter(|model| use_.is_of(model)).collect();
            if let [only] = fit.as_slice() {
                return Ok(Arc::clone(only));
            }
            // Somebody who serves one adapter means it, and not its base.
            let adapters: Vec<&Arc<Model>> = fit.iter().copied().filter(|model| model.parent.is_some()).collect();
            if let [only] = adapters.as_slice() {
                return Ok(Arc::clone(only));
            }
            // In the order of their names, as the engine has them.
            let names = suggest::list(fit.iter().map(|model| model.name.as_str()));
            let message = match (fit.is_empty(), use_) {
                (true, Use::Classify) => "none of the models classifies: /v1/models says what each is for".to_string(),
                (true, Use::Write) => "none of the models writes texts: /v1/models says what each is for".to_string(),
                (true, Use::Tokens) | (false, _) => format!("`model` is missing: {}", known(&names)),
            };
            return Err(Problem::field("model", message));
        };
        let model = self.engine.model(&name)?;
        match use_.is_of(&model) {
            true => Ok(model),
            false => Err(self.other_use(&model, use_)),
        }
    }

    fn other_use(&self, model: &Model, wanted: Use) -> Problem {
        let models = self.engine.models();
        let names = suggest::list(models.iter().filter(|model| wanted.is_of(model)).map(|model| model.name.as_str()));
        let instead = if model.writes() { "/v1/chat/completions or /v1/completions" } else { "/classify or /predict" };
        let message = format!(
            "`{}` is a model for {}, which {}: ask it with {instead}; for this {}",
            model.name,
            model.task,
            if model.writes() { "does not classify" } else { "does not write texts" },
            known(&names)
        );
        Problem::field("model", message).code("wrong_task")
    }

    /// The answer before the time of the request is over, and before the server has ended.
    pub(crate) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, crate::EngineError>>,
    ) -> Result<T, Problem> {
        let mut stage = self.stage.clone();
        tokio::select! {
            answer = timeout(self.settings.request_timeout, answer) => match answer {
                Ok(answer) => Ok(answer?),
                Err(_) => Err(self.too_late()),
            },
            () = reached(&mut stage, Stage::Ended) => Err(Problem::stopping()),
        }
    }

    pub(crate) fn too_late(&self) -> Problem {
        Problem::timeout(self.settings.request_timeout.as_secs_f64())
    }

    pub(crate) fn deadline(&self) -> Instant {
        // A duration that no clock reaches is none that matters.
        Instant::now()
            .checked_add(self.settings.request_timeout)
            .unwrap_or(Instant::now() + Duration::from_secs(1 << 30))
    }

    /// Fields of OpenAI's that have no effect here are said once.
    pub(crate) fn ignored(&self, path: &str, names: &[&str]) {
        for name in names {
            self.log.say_once(format!("requests to {path} have the field `{name}`: it has no effect here"));
        }
    }
}

fn known(names: &str) -> String {
    if names.is_empty() { "there is no model".to_string() } else { format!("there are {names}") }
}

/// What a request needs a model for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Write,
    Classify,
    /// Its tokenizer.
    Tokens,
}

impl Use {
    fn is_of(self, model: &Model) -> bool {
        match self {
            Self::Write => model.writes(),
            Self::Classify => !model.writes(),
            Self::Tokens => true,
        }
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

/// The answer of a model, with what it was made of.
pub(crate) fn answered(model: &Model, answer: impl IntoResponse) -> Response<Body> {
    let mut response = answer.into_response();
    if let Ok(fingerprint) = HeaderValue::from_str(&model.fingerprint) {
        response.headers_mut().insert(FINGERPRINT, fingerprint);
    }
    response.extensions_mut().insert(AnsweredBy(model.name.as_str().into()));
    response
}
