//! The numbers that a regression learns.

use std::path::Path;

use serde_json::Value;

use crate::record::{Record, kind};
use crate::{Advice, Error, Place};

/// The number of a row: one of JSON or Parquet, or a cell that reads as one; `None` where it is absent, null or blank and
/// `required` is not asked for.
///
/// Errors: no number, one that is not finite in 32 bits, none where one is required.
pub fn value(file: &Path, record: &Record, column: &str, required: bool) -> Result<Option<f32>, Error> {
    let error = |problem: String, advice| Error::NotAValue {
        place: Place::new(file, record.line),
        column: column.to_owned(),
        problem,
        advice,
    };
    let number = match record.fields.get(column) {
        None | Some(Value::Null) => return none(required, &error),
        Some(Value::String(text)) if text.trim().is_empty() => return none(required, &error),
        Some(Value::Number(number)) => number.as_f64().unwrap_or(f64::NAN),
        Some(Value::String(text)) => {
            parse(text.trim()).map_err(|advice| error(format!("is `{text}`, which is no number"), advice))?
        }
        Some(other) => return Err(error(format!("should be a number, found {}", kind(other)), numbers())),
    };
    let narrow = number as f32;
    if !narrow.is_finite() {
        let written =
            record.fields.get(column).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        let problem = format!("is {}, which is not a finite number of 32 bits", written.unwrap_or_default());
        return Err(error(problem, "give the row another number, or remove it".into()));
    }
    Ok(Some(narrow))
}

fn numbers() -> Advice {
    Advice::column("regression learns numbers, such as 3, -0.5 or 1e-3; another column is chosen with ", "label")
}

const COMMA: &str =
    "decimals are written with a point: write the column anew, for 1,5 as 1.5, and without separators of thousands";

fn none(required: bool, error: &dyn Fn(String, Advice) -> Error) -> Result<Option<f32>, Error> {
    match required {
        true => {
            let advice = "give the row a number, or remove it".into();
            Err(error("has no number (absent, null or empty)".to_owned(), advice))
        }
        false => Ok(None),
    }
}

/// The error is what to do.
fn parse(text: &str) -> Result<f64, Advice> {
    text.parse().map_err(|_| {
        let is_number = |text: String| text.parse::<f64>().is_ok();
        let has_comma = text.contains(',') && is_number(text.replace('.', "").replace(',', "."));
        if has_comma || text.contains(',') && is_number(text.replace(',', "")) { COMMA.into() } else { numbers() }
    })
}

#[cfg(test)]
mod tests {
    use miette::Diagnostic;
    use serde_json::json;

    use super::*;

    fn read(cell: Value, required: bool) -> Result<Option<f32>, Error> {
        let fields = [("label".to_owned(), cell)].into_iter().collect();
        value(Path::new("a.csv"), &Record { line: 3, fields }, "label", required)
    }

    fn says(value: Value) -> (String, String) {
        let error = read(value, true).unwrap_err();
        (error.to_string(), error.help().unwrap().to_string())
    }

    #[test]
    fn numbers_and_cells_that_read_as_one_are_values() {
        for (cell, expected) in
            [(json!(3), 3.0), (json!(-0.5), -0.5), (json!("4.25"), 4.25), (json!(" 1e-3 "), 1e-3), (json!("+2"), 2.0)]
        {
            assert_eq!(read(cell, true).unwrap(), Some(expected));
        }
        for nothing in [json!(null), json!(" ")] {
            assert_eq!(read(nothing, false).unwrap(), None);
        }
    }

    #[test]
    fn what_is_no_finite_number_is_an_error_with_its_line() {
        let number = "regression learns numbers, such as 3, -0.5 or 1e-3; another column is chosen with `data.label`";
        let comma = "decimals are written with a point: write the column anew, for 1,5 as 1.5, and without separators of thousands";
        for (cell, message, help) in [
            (json!("good"), "is `good`, which is no number", number),
            (json!("3,5"), "is `3,5`, which is no number", comma),
            (json!("1.234,5"), "is `1.234,5`, which is no number", comma),
            (json!("1,234,567"), "is `1,234,567`, which is no number", comma),
            (json!(true), "should be a number, found a boolean", number),
            (json!(""), "has no number (absent, null or empty)", "give the row a number, or remove it"),
            (
                json!("nan"),
                "is nan, which is not a finite number of 32 bits",
                "give the row another number, or remove it",
            ),
            (
                json!("-inf"),
                "is -inf, which is not a finite number of 32 bits",
                "give the row another number, or remove it",
            ),
            (
                json!(1e39),
                "is 1e+39, which is not a finite number of 32 bits",
                "give the row another number, or remove it",
            ),
        ] {
            assert_eq!(says(cell), (format!("a.csv, line 3: column `label` {message}"), help.to_owned()));
        }
    }
}
