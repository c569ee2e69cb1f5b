//! Classes, entities and values, in vLLM's and text-embeddings-inference's forms.

use inference::Answer;
use serde_json::{Value, json};

use crate::served::{Models, fixture, open, trained_on};

const TEXTS: [&str; 2] = ["good", "a film that never ends"];

fn classifier() -> Models {
    Models::of("bert-cls").adapter("films", fixture("bert-cls/trained"))
}

/// What the library answers: label, probabilities and logits of each text.
fn alone(texts: &[&str]) -> Vec<Value> {
    let pipeline = open(&fixture("bert-cls/model"), Some(&fixture("bert-cls/trained")));
    let answers = pipeline.answer_texts(texts).unwrap();
    answers.iter().map(|answer| Value::Object(answer.object(true))).collect()
}

#[test]
fn classify_answers_as_predict_does() {
    let served = classifier().serve();
    let reply = served.post("/classify", &json!({ "model": "films", "input": TEXTS }));
    let print = reply.header("x-system-fingerprint").unwrap().to_string();
    let answer = reply.done();
    let expected = alone(&TEXTS).into_iter().enumerate().map(|(index, alone)| {
        let probs: Vec<&Value> = alone["probabilities"].as_object().unwrap().values().collect();
        json!({ "index": index, "label": alone["label"], "probs": probs, "num_classes": 3 })
    });
    assert_eq!(answer["data"], expected.collect::<Value>());
    assert_eq!((&answer["model"], &answer["object"]), (&json!("films"), &json!("list")));
    assert_eq!(answer["system_fingerprint"], print);
    assert_eq!(answer["usage"]["prompt_tokens"], answer["usage"]["total_tokens"]);
    let one = served.post("/classify", &json!({ "model": "films", "input": TEXTS[1] })).done();
    assert_eq!(one["data"][0]["label"], answer["data"][1]["label"]);
}

#[test]
fn predict_gives_the_scores_of_a_text_and_of_several_the_largest_first() {
    let served = classifier().serve();
    let scores = |alone: &Value, of: &str| {
        let names = alone["probabilities"].as_object().unwrap();
        let values: Vec<&Value> = if of == "logits" {
            alone["logits"].as_array().unwrap().iter().collect()
        } else {
            names.values().collect()
        };
        let mut scores: Vec<(f64, &String)> =
            values.iter().map(|value| value.as_f64().unwrap()).zip(names.keys()).collect();
        scores.sort_by(|a, b| b.0.total_cmp(&a.0));
        scores.into_iter().map(|(score, label)| json!({ "score": score, "label": label })).collect::<Value>()
    };
    let (single, both) = (alone(&TEXTS[..1]), alone(&TEXTS));
    let ask = |inputs: Value, raw: bool| {
        served.post("/predict", &json!({ "model": "films", "inputs": inputs, "raw_scores": raw })).done()
    };
    assert_eq!(ask(json!(TEXTS[0]), false), scores(&single[0], "probabilities"));
    assert_eq!(ask(json!([TEXTS[0]]), false), scores(&single[0], "probabilities"));
    let batch = json!([[TEXTS[0]], [TEXTS[1]]]);
    assert_eq!(
        ask(batch.clone(), false),
        json!([scores(&both[0], "probabilities"), scores(&both[1], "probabilities")])
    );
    assert_eq!(ask(batch, true), json!([scores(&both[0], "logits"), scores(&both[1], "logits")]));
}

#[test]
fn two_texts_in_a_list_are_a_pair() {
    let (model, adapter) = (fixture("bert-cls/model"), fixture("bert-cls/trained"));
    let served = Models::of("bert-cls").adapter("pairs", adapter.clone()).serve();
    let pipeline = open(&model, Some(&adapter));
    let fields = [("text", "a cat sat"), ("text_pair", "an animal sat")];
    let fields = fields.into_iter().map(|(column, text)| (column.to_string(), Value::from(text))).collect();
    let answers = pipeline.answer_records(&[data::Record { line: 1, fields }]).unwrap();
    let Answer::Class(expected) = &answers[0] else { panic!("{answers:?}") };
    let body = json!({ "model": "pairs", "inputs": ["a cat sat", "an animal sat"] });
    let answer = served.post("/predict", &body).done();
    assert_eq!(answer[0], json!({ "score": tasks::number(expected.probability()), "label": expected.label() }));
    let batch = json!({ "model": "pairs", "inputs": [["a cat sat", "an animal sat"], ["a cat sat"]] });
    let batch = served.post("/predict", &batch).done();
    assert_eq!(batch[0], answer);
    assert_ne!(batch[1], answer, "without its second text it is another question");
    let classified =
        served.post("/classify", &json!({ "model": "pairs", "input": [["a cat sat", "an animal sat"]] })).done();
    assert_eq!(classified["data"][0]["label"], expected.label());
}

#[test]
fn a_model_that_was_trained_on_single_texts_takes_no_pair() {
    let directory = trained_on(&json!({ "text": "review" }));
    let served = Models::of("bert-cls").adapter("single", directory.path().to_path_buf()).serve();
    let refused = |path: &str, key: &str, value: Value| {
        let reply = served.post(path, &json!({ "model": "single", key: value }));
        let param = reply.json()["error"]["param"].as_str().unwrap().to_string();
        let (status, message) = reply.refused();
        assert_eq!(status, 400);
        (param, message)
    };
    let expected = |place: &str| {
        let message = format!("`{place}` is a pair, and the model was trained on single texts: give each by itself");
        (place.to_string(), message)
    };
    assert_eq!(refused("/predict", "inputs", json!(["good", "bad"])), expected("inputs"));
    assert_eq!(refused("/classify", "input", json!(["good", ["good", "bad"]])), expected("input[1]"));
    let texts = json!({ "model": "single", "input": ["good", "bad"] });
    assert_eq!(served.post("/classify", &texts).done()["data"].as_array().unwrap().len(), 2);
    // No model for entities reads pairs.
    let served = Models::of("bert-tokcls").adapter("tags", fixture("bert-tokcls/adapter")).serve();
    let reply = served.post("/predict", &json!({ "model": "tags", "inputs": ["the cat", "the dog"] }));
    assert_eq!(reply.refused(), (400, expected("inputs").1));
}

#[test]
fn entities_and_values_are_answered_where_the_task_is_that() {
    let served = Models::of("bert-tokcls").adapter("tags", fixture("bert-tokcls/adapter")).serve();
    let text = "the cat sat on the mat";
    let alone = open(&fixture("bert-tokcls/model"), Some(&fixture("bert-tokcls/adapter")))
        .answer_texts(&[text])
        .unwrap()
        .remove(0);
    let expected = Value::Object(alone.object(false));
    let answer = served.post("/classify", &json!({ "model": "tags", "input": text })).done();
    assert_eq!(
        (&answer["data"][0]["entities"], &answer["data"][0]["tags"]),
        (&expected["entities"], &expected["tags"])
    );
    let predicted = served.post("/predict", &json!({ "model": "tags", "inputs": text })).done();
    let of = |entity: &Value| json!({ "entity_group": entity["label"], "score": entity["score"], "word": entity["text"], "start": entity["start"], "end": entity["end"] });
    assert_eq!(predicted, expected["entities"].as_array().unwrap().iter().map(of).collect::<Value>());

    let served = Models::of("bert-regression").adapter("stars", fixture("bert-regression/adapter")).serve();
    let alone = open(&fixture("bert-regression/model"), Some(&fixture("bert-regression/adapter")))
        .answer_texts(&[text])
        .unwrap()
        .remove(0);
    let Answer::Value(value) = alone else { panic!("{alone:?}") };
    let answer = served.post("/classify", &json!({ "model": "stars", "input": text })).done();
    assert_eq!(answer["data"], json!([{ "index": 0, "value": tasks::number(value) }]));
    let predicted = served.post("/predict", &json!({ "model": "stars", "inputs": text })).done();
    assert_eq!(predicted, json!([{ "score": tasks::number(value), "label": "LABEL_0" }]));
}

#[test]
fn a_text_that_is_too_long_is_truncated_only_where_that_is_asked_for() {
    let served = classifier().serve();
    let long = "good ".repeat(200);
    let ask =
        |truncate: bool| served.post("/predict", &json!({ "model": "films", "inputs": long, "truncate": truncate }));
    let (status, message) = ask(false).refused();
    assert_eq!(status, 413);
    let expected = "`inputs` has 202 tokens, 138 too many: the model reads 64; shorten it, or add `\"truncate\": true` to have \
                    its beginning answered";
    assert_eq!(message, expected);
    let pipeline = open(&fixture("bert-cls/model"), Some(&fixture("bert-cls/trained")));
    let Answer::Class(expected) = pipeline.answer_texts(&[&long]).unwrap().remove(0) else { panic!("no class") };
    assert_eq!(ask(true).done()[0]["score"], tasks::number(expected.probability()));
    let several = json!({ "model": "films", "input": ["good", long] });
    let too_long = "`input[1]` has 202 tokens, 138 too many: the model reads 64; shorten it, or add `\"truncate_prompt_tokens\": \
                    -1` to have its beginning answered";
    assert_eq!(served.post("/classify", &several).refused(), (413, too_long.to_string()));
    let truncated = json!({ "model": "films", "input": long, "truncate_prompt_tokens": -1 });
    assert_eq!(served.post("/classify", &truncated).done()["data"][0]["label"], expected.label());
}
