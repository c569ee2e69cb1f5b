//! Lines of a run's `metrics.jsonl` that the run cannot have written. Those that it can are compared with what is done again.

use std::path::Path;

use serde_json::Value;

/// The first line that the run cannot have written, or the one that is missing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    /// Counted from 1.
    pub(super) line: usize,
    /// `None` where it is missing.
    pub(super) text: Option<String>,
    /// As in: the file is not as the run wrote it: ...
    pub(super) words: String,
    pub(super) help: &'static str,
}

/// Of the text of a `metrics.jsonl`. `newest` is the step of the newest checkpoint; `has_ended`: another file says that the run has.
///
/// Of a run that was interrupted, lines behind the last one up to that step are of no checkpoint: resuming cuts them off.
pub(super) fn foreign(text: &str, newest: usize, has_ended: bool) -> Option<Foreign> {
    let parsed = |line: &str| serde_json::from_str::<Value>(line).ok().filter(Value::is_object);
    let lines: Vec<(&str, Option<Value>)> = text.lines().map(|line| (line, parsed(line))).collect();
    let end = lines.iter().position(|(_, line)| line.as_ref().is_some_and(|line| line["event"] == "end"));
    let step = |line: &Value| line["step"].as_u64().filter(|step| *step > 0);
    let is_kept = |line: &Value| step(line).is_some_and(|step| step <= newest as u64);
    let count = match end.is_some() || has_ended {
        true => lines.len(),
        false => lines.iter().rposition(|(_, line)| line.as_ref().is_some_and(is_kept)).map_or(0, |last| last + 1),
    };
    let reason = |index: usize, line: Option<&Value>| -> Option<String> {
        match (end, line) {
            (Some(end), _) if index == end => None,
            (Some(end), _) if index > end => Some("is behind the one that ends the run".to_string()),
            (_, None) => Some("is no JSON object".to_string()),
            (_, Some(line)) => match step(line) {
                None => Some("has no whole number above 0 as `step`".to_string()),
                Some(step) if step > newest as u64 => {
                    Some(format!("is of step {step}, and the newest checkpoint of step {newest}"))
                }
                Some(_) => None,
            },
        }
    };
    let found = lines[..count].iter().enumerate().find_map(|(index, (text, line))| {
        let words = format!("line {} {}", index + 1, reason(index, line.as_ref())?);
        let help = "put it back from a backup";
        Some(Foreign { line: index + 1, text: Some((*text).to_string()), words, help })
    });
    let missing = || Foreign {
        line: lines.len() + 1,
        text: None,
        words: "it has no line that ends the run, and by report.json the run has ended".to_string(),
        help: "put it back from a backup; if the run was killed when it ended, resume it",
    };
    found.or_else(|| (has_ended && end.is_none()).then(missing))
}

/// Whether the report of the run in `place` says that it has ended. One that cannot be read says nothing.
pub(super) fn has_ended(place: &Path) -> bool {
    let text = std::fs::read(place.join("report.json")).unwrap_or_default();
    serde_json::from_slice::<Value>(&text).is_ok_and(|report| report["end"].is_object())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [&str; 3] = [
        r#"{"event":"step","step":1,"loss":0.5}"#,
        r#"{"event":"step","step":2,"loss":0.4}"#,
        r#"{"event":"eval","step":2,"loss":0.6}"#,
    ];
    const END: &str = r#"{"event":"end","seconds":1.0}"#;
    const FLOAT: &str = r#"{"event":"eval","step":2.0,"accuracy":1.0}"#;
    const NO_STEP: &str = r#"{"event":"eval","accuracy":1.0}"#;
    const LATE: &str = r#"{"event":"eval","step":1000,"accuracy":1.0}"#;

    fn words(lines: &[&str], has_ended: bool) -> Option<String> {
        foreign(&(lines.join("\n") + "\n"), 2, has_ended).map(|found| found.words)
    }

    #[test]
    fn every_line_of_a_run_that_has_ended_is_a_step_s_up_to_its_end() {
        assert_eq!(words(&[&STEPS[..], &[END]].concat(), true), None);
        for (line, reason) in [
            (FLOAT, "has no whole number above 0 as `step`"),
            (NO_STEP, "has no whole number above 0 as `step`"),
            (r#"{"event":"eval","step":0}"#, "has no whole number above 0 as `step`"),
            (LATE, "is of step 1000, and the newest checkpoint of step 2"),
            ("{\"event\":", "is no JSON object"),
            ("[1]", "is no JSON object"),
            ("", "is no JSON object"),
        ] {
            let within = [STEPS[0], line, STEPS[1], STEPS[2], END];
            assert_eq!(words(&within, true), Some(format!("line 2 {reason}")), "{line}");
            // Also where its report is gone.
            assert_eq!(words(&within, false), Some(format!("line 2 {reason}")), "{line}");
            let behind = [&STEPS[..], &[END, line]].concat();
            let expected = "line 5 is behind the one that ends the run";
            assert_eq!(words(&behind, true).as_deref(), Some(expected), "{line}");
        }
        let expected = "it has no line that ends the run, and by report.json the run has ended";
        assert_eq!(words(&STEPS, true).as_deref(), Some(expected));
    }

    #[test]
    fn what_an_interrupted_run_wrote_behind_its_newest_checkpoint_is_left_out() {
        assert_eq!(words(&STEPS, false), None);
        let later = r#"{"event":"step","step":3,"loss":0.3}"#;
        assert_eq!(words(&[&STEPS[..], &[later, "{\"event\":\"st"]].concat(), false), None);
        let within = [STEPS[0], FLOAT, STEPS[1], STEPS[2], later];
        assert_eq!(words(&within, false).as_deref(), Some("line 2 has no whole number above 0 as `step`"));
        let expected = "line 2 is of step 1000, and the newest checkpoint of step 2";
        assert_eq!(words(&[STEPS[0], LATE, STEPS[1]], false).as_deref(), Some(expected));
    }
}
