//! The unit of `docs/serve.md`, as systemd reads it.

use std::process::Command;

use super::{document, is_there};
use crate::project::Project;

#[test]
fn the_unit_of_the_document_is_one() {
    let missing = "there is no `systemd-analyze`, which verifies the unit of docs/serve.md";
    if !is_there(Command::new("systemd-analyze").arg("--version"), missing) {
        return;
    }
    let document = document();
    let unit = document.split("```ini\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    // The program must be where the unit says.
    let here = unit.replace("/usr/local/bin/kindling", env!("CARGO_BIN_EXE_kindling"));
    assert_ne!(here, unit);
    let project = Project::new().file("kindling.service", here);
    let ran = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(project.path("kindling.service"))
        .output()
        .unwrap();
    assert_eq!((ran.status.code(), String::from_utf8_lossy(&ran.stderr).as_ref()), (Some(0), ""));
}
