//! A trained model in a program of somebody else, through the crate `inference`: it answers as the commands do.

use std::path::PathBuf;

use inference::{Answer, Device, Error, GenerationSettings, ModelFiles, Pipeline};
use serde_json::Value;

use crate::project::Project;

fn files(project: &Project) -> ModelFiles {
    ModelFiles { model: project.path("bert"), adapter: Some(project.path("adapter")) }
}

#[test]
fn an_adapter_answers_as_predict_does() {
    let project = Project::with_adapter();
    let pipeline = Pipeline::open(&files(&project), &Device::flex()).unwrap();
    let texts = ["good", "a film that never ends"];
    let answers = pipeline.answer_texts(&texts).unwrap();
    let lines = project.run(&["predict", "--model", "bert", "--adapter", "adapter", texts[0], texts[1]]).done().lines();
    let objects: Vec<Value> = answers.iter().map(|answer| Value::Object(answer.object(false))).collect();
    assert_eq!(objects, lines);
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Class(class) if class.logits.len() == 3)));
}

#[test]
fn a_decoder_writes_as_generate_does() {
    let model = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/tiny-decoder"));
    let pipeline = Pipeline::open(&ModelFiles::of(&model).unwrap(), &Device::flex()).unwrap();
    let settings = GenerationSettings { max_new_tokens: Some(4), ..GenerationSettings::default() };
    let written = pipeline.text_generation(settings).unwrap().generate(&["a lamp is"]).unwrap();
    let model = model.display().to_string();
    let arguments = ["generate", "--model", &model, "--prompt", "a lamp is", "--max-new-tokens", "4"];
    let lines = Project::new().run(&arguments).done().lines();
    assert_eq!(serde_json::to_value(&written).unwrap(), Value::Array(lines));
    assert_eq!(written[0].token_ids.len(), 4);
}

#[test]
fn what_cannot_be_opened_or_asked_is_said_without_options() {
    let gone = Value::from("gone/model");
    let project = Project::with_adapter().json("adapter/adapter_config.json", "base_model_name_or_path", gone);
    let nothing = ModelFiles::of(project.path("nowhere")).unwrap_err();
    let expected = format!("{} is neither an adapter nor a model", project.path("nowhere").display());
    assert_eq!(nothing.to_string(), expected);
    let no_base = ModelFiles::of(project.path("adapter")).unwrap_err();
    assert!(matches!(&no_base, Error::NoBase { base: Some(base), .. } if base == "gone/model"), "{no_base}");
    let pipeline = Pipeline::open(&files(&project), &Device::flex()).unwrap();
    let error = pipeline.text_generation(GenerationSettings::default()).err().unwrap();
    assert_eq!(error.to_string(), "a model for sequence-classification does not write texts");
}
