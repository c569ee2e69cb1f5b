//! What a shell and a manual get to know of the command line.

use std::process::Command;

use crate::project::Project;

#[test]
fn every_shell_gets_a_script_that_knows_the_commands_and_their_options() {
    let project = Project::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = project.run(&["completions", shell]).done().stdout;
        for word in ["predict", "dry-run", "max-new-tokens"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
        let document = project.run(&["completions", shell, "--json"]).done().document();
        assert_eq!(document["script"].as_str().map(|script| format!("{script}\n")), Some(script), "{shell}");
    }
    project.run(&["completions", "nu"]).refused(
        "error: invalid value 'nu' for '<SHELL>'\n\
         \x20\x20[possible values: bash, elvish, fish, powershell, zsh]\n\
         \n\
         For more information, try '--help'.",
    );
}

/// What bash offers for the last word of a line.
#[cfg(unix)]
fn offered(script: &str, words: &[&str]) -> Option<String> {
    let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let asked = format!(
        "{script}\nCOMP_WORDS=({line})\nCOMP_CWORD={}\n_kindling kindling \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.len() - 1
    );
    // A machine without bash has nothing to show here.
    let ran = Command::new("bash").args(["--norc", "-c", &asked]).output().ok()?;
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Some(String::from_utf8(ran.stdout).unwrap())
}

#[cfg(unix)]
#[test]
fn bash_completes_commands_options_and_shells() {
    let script = Project::new().run(&["completions", "bash"]).done().stdout;
    let Some(commands) = offered(&script, &["kindling", "m"]) else { return };
    assert_eq!(commands, "merge\nman\n");
    assert_eq!(offered(&script, &["kindling", "train", "--dry"]).unwrap(), "--dry-run\n");
    assert_eq!(offered(&script, &["kindling", "completions", "z"]).unwrap(), "zsh\n");
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let project = Project::new();
    let page = project.run(&["man"]).done().stdout;
    assert!(page.contains(".TH kindling 1") && page.contains(".SH SUBCOMMANDS"), "{page}");
    let page = project.run(&["man", "train"]).done().stdout;
    assert!(page.contains(".TH kindling-train 1") && page.contains("dry\\-run"), "{page}");
    assert_eq!(project.run(&["man", "--output", "pages"]).done().stdout, "");
    let pages = project.names("pages");
    assert!(pages.contains(&"kindling.1".to_string()) && pages.contains(&"kindling-merge.1".to_string()), "{pages:?}");
    assert_eq!(format!("{}\n", project.read("pages/kindling-train.1").trim_end()), page);
    project.run(&["man", "trian"]).refused("error: no command is called `trian`\nhelp: did you mean `train`?");
}
