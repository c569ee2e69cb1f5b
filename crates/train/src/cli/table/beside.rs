//! Which columns of the input stand beside an answer, and under which names: the answer's own names are taken.

use std::path::Path;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::super::Failure;
use crate::output::Output;

/// The columns that are wanted.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) enum Columns<'a> {
    None,
    All,
    /// As `--columns` was typed: names, or several with commas between them.
    Named(&'a [String]),
}

impl<'a> Columns<'a> {
    /// By default a file has all of them, and standard output, a pipe or a device, which programs read, the answers alone.
    pub(in crate::cli) fn of(typed: &'a [String], output: Option<&Path>) -> Self {
        match (typed, output.and_then(Path::extension)) {
            ([], None) => Self::None,
            ([], Some(_)) => Self::All,
            (typed, _) => Self::Named(typed),
        }
    }
}

pub(super) struct Beside<'a> {
    columns: Columns<'a>,
    output: &'a Output,
    /// Of `Named`, once the first row was seen.
    named: Vec<String>,
    /// Names that no column of the input may have.
    taken: Vec<String>,
    /// What the input's columns are called here.
    names: IndexMap<String, String>,
}

impl<'a> Beside<'a> {
    pub(super) fn new(columns: Columns<'a>, output: &'a Output) -> Self {
        Self { columns, output, named: Vec::new(), taken: Vec::new(), names: IndexMap::new() }
    }

    pub(super) fn begin(
        &mut self,
        file: &Path,
        first: &IndexMap<String, Value>,
        names: impl IntoIterator<Item = String>,
    ) -> Result<(), Failure> {
        self.taken = names.into_iter().collect();
        let known = || first.keys().map(String::as_str);
        let Columns::Named(typed) = self.columns else { return Ok(()) };
        for typed in typed {
            // A name may hold a comma itself.
            let names = if first.contains_key(typed) { vec![typed.as_str()] } else { typed.split(',').collect() };
            for name in names.into_iter().map(str::trim).filter(|name| !name.is_empty()) {
                if !first.contains_key(name) {
                    let file = match file {
                        file if file == Path::new("-") => "standard input".to_string(),
                        file => file.display().to_string(),
                    };
                    let (message, help) = (
                        format!("{file} has no column `{name}`, which `--columns` names"),
                        suggest::suggestion(name, known()),
                    );
                    return Err(Failure::usage(message, help));
                }
                if !self.named.iter().any(|known| known == name) {
                    self.named.push(name.to_string());
                }
            }
        }
        Ok(())
    }

    /// The fields that stand beside the answer to a row. One that it lacks of those that were asked for is null.
    pub(super) fn of(&mut self, fields: &IndexMap<String, Value>) -> Map<String, Value> {
        let wanted: Vec<(String, Value)> = match self.columns {
            Columns::None => Vec::new(),
            Columns::All => fields.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            Columns::Named(_) => {
                let of_row = |name: &String| (name.clone(), fields.get(name).cloned().unwrap_or(Value::Null));
                self.named.iter().map(of_row).collect()
            }
        };
        wanted.into_iter().map(|(name, value)| (self.name(name), value)).collect()
    }

    fn name(&mut self, column: String) -> String {
        if let Some(name) = self.names.get(&column) {
            return name.clone();
        }
        let is_free = |name: &str, names: &IndexMap<String, String>| {
            !self.taken.iter().any(|taken| taken == name) && !names.values().any(|taken| taken == name)
        };
        let mut name = column.clone();
        if !is_free(&name, &self.names) {
            let candidates = (1..).map(|n| match n {
                1 => format!("input_{column}"),
                n => format!("input_{column}_{n}"),
            });
            name = candidates
                .into_iter()
                .find(|candidate| is_free(candidate, &self.names))
                .expect("there are more numbers than columns");
            self.output.say(&format!(
                "the input's column `{column}` is written as `{name}`: `{column}` is a column of the predictions"
            ));
        }
        self.names.insert(column, name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(names: &[&str]) -> IndexMap<String, Value> {
        names.iter().map(|name| (name.to_string(), Value::from(*name))).collect()
    }

    fn names(columns: Columns<'_>, first: &[&str], of_answer: &[&str]) -> Vec<String> {
        let output = Output::new(true, false);
        let mut beside = Beside::new(columns, &output);
        beside.begin(Path::new("in.csv"), &row(first), of_answer.iter().map(|name| name.to_string())).unwrap();
        beside.of(&row(first)).keys().cloned().collect()
    }

    #[test]
    fn a_column_of_the_input_never_takes_the_name_of_an_answer() {
        let first = ["label", "input_label", "text"];
        assert_eq!(names(Columns::All, &first, &["label"]), ["input_label", "input_input_label", "text"]);
    }

    #[test]
    fn columns_are_chosen_by_name_in_the_order_asked_for() {
        let typed = ["b, a".to_string(), "c,d".to_string(), "a".to_string()];
        assert_eq!(names(Columns::Named(&typed), &["a", "b", "c,d"], &[]), ["b", "a", "c,d"]);
        assert!(names(Columns::Named(&["".to_string()]), &["a"], &[]).is_empty());
    }
}
