//! `POST /classify`, as vLLM has it: `data` with an answer for each text.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::response::Response;
use inference::Answer;
use serde_json::{Map, Value, json};
use tasks::number;

use crate::answered::answered;
use crate::app::App;
use crate::choice::Use;
use crate::engine::{Answered, Inputs, Model, Text};
use crate::fields::{Fields, kind};
use crate::id;
use crate::json::Json;
use crate::problem::Problem;

const INPUT: &str = "input";
const TO_TRUNCATE: &str = "\"truncate_prompt_tokens\": -1";

pub(crate) async fn classify(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let mut fields = app.fields(request).await?;
    let model = app.model(&mut fields, Use::Classify)?;
    let texts = texts(&mut fields, app.settings.max_inputs)?;
    // vLLM's -1 is the length that the model reads.
    let truncate = fields.integer("truncate_prompt_tokens", -1..=-1)?.is_some();
    let is_true = |value: &Value| *value == Value::Bool(true);
    fields.expect("add_special_tokens", is_true, "texts are read as in training")?;
    fields.expect("use_activation", is_true, "ask /predict with `\"raw_scores\": true`")?;
    app.ignored("/classify", fields.finish(&["user"])?);
    let answers = ask(&app, &model, Inputs { texts, truncate, to_truncate: TO_TRUNCATE }).await?;
    let tokens: usize = answers.iter().map(|answered| answered.tokens).sum();
    let data: Vec<Value> = answers.iter().enumerate().map(|(index, it)| entry(index, &it.answer, &model)).collect();
    let answer = json!({
        "id": id::named("classify"),
        "object": "list",
        "created": id::now(),
        "model": model.name,
        "system_fingerprint": model.fingerprint,
        "data": data,
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0 },
    });
    Ok(answered(&model, Json(answer)))
}

/// The answers, counted.
pub(crate) async fn ask(app: &App, model: &Arc<Model>, inputs: Inputs) -> Result<Vec<Answered>, Problem> {
    let arrived = Instant::now();
    let answers = app.in_time(app.engine.predict(model, inputs)).await?;
    let tokens = answers.iter().map(|answered| answered.tokens).sum();
    app.metrics.classified(&model.name, answers.len(), tokens, arrived.elapsed());
    Ok(answers)
}

/// A text or several. A pair, which vLLM does not have here, is a list of two.
fn texts(fields: &mut Fields, max: usize) -> Result<Vec<Text>, Problem> {
    const EXPECTED: &str = "a text, or a list of texts or pairs of them";
    let values = match fields.required(INPUT, EXPECTED)? {
        Value::Array(values) => values,
        value @ Value::String(_) => return Ok(vec![text(INPUT, INPUT.to_string(), value)?]),
        other => {
            return Err(Problem::field(INPUT, format!("`input` should be {EXPECTED}, found {}", kind(&other))));
        }
    };
    check_count(INPUT, values.len(), max)?;
    let text = |(number, value)| text(INPUT, format!("{INPUT}[{number}]"), value);
    values.into_iter().enumerate().map(text).collect()
}

pub(crate) fn check_count(name: &str, count: usize, max: usize) -> Result<(), Problem> {
    match count {
        0 => Err(Problem::field(name, format!("`{name}` is empty: give one text or more"))),
        _ if count > max => {
            Err(Problem::field(name, format!("`{name}` has {count} texts: at most {max} are answered at once")))
        }
        _ => Ok(()),
    }
}

/// A text, a list of one, or a pair, which is at this place of the request.
pub(crate) fn text(name: &str, place: String, value: Value) -> Result<Text, Problem> {
    let text = |value: &Value| {
        let found = kind(value);
        value.as_str().map(str::to_string).ok_or_else(|| {
            Problem::field(name, format!("`{name}` should be texts or pairs of texts, found {found} among them"))
        })
    };
    match &value {
        Value::Array(values) => match values.as_slice() {
            [only] => Ok(Text { text: text(only)?, pair: None, place: format!("{place}[0]") }),
            [first, second] => Ok(Text { text: text(first)?, pair: Some(text(second)?), place }),
            _ => {
                let message = format!("`{name}` should be texts or pairs of texts, found a list of {}", values.len());
                Err(Problem::field(name, message))
            }
        },
        value => Ok(Text { text: text(value)?, pair: None, place }),
    }
}

/// vLLM's for a class; of other tasks what `kindling predict` says.
fn entry(index: usize, answer: &Answer, model: &Model) -> Value {
    let mut entry = Map::from_iter([("index".to_string(), json!(index))]);
    let numbers = |values: &mut dyn Iterator<Item = f32>| values.map(number).collect::<Vec<Value>>();
    match answer {
        Answer::Class(class) => {
            entry.insert("label".to_string(), class.label().into());
            entry.insert("probs".to_string(), numbers(&mut class.probabilities.iter().copied()).into());
            entry.insert("num_classes".to_string(), model.labels.len().into());
        }
        Answer::Labels(labels) => {
            let chosen: Vec<&str> = labels.label_ids().map(|label| model.labels[label].as_str()).collect();
            entry.insert("labels".to_string(), json!(chosen));
            entry.insert("probs".to_string(), numbers(&mut labels.probabilities.iter().map(|it| *it as f32)).into());
            entry.insert("num_classes".to_string(), model.labels.len().into());
        }
        Answer::Value(_) | Answer::Entities(_) => entry.extend(answer.object(false)),
    }
    entry.into()
}
