//! Class names of Hugging Face data sets. Their Parquet files hold a `ClassLabel` as an integer and the names under
//! `huggingface` in the file's metadata: `{"info": {"features": {"label": {"names": [..], "_type": "ClassLabel"}}}}`. That of
//! a list stands under `feature` of its column, or in a list of one.

use ::parquet::file::metadata::KeyValue;
use ::parquet::schema::types::TypePtr;
use serde_json::Value;

/// The names of a column's classes, in the order of their numbers.
pub(super) struct Classes(Vec<String>);

/// Beside `columns`. Metadata that does not read as expected names nothing: it is a note beside the data, and whoever
/// wrote it may have meant something else.
pub(super) fn read(metadata: &[KeyValue], columns: &[TypePtr]) -> Vec<Option<Classes>> {
    let noted = metadata.iter().find(|entry| entry.key == "huggingface").and_then(|entry| entry.value.as_deref());
    let noted: Value = noted.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    columns.iter().map(|column| names(&noted["info"]["features"][column.name()])).collect()
}

fn names(feature: &Value) -> Option<Classes> {
    if feature["_type"] != "ClassLabel" {
        let of_list = feature.get("feature").or_else(|| feature.get(0))?;
        return names(of_list);
    }
    let names = feature["names"].as_array()?.iter().map(|name| name.as_str().map(str::to_owned));
    names.collect::<Option<Vec<String>>>().map(Classes)
}

impl Classes {
    /// Puts the name in the place of the number, or of each number of a list. -1 is how `datasets` says that a row has no label. The error is a
    /// number without a name.
    pub(super) fn name(&self, value: &mut Value) -> Result<(), i64> {
        if let Value::Array(values) = value {
            return values.iter_mut().try_for_each(|value| self.name(value));
        }
        let Some(number) = value.as_i64() else { return Ok(()) };
        *value = match usize::try_from(number).ok().and_then(|index| self.0.get(index)) {
            Some(name) => Value::String(name.clone()),
            None if number == -1 => Value::Null,
            None => return Err(number),
        };
        Ok(())
    }

    pub(super) fn list(&self) -> String {
        suggest::list(self.0.iter().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_number_of_a_list_has_its_name() {
        let class = json!({"names": ["O", "B-PER"], "_type": "ClassLabel"});
        for feature in [json!({"feature": class, "_type": "Sequence"}), json!([class])] {
            let classes = names(&feature).unwrap();
            let mut tags = json!([1, 0, -1]);
            assert_eq!(classes.name(&mut tags), Ok(()));
            assert_eq!(tags, json!(["B-PER", "O", null]));
            assert_eq!(classes.name(&mut json!([0, 2])), Err(2));
        }
        assert!(names(&json!({"feature": {"dtype": "int64", "_type": "Value"}, "_type": "Sequence"})).is_none());
        assert!(names(&json!({"start": {"dtype": "int64", "_type": "Value"}})).is_none());
    }
}
