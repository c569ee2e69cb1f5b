//! Which files of a repository are needed. A repository often holds the same weights three times over, for frameworks
//! that nobody here runs.

use std::path::{Component, Path};

use lora::Layout;
use serde::Deserialize;

use crate::companions::{goes_with_weights, is_of_tokenizer};
use crate::export::is_of_embeddings;

/// What a repository is fetched as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Model,
    Adapter,
}

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Any of these is enough of a tokenizer to say that one has been fetched.
const VOCABULARY: [&str; 8] = [
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "tekken.json",
];

/// What a repository or a snapshot lacks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lack {
    Missing(String),
    Pickled(&'static str),
    Index(String),
}

#[derive(Deserialize)]
struct Index {
    weight_map: std::collections::BTreeMap<String, String>,
}

impl Wanted {
    /// The files to have first: without them, or without weights of a kind that is read, nothing else is fetched.
    pub(super) fn first(self, has: &dyn Fn(&str) -> bool) -> Result<Vec<&'static str>, Lack> {
        let required = match self {
            Self::Model => "config.json",
            Self::Adapter => "adapter_config.json",
        };
        if !has(required) {
            return Err(Lack::Missing(required.into()));
        }
        let index = (self.root(has)? == INDEX).then_some(INDEX);
        Ok([required].into_iter().chain(index).collect())
    }

    /// Of the repository's files those that belong to the tokenizer or go with the weights. Weights come last, so that a snapshot
    /// that has them has everything.
    pub(super) fn beside(self, files: &[String]) -> Vec<&str> {
        let wanted = |file: &&str| match self {
            Self::Model => is_of_tokenizer(file) || goes_with_weights(file) || is_of_embeddings(file),
            Self::Adapter => is_of_tokenizer(file) || *file == "kindling.json" || is_beside_adapter(file),
        };
        files.iter().map(String::as_str).filter(wanted).collect()
    }

    /// The files of the weights; `directory` has those of [`Wanted::first`].
    pub(super) fn weights(self, has: &dyn Fn(&str) -> bool, directory: &Path) -> Result<Vec<String>, Lack> {
        let root = self.root(has)?;
        if root != INDEX {
            return Ok(vec![root.into()]);
        }
        let text = std::fs::read_to_string(directory.join(INDEX)).map_err(|_| Lack::Missing(INDEX.into()))?;
        let index: Index = serde_json::from_str(&text).map_err(|error| Lack::Index(error.to_string()))?;
        let mut shards: Vec<String> = index.weight_map.into_values().collect();
        shards.sort_unstable();
        shards.dedup();
        for shard in &shards {
            if !is_file_name(shard) {
                return Err(Lack::Index(format!("`{shard}` is not the name of a shard")));
            }
            if !has(shard) {
                return Err(Lack::Missing(shard.clone()));
            }
        }
        Ok(shards)
    }

    /// Whether a snapshot has a tokenizer. A repository may have none, so that only the Hub knows what is missing.
    pub(super) fn has_tokenizer(has: &dyn Fn(&str) -> bool) -> bool {
        VOCABULARY.iter().any(|file| has(file))
    }

    /// The file that the weights are in or found by.
    fn root(self, has: &dyn Fn(&str) -> bool) -> Result<&'static str, Lack> {
        let (safe, pickles): (Vec<&str>, Vec<&str>) = match self {
            Self::Model => (vec![SINGLE, INDEX], vec!["pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt"]),
            Self::Adapter => Layout::all().iter().map(|layout| (layout.tensor_file, layout.pickle.file)).unzip(),
        };
        let pickle = || pickles.iter().find(|file| has(file)).map(|file| Lack::Pickled(file));
        safe.iter()
            .find(|file| has(file))
            .copied()
            .ok_or_else(|| pickle().unwrap_or_else(|| Lack::Missing(safe[0].into())))
    }

    /// What to do about a file that a repository does not have.
    pub(super) fn advice(self, has: &dyn Fn(&str) -> bool) -> &'static str {
        match self {
            Self::Model if has("adapter_config.json") => {
                "it holds an adapter: name it where an adapter is expected, and its base as the model"
            }
            Self::Model => "a model has config.json, model.safetensors (or an index and its shards) and a tokenizer",
            Self::Adapter if has("config.json") => "it holds a model, not an adapter",
            Self::Adapter => "an adapter has adapter_config.json and adapter_model.safetensors",
        }
    }
}

/// Whether a layout of adapters' files has this one for what is trained in full.
fn is_beside_adapter(file: &str) -> bool {
    let mut beside = Layout::all().iter().filter_map(|layout| layout.beside.as_ref());
    beside.any(|beside| [beside.tensor_file, beside.config_file].contains(&file))
}

fn is_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(_)), None)) && !name.contains('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(wanted: Wanted, files: &[&str]) -> Result<Vec<&'static str>, Lack> {
        wanted.first(&|file| files.contains(&file))
    }

    #[test]
    fn a_model_is_its_config_tokenizer_licence_and_safetensors() {
        let files = [
            "1_Pooling/config.json",
            "README.md",
            "LICENSE",
            "additional_chat_templates/tool_use.jinja",
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "modeling_tiny.py",
            "modules.json",
            "onnx/model.onnx",
            "pytorch_model.bin",
            "spiece.model",
            "tokenizer.json",
            "vocab.txt",
        ];
        assert_eq!(first(Wanted::Model, &files), Ok(vec!["config.json"]));
        let listed = files.map(str::to_owned);
        let beside = [
            "1_Pooling/config.json",
            "LICENSE",
            "additional_chat_templates/tool_use.jinja",
            "generation_config.json",
            "modules.json",
            "spiece.model",
            "tokenizer.json",
            "vocab.txt",
        ];
        assert_eq!(Wanted::Model.beside(&listed), beside);
        assert_eq!(Wanted::Adapter.beside(&listed), [beside[2], beside[5], beside[6], beside[7]]);
        let has = |file: &str| files.contains(&file);
        assert_eq!(Wanted::Model.weights(&has, Path::new("/nowhere")), Ok(vec!["model.safetensors".to_string()]));
    }

    #[test]
    fn pickles_alone_are_named() {
        assert_eq!(
            first(Wanted::Model, &["config.json", "pytorch_model.bin"]),
            Err(Lack::Pickled("pytorch_model.bin"))
        );
        assert_eq!(
            first(Wanted::Adapter, &["adapter_config.json", "adapter_model.bin"]),
            Err(Lack::Pickled("adapter_model.bin"))
        );
        assert_eq!(first(Wanted::Model, &["config.json"]), Err(Lack::Missing("model.safetensors".into())));
    }

    #[test]
    fn shards_are_those_of_the_index_and_stay_in_their_directory() {
        let directory = tempfile::tempdir().unwrap();
        let shards = |index: &str, files: &[&str]| {
            std::fs::write(directory.path().join(INDEX), index).unwrap();
            Wanted::Model.weights(&|file| file == INDEX || files.contains(&file), directory.path())
        };
        let index = r#"{"weight_map": {"x": "b.safetensors", "y": "a.safetensors", "z": "b.safetensors"}}"#;
        let both = ["a.safetensors", "b.safetensors"];
        assert_eq!(shards(index, &both), Ok(both.map(String::from).to_vec()));
        assert_eq!(shards(index, &both[..1]), Err(Lack::Missing("b.safetensors".into())));
        for escape in ["../a", "/a", "a/b", ".", "a\\\\b"] {
            let index = format!(r#"{{"weight_map": {{"x": "{escape}"}}}}"#);
            assert!(matches!(shards(&index, &both), Err(Lack::Index(_))), "{escape}");
        }
        assert!(matches!(shards("{", &both), Err(Lack::Index(_))));
    }
}
