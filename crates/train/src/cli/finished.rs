//! What to do with a run that is done: where its report is, and the command that uses what was trained.

use std::path::Path;

use data::ColumnNames;

use crate::output::Output;
use crate::shell::{program, quoted};
use tasks::{Task, Use};

pub(super) fn say(root: &Path, task: &dyn Task, columns: &ColumnNames, output: &Output) {
    output.say(&format!("report: {}", root.join("report.html").display()));
    output.say(&format!("use it: {}", output.bold(&command(root, task, columns))));
}

/// A command that answers with what was trained, to be copied.
fn command(root: &Path, task: &dyn Task, columns: &ColumnNames) -> String {
    let run = root.display().to_string();
    let (kindling, run) = (program(), quoted(&run));
    let reads_one_text = columns.text_template.is_none() && columns.text_pair.is_none();
    match task.definition().usage {
        Use::Predict if reads_one_text => format!("{kindling} predict --run {run} \"your text\""),
        Use::Predict => format!("{kindling} predict --run {run} --input FILE --output answers.csv"),
        Use::Score => format!("{kindling} eval --run {run} --data FILE"),
        Use::Generate if columns.messages.is_some() => format!("{kindling} generate --run {run} --chat"),
        Use::Generate if columns.prompt_template.is_none() => {
            format!("{kindling} generate --run {run} --prompt \"your prompt\"")
        }
        Use::Generate => format!("{kindling} generate --run {run} --input FILE --output texts.csv"),
    }
}

/// Shows the report to whoever sits before this machine. That it cannot be shown fails nothing.
pub(super) fn open_report(root: &Path, output: &Output) {
    let report = root.join("report.html");
    let shown = report.display();
    // On these systems a browser needs a display, and what opens it waits or starts one in the terminal without.
    let needs_display = cfg!(all(unix, not(target_os = "macos")));
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if needs_display && !["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"].into_iter().any(is_set) {
        output.warn(&format!("there is no display to show {shown} on"));
        return;
    }
    let path = std::path::absolute(&report).unwrap_or_else(|_| report.clone());
    if let Err(error) = open::that_detached(path) {
        output.warn(&format!("{shown} cannot be shown in a browser: {error}"));
    }
}
