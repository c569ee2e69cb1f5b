//! How the vectors of a text's tokens become its embedding: what sentence-transformers says of it beside an encoder, and llama.cpp's
//! number for it. Reference: `_try_set_pooling_type` of llama.cpp's converter.

use std::io::ErrorKind;
use std::path::Path;

use serde_json::Value;

use super::ExportError;

const POOLING: &str = "1_Pooling/config.json";
const MODULES: &str = "modules.json";

/// The mode in newer files, its flag in older ones, and `LLAMA_POOLING_TYPE`.
const KINDS: [(&str, &str, u32); 3] = [
    ("mean", "pooling_mode_mean_tokens", 1),
    ("cls", "pooling_mode_cls_token", 2),
    ("lasttoken", "pooling_mode_lasttoken", 3),
];

/// What there is to know of an encoder that nothing of the kind lies beside.
pub(super) const UNSAID: &str = "no 1_Pooling/config.json says how the vectors of tokens become an embedding: choose it in \
                                 llama.cpp with `--pooling mean`, `cls` or `last`";

/// Whether a file of a checkpoint says what follows an encoder, to sentence-transformers and here.
pub fn is_of_embeddings(path: &str) -> bool {
    [POOLING, MODULES].contains(&path)
}

/// `None` where nothing says it.
pub(super) fn read(directory: &Path) -> Result<Option<u32>, ExportError> {
    let file = directory.join(POOLING);
    let text = match std::fs::read_to_string(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| ExportError::PoolingFile { file: file.clone(), what: error.to_string() })?,
    };
    let config: Value = json::parse(text.as_bytes())
        .map_err(|error| ExportError::PoolingFile { file: file.clone(), what: error.to_string() })?;
    let modes = modes(&config);
    let found = match &modes[..] {
        [mode] => KINDS.iter().find(|(name, flag, _)| mode == name || mode == flag),
        _ => None,
    };
    match found {
        Some((_, _, pooling)) => Ok(Some(*pooling)),
        None if modes.is_empty() => Err(ExportError::PoolingFile { file, what: "it says no pooling".to_owned() }),
        None => {
            let modes: Vec<String> = modes.iter().map(|mode| format!("`{mode}`")).collect();
            Err(ExportError::Pooling { file, what: modes.join(" and ") })
        }
    }
}

/// What it pools by; the vectors of several modes stand side by side.
fn modes(config: &Value) -> Vec<String> {
    let text = |mode: &Value| mode.as_str().map(str::to_owned);
    match &config["pooling_mode"] {
        Value::Array(modes) => modes.iter().filter_map(text).collect(),
        Value::String(mode) => vec![mode.clone()],
        _ => {
            let flags = config.as_object().into_iter().flatten();
            let set = flags.filter(|(key, value)| key.starts_with("pooling_mode_") && **value == Value::Bool(true));
            set.map(|(key, _)| key.clone()).collect()
        }
    }
}

/// The modules after the pooling that no file for llama.cpp has: it norms embeddings itself.
pub(super) fn further(directory: &Path) -> Option<String> {
    let text = std::fs::read_to_string(directory.join(MODULES)).ok()?;
    let modules: Value = json::parse(text.as_bytes()).ok()?;
    let names = modules.as_array()?.iter().filter_map(|module| module["type"].as_str()?.rsplit('.').next());
    let others: Vec<String> = names
        .filter(|name| !["Transformer", "Pooling", "Normalize"].contains(name))
        .map(|name| format!("`{name}`"))
        .collect();
    let listed = others.join(", ");
    let note = format!(
        "llama.cpp has no place for what follows the pooling in {MODULES}: its embeddings are those before {listed}"
    );
    (!others.is_empty()).then_some(note)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pooling(config: &str) -> Result<Option<u32>, String> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("1_Pooling")).unwrap();
        std::fs::write(directory.path().join(POOLING), config).unwrap();
        let place = format!("{}", directory.path().join(POOLING).display());
        read(directory.path()).map_err(|error| error.to_string().replace(&place, POOLING))
    }

    #[test]
    fn the_mode_is_read_from_flags_and_by_its_name() {
        let flags = |mean, cls, last| {
            format!(
                r#"{{"word_embedding_dimension": 8, "pooling_mode_mean_tokens": {mean}, "pooling_mode_cls_token": {cls}, "pooling_mode_lasttoken": {last}, "include_prompt": true}}"#
            )
        };
        assert_eq!(pooling(&flags(true, false, false)), Ok(Some(1)));
        assert_eq!(pooling(&flags(false, true, false)), Ok(Some(2)));
        assert_eq!(pooling(&flags(false, false, true)), Ok(Some(3)));
        assert_eq!(pooling(r#"{"pooling_mode": "cls"}"#), Ok(Some(2)));
        assert_eq!(pooling(r#"{"pooling_mode": ["lasttoken"]}"#), Ok(Some(3)));
        assert_eq!(read(tempfile::tempdir().unwrap().path()).unwrap(), None);
    }

    #[test]
    fn a_pooling_that_llama_cpp_lacks_is_named() {
        for (config, message) in [
            (r#"{"pooling_mode_max_tokens": true}"#, "has `pooling_mode_max_tokens`, which llama.cpp does not compute"),
            (r#"{"pooling_mode": ["mean", "max"]}"#, "has `mean` and `max`, which llama.cpp does not compute"),
        ] {
            assert_eq!(pooling(config), Err(format!("{POOLING} {message}")));
        }
        assert_eq!(pooling("{}"), Err(format!("{POOLING}: it says no pooling")));
        assert!(pooling("{").unwrap_err().starts_with(&format!("{POOLING}: EOF while parsing")));
    }

    #[test]
    fn modules_after_the_pooling_are_told_of() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(further(directory.path()), None);
        let listed = |types: &[&str]| {
            let modules: Vec<String> =
                types.iter().map(|name| format!(r#"{{"type": "sentence_transformers.models.{name}"}}"#)).collect();
            std::fs::write(directory.path().join(MODULES), format!("[{}]", modules.join(", "))).unwrap();
            further(directory.path())
        };
        assert_eq!(listed(&["Transformer", "Pooling", "Normalize"]), None);
        let note = "llama.cpp has no place for what follows the pooling in modules.json: its embeddings are those before `Dense`";
        assert_eq!(listed(&["Transformer", "Pooling", "Dense", "Normalize"]).as_deref(), Some(note));
    }
}
