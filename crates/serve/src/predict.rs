//! `POST /predict`, as text-embeddings-inference has it: a text, a pair or several, and of each the scores of all classes,
//! the largest first.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use inference::Answer;
use serde_json::{Value, json};
use tasks::number;

use crate::answered::answered;
use crate::app::App;
use crate::choice::Use;
use crate::classify::{ask, check_count, text};
use crate::engine::{Inputs, Model, Text};
use crate::fields::{Fields, kind};
use crate::json::Json;
use crate::problem::Problem;

const INPUTS: &str = "inputs";
const TO_TRUNCATE: &str = "\"truncate\": true";

pub(crate) async fn predict(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let mut fields = app.fields(request).await?;
    let model = app.model(&mut fields, Use::Classify)?;
    let (texts, is_batch) = inputs(&mut fields, app.settings.max_inputs)?;
    let raw_scores = fields.flag("raw_scores")?.unwrap_or(false);
    let truncate = fields.flag("truncate")?.unwrap_or(false);
    check_direction(&mut fields)?;
    fields.finish(&[])?;
    let answers = ask(&app, &model, Inputs { texts, truncate, to_truncate: TO_TRUNCATE }).await?;
    let mut answers: Vec<Value> = answers.iter().map(|it| scores(&it.answer, &model, raw_scores)).collect();
    let answer = if is_batch { Value::Array(answers) } else { answers.remove(0) };
    Ok(answered(&model, Json(answer)))
}

/// TEI's three forms: a text, a list of one text or of two that are a pair, and a list of such lists. Texts, and whether they
/// came as a list of lists.
fn inputs(fields: &mut Fields, max: usize) -> Result<(Vec<Text>, bool), Problem> {
    const EXPECTED: &str = "a text, a pair of texts, or a list of lists of one text or two";
    match fields.required(INPUTS, EXPECTED)? {
        Value::Array(values) if values.iter().any(Value::is_array) => {
            check_count(INPUTS, values.len(), max)?;
            let texts = values.into_iter().enumerate().map(|(number, value)| match value {
                value @ Value::Array(_) => text(INPUTS, format!("{INPUTS}[{number}]"), value),
                other => Err(Problem::field(
                    INPUTS,
                    format!("`inputs` should be {EXPECTED}, found {} beside lists", kind(&other)),
                )),
            });
            Ok((texts.collect::<Result<_, _>>()?, true))
        }
        Value::Array(values) if values.len() > 2 => {
            let message = format!(
                "`inputs` has {} texts: several are a list of lists, [[\"a\"], [\"b\"]]; two in one list are a pair",
                values.len()
            );
            Err(Problem::field(INPUTS, message))
        }
        Value::Array(values) => {
            check_count(INPUTS, values.len(), max)?;
            Ok((vec![text(INPUTS, INPUTS.to_string(), Value::Array(values))?], false))
        }
        value @ Value::String(_) => Ok((vec![text(INPUTS, INPUTS.to_string(), value)?], false)),
        other => Err(Problem::field(INPUTS, format!("`inputs` should be {EXPECTED}, found {}", kind(&other)))),
    }
}

fn check_direction(fields: &mut Fields) -> Result<(), Problem> {
    const NAME: &str = "truncation_direction";
    match fields.take(NAME) {
        Some(direction) if direction.as_str().is_none_or(|word| !word.eq_ignore_ascii_case("right")) => Err(
            Problem::field(NAME, format!("`{NAME}` is {direction}: texts are truncated on the right, as in training")),
        ),
        Some(_) | None => Ok(()),
    }
}

/// Of classes and labels TEI's scores; of a number it as the only score; of entities those of Transformers' pipeline.
fn scores(answer: &Answer, model: &Model, raw_scores: bool) -> Value {
    let of_classes = |values: Vec<f32>| {
        let mut scores: Vec<(f32, &String)> = values.into_iter().zip(&model.labels).collect();
        scores.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        scores.into_iter().map(|(score, label)| json!({ "score": number(score), "label": label })).collect()
    };
    match answer {
        Answer::Class(class) if raw_scores => of_classes(class.logits.clone()),
        Answer::Class(class) => of_classes(class.probabilities.clone()),
        Answer::Labels(labels) if raw_scores => of_classes(labels.logits.clone()),
        Answer::Labels(labels) => of_classes(labels.probabilities.iter().map(|it| *it as f32).collect()),
        Answer::Value(value) => json!([{ "score": number(*value), "label": "LABEL_0" }]),
        Answer::Entities(answer) => answer
            .entities
            .iter()
            .map(|it| {
                let score = number(it.score as f32);
                json!({ "entity_group": it.label, "score": score, "word": it.text, "start": it.start, "end": it.end })
            })
            .collect(),
    }
}
