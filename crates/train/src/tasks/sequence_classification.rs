//! Classification of whole sequences, or of pairs. The examples bring their targets with them, so that all there is to it
//! is what the names of the classes are written to.

use data::Labels;
use serde_json::{Map, Value, json};

/// `id2label` and `label2id`, as Transformers writes them into `config.json`.
pub(super) fn write_labels(config: &mut Map<String, Value>, labels: &Labels) {
    let ids = labels.names().iter().enumerate();
    let by_id: Map<String, Value> = ids.clone().map(|(i, name)| (i.to_string(), json!(name))).collect();
    let by_name: Map<String, Value> = ids.map(|(i, name)| (name.clone(), json!(i))).collect();
    config.insert("id2label".to_string(), Value::Object(by_id));
    config.insert("label2id".to_string(), Value::Object(by_name));
}
