//! The model card of an adapter, `README.md`: what it does and how well, how it is loaded, and how it was trained, with the
//! front matter that the Hugging Face Hub reads. It names files without their directories, which are nobody else's, except
//! in the commands that are to be copied; and it holds no time, so that the same run writes the same bytes.

use std::path::Path;

use lora::Package;
use serde_json::json;

use crate::output::{counted, thousands};
use crate::prepare::RunPlan;
use crate::shell::quoted;
use tasks::metrics::Scores;
use tasks::{Classes, TaskName, Use};

/// Keys of `[train]` that leave no trace in the adapter.
const WITHOUT_TRACE: [&str; 5] =
    ["device", "checkpoint_every", "keep_checkpoints", "tensorboard", "gradient_checkpointing"];

/// All of a card that is known before the run.
#[derive(Debug)]
pub(crate) struct Card {
    name: String,
    task: TaskName,
    labels: Vec<String>,
    base: String,
    revision: Option<String>,
    method: String,
    /// PEFT's tag for adapters of it.
    tag: Option<String>,
    /// Whose files it has.
    package: &'static Package,
    train: (String, usize),
    valid: Option<(String, usize)>,
    /// Where the run writes its adapter.
    place: String,
    settings: String,
}

impl Card {
    pub(crate) fn new(plan: &RunPlan) -> Self {
        let file = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let dataset = |dataset: &data::Dataset| {
            let files: Vec<String> = dataset.files().iter().map(|path| file(path)).collect();
            (files.join(", "), dataset.len())
        };
        Self {
            name: file(&plan.output_dir),
            task: plan.task.definition().id(),
            labels: plan.task.label_names().to_vec(),
            base: plan.base.name.clone(),
            revision: plan.base.commit.clone(),
            method: plan.method_in_words(),
            tag: plan.method.peft_type().map(str::to_lowercase),
            package: &plan.method.layout().package,
            train: dataset(&plan.train),
            valid: plan.valid.as_deref().map(dataset),
            place: plan.output_dir.join("adapter").display().to_string(),
            settings: settings(&plan.config.to_toml()),
        }
    }

    /// `parameters` are those that are trained, and those of the base; `kept` is the evaluation that the adapter is of.
    pub(crate) fn text(&self, parameters: (usize, usize), kept: Option<(usize, &Scores)>) -> String {
        let mut text = self.front_matter(kept.map(|(_, scores)| scores));
        text.push_str(&format!(
            "\n# {title}\n\nAn adapter of {base} for {task}, trained with [kindling](https://github.com/kindling-rs/kindling) \
             {version}: {method}; {trained} trained parameters on a base of {of}.\n",
            title = one_line(&self.name).replace(['<', '['], " "),
            base = code(self.base_name()),
            task = self.task.words,
            version = env!("CARGO_PKG_VERSION"),
            method = self.method,
            trained = thousands(parameters.0),
            of = thousands(parameters.1),
        ));
        if !self.labels.is_empty() {
            let labels: Vec<String> = self.labels.iter().map(|label| code(label)).collect();
            text.push_str(&format!("\nClasses: {}\n", labels.join(", ")));
        }
        text.push_str(&self.scores(kept));
        text.push_str(&self.usage());
        text.push_str(&self.training());
        text
    }

    /// A local path is nobody else's: of it the last part alone is told.
    fn base_name(&self) -> &str {
        match self.is_local() {
            true => Path::new(&self.base).file_name().and_then(|name| name.to_str()).unwrap_or(&self.base),
            false => &self.base,
        }
    }

    fn is_local(&self) -> bool {
        Path::new(&self.base).is_absolute()
    }

    /// Values are written as JSON, which YAML reads.
    fn front_matter(&self, scores: Option<&Scores>) -> String {
        let mut text = String::from("---\n");
        let mut tags = Vec::new();
        if !self.is_local() {
            text.push_str(&format!("base_model: {}\n", json!(self.base)));
            tags.push(format!("base_model:adapter:{}", self.base));
        }
        let library = self.package.library;
        text.push_str(&format!("library_name: {library}\npipeline_tag: {}\ntags:\n", self.task.pipeline));
        tags.extend(self.tag.clone());
        tags.extend(["transformers", "kindling"].map(str::to_string));
        tags.iter().for_each(|tag| text.push_str(&format!("- {}\n", json!(tag))));
        if let (Some(scores), Some((file, _))) = (scores, &self.valid) {
            let found = of_hub(scores);
            text.push_str("metrics:\n");
            found.iter().for_each(|(metric, _)| text.push_str(&format!("- {metric}\n")));
            let metrics: Vec<_> =
                found.iter().map(|(metric, value)| json!({ "type": metric, "value": value })).collect();
            let result = json!({
                "task": { "type": self.task.pipeline },
                "dataset": { "name": file, "type": file, "split": "validation" },
                "metrics": metrics,
            });
            text.push_str(&format!("model-index:\n- name: {}\n  results:\n  - {result}\n", json!(self.name)));
        }
        text.push_str("---\n");
        text
    }

    fn scores(&self, kept: Option<(usize, &Scores)>) -> String {
        let (Some((step, scores)), Some((file, examples))) = (kept, &self.valid) else {
            return "\n## Scores\n\nThe run had no validation data: how good the adapter is was not measured.\n"
                .to_string();
        };
        let mut text = format!(
            "\n## Scores\n\nOn the validation data {}, {}, after step {}, the best of the run's evaluations:\n\n\
             | score | value |\n|---|---:|\n",
            code(file),
            counted(*examples, "example", "examples"),
            thousands(step)
        );
        scores.named().iter().for_each(|(name, value)| text.push_str(&format!("| {name} | {value:.4} |\n")));
        text
    }

    fn usage(&self) -> String {
        let base = match &self.revision {
            Some(revision) => format!("{}@{revision}", self.base),
            None => self.base.clone(),
        };
        let (command, example) = match self.task.usage {
            Use::Predict => ("predict", " \"a text\""),
            Use::Score => ("eval", " --data texts.jsonl"),
            Use::Generate => ("generate", " --prompt \"a text\""),
        };
        let command =
            format!("kindling {command} --model {} --adapter {}{example}", quoted(&base), quoted(&self.place));
        let library = self.package.name;
        format!(
            "\n## Use\n\nWith kindling:\n\n{}\nWith Transformers and {library}:\n\n{}",
            fenced("sh", &command),
            fenced("python", &self.python())
        )
    }

    fn python(&self) -> String {
        let class = self.task.auto_class;
        let mut arguments = json!(self.base).to_string();
        if let Some(revision) = &self.revision {
            arguments.push_str(&format!(", revision={}", json!(revision)));
        }
        if !self.labels.is_empty() {
            let named = |(i, label): (usize, &String)| format!("{i}: {}", json!(label));
            let names: Vec<String> = self.labels.iter().enumerate().map(named).collect();
            arguments.push_str(&format!(", num_labels={}, id2label={{{}}}", self.labels.len(), names.join(", ")));
            // Of a list of classes Transformers cannot tell what it is for by the labels' type.
            if let (Classes::Several, Some(problem)) = (self.task.classes, self.task.problem) {
                arguments.push_str(&format!(", problem_type={}", json!(problem)));
            }
        } else if self.task.problem.is_some() {
            // A head without classes gives one number.
            arguments.push_str(", num_labels=1");
        }
        let adapter = json!(self.place);
        let (import, load) = (self.package.import, (self.package.load)(&adapter.to_string()));
        format!(
            "{import}\nfrom transformers import {class}, AutoTokenizer\n\n\
             base = {class}.from_pretrained({arguments})\n\
             {load}\n\
             tokenizer = AutoTokenizer.from_pretrained({adapter})"
        )
    }

    fn training(&self) -> String {
        let (file, examples) = &self.train;
        let version = self.package.version;
        format!(
            "\n## Training\n\nOn {}, {}, with these settings:\n\n{}\n### Framework versions\n\n- {version}\n",
            code(file),
            counted(*examples, "example", "examples"),
            fenced("toml", &self.settings)
        )
    }
}

/// As the Hub calls metrics; a share as a share of one, BLEU as sacreBLEU's.
fn of_hub(scores: &Scores) -> Vec<(&'static str, f64)> {
    scores.all().filter_map(|(score, value)| Some((score.hub?, value))).collect()
}

/// Of a run's settings those that made the adapter what it is, without the paths of its inputs.
fn settings(toml: &str) -> String {
    let mut table: toml::Table = toml.parse().unwrap_or_default();
    table.remove("output_dir");
    table.remove("model");
    if let Some(toml::Value::Table(adapter)) = table.get_mut("adapter") {
        adapter.remove("init_from");
    }
    if let Some(toml::Value::Table(data)) = table.get_mut("data") {
        data.remove("train");
        data.remove("valid");
    }
    if let Some(toml::Value::Table(train)) = table.get_mut("train") {
        WITHOUT_TRACE.iter().for_each(|key| drop(train.remove(*key)));
    }
    for value in table.iter_mut().map(|(_, value)| value) {
        if let toml::Value::Table(keys) = value {
            keys.retain(|_, value| !is_empty(value));
        }
    }
    toml::to_string(&table).unwrap_or_default()
}

/// What is empty says nothing.
fn is_empty(value: &toml::Value) -> bool {
    match value {
        toml::Value::Table(table) => table.is_empty(),
        toml::Value::Array(array) => array.is_empty(),
        toml::Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text between as many backticks as it takes, so that nothing in it is markup.
fn code(text: &str) -> String {
    let text = one_line(text);
    let fence = "`".repeat(longest_run(&text) + 1);
    let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    if text.is_empty() { "(empty)".to_string() } else { format!("{fence}{space}{text}{space}{fence}") }
}

fn fenced(language: &str, text: &str) -> String {
    let fence = "`".repeat((longest_run(text) + 1).max(3));
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end())
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Card {
        Card {
            name: "sst2".to_string(),
            task: TaskName::default(),
            labels: vec!["no".to_string(), "a \"b\" `c`\n<script>".to_string()],
            base: "google-bert/bert-base-uncased".to_string(),
            revision: None,
            method: "LoRA, r 8".to_string(),
            tag: Some("lora".to_string()),
            package: &lora::Method::default().layout().package,
            train: ("train: a.csv".to_string(), 900),
            valid: Some(("valid.csv".to_string(), 100)),
            place: "runs/my run/adapter".to_string(),
            settings: "[train]\nepochs = 3\n".to_string(),
        }
    }

    fn scores() -> Scores {
        serde_json::from_value(json!({ "loss": 0.5, "accuracy": 0.75, "f1_macro": 0.7, "matthews": 0.6 })).unwrap()
    }

    #[test]
    fn the_front_matter_is_what_the_hub_reads() {
        let text = card().text((10, 2000), Some((30, &scores())));
        let (front, _) = text.strip_prefix("---\n").unwrap().split_once("---\n").unwrap();
        // `huggingface_hub.ModelCard` reads these values of it.
        assert_eq!(
            front,
            "base_model: \"google-bert/bert-base-uncased\"\n\
             library_name: peft\n\
             pipeline_tag: text-classification\n\
             tags:\n- \"base_model:adapter:google-bert/bert-base-uncased\"\n- \"lora\"\n- \"transformers\"\n- \"kindling\"\n\
             metrics:\n- accuracy\n- f1\n- matthews_correlation\n\
             model-index:\n- name: \"sst2\"\n  results:\n  - {\"task\":{\"type\":\"text-classification\"},\
             \"dataset\":{\"name\":\"valid.csv\",\"type\":\"valid.csv\",\"split\":\"validation\"},\
             \"metrics\":[{\"type\":\"accuracy\",\"value\":0.75},{\"type\":\"f1\",\"value\":0.7},\
             {\"type\":\"matthews_correlation\",\"value\":0.6}]}\n"
        );
    }

    #[test]
    fn paths_are_filled_in_and_names_are_no_markup() {
        let text = card().text((10, 2000), Some((30, &scores())));
        assert!(text.contains("On the validation data `valid.csv`, 100 examples, after step 30"), "{text}");
        assert!(text.contains("Classes: `no`, ``a \"b\" `c` <script>``\n"), "{text}");
        assert!(text.contains("PeftModel.from_pretrained(base, \"runs/my run/adapter\")"), "{text}");
        assert!(text.contains(r#"id2label={0: "no", 1: "a \"b\" `c`\n<script>"}"#), "{text}");
        assert!(
            text.contains("--model google-bert/bert-base-uncased --adapter 'runs/my run/adapter' \"a text\""),
            "{text}"
        );
    }

    #[test]
    fn an_adapter_in_adapterhubs_files_is_loaded_by_its_package() {
        let package = &lora::Method::named("adapter").expect("a method").layout().package;
        let text = Card { tag: None, package, ..card() }.text((10, 2000), None);
        assert!(text.contains("library_name: adapter-transformers\n") && !text.contains("PEFT"), "{text}");
        let loaded =
            "adapters.init(base)\nbase.load_adapter(\"runs/my run/adapter\", use_safetensors=True, set_active=True)\n";
        assert!(text.contains("import adapters\n") && text.contains(loaded), "{text}");
    }

    #[test]
    fn a_local_base_is_named_without_its_directory() {
        let text = Card { base: "/home/somebody/bert".to_string(), ..card() }.text((1, 2), None);
        assert!(!text.contains("base_model:") && text.contains("An adapter of `bert` for"), "{text}");
        assert!(text.contains("how good the adapter is was not measured"), "{text}");
    }

    #[test]
    fn settings_are_those_that_made_the_adapter() {
        let text = "seed = 1\noutput_dir = \"x\"\n[model]\npath = \"/a\"\n[adapter]\nr = 8\nrank_pattern = {}\n[data]\ntrain = \"/b\"\nmax_length = 9\n\
                    [train]\nepochs = 3\ndevice = \"cpu\"\n";
        assert_eq!(settings(text), "seed = 1\n\n[adapter]\nr = 8\n\n[data]\nmax_length = 9\n\n[train]\nepochs = 3\n");
    }
}
