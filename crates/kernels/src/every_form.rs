//! Runs a test binary once more for each kind of vectors that the processor has beside the fastest: the choice is made once in a
//! process. For tests.

use std::process::Command;

/// With `variable` set to each of `names` in turn. Where the variable is set already, somebody has chosen: nothing is run.
pub(crate) fn run_again(variable: &str, names: &[&str], arguments: &[&str]) {
    if std::env::var_os(variable).is_some_and(|value| !value.is_empty()) {
        return;
    }
    for name in names {
        let tests = std::env::current_exe().expect("a test knows its binary");
        let ran = Command::new(tests).args(arguments).env(variable, name).output().expect("it runs once more");
        let said = [ran.stdout, ran.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(ran.status.success(), "with {variable}={name}:\n{said}");
        assert!(!said.contains("running 0 tests"), "with {variable}={name} no test ran:\n{said}");
    }
}
