//! The curl commands of `docs/serve.md`, as they stand there.

use std::process::Command;

use super::{document, is_there, writers};
use crate::project::Project;
use crate::project::server::Running;

/// The commands of the document's shell blocks that begin with `curl`. A command goes on over lines while a quote is open.
fn commands(document: &str) -> Vec<String> {
    let blocks = document.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let mut commands: Vec<String> = Vec::new();
    for block in blocks {
        let mut open = String::new();
        for line in block.lines() {
            open.push_str(line);
            open.push('\n');
            if open.matches('\'').count().is_multiple_of(2) {
                commands.push(std::mem::take(&mut open));
            }
        }
        assert_eq!(open, "", "a quote is open at the end of a block");
    }
    commands.retain(|command| command.starts_with("curl "));
    commands
}

/// Which of the servers below has the models that a command names.
fn server(command: &str) -> usize {
    match command {
        with_key if with_key.contains("https://models.example.org") => 2,
        classifies if ["reviews", "/classify", "films"].iter().any(|word| classifies.contains(word)) => 1,
        _ => 0,
    }
}

#[test]
fn the_curl_commands_of_the_document_are_answered() {
    if !is_there(Command::new("curl").arg("--version"), "there is no `curl`, which runs the commands of docs/serve.md")
    {
        return;
    }
    let project = Project::with_adapter().copy("bert-cls/trained", "films").file("keys.txt", "a-key-for-tests\n");
    let writers = writers();
    let classifier = ["--model", "bert", "--adapter", "reviews=adapter", "--adapter-root", "."];
    let servers = [
        Running::start(&writers, &["--model", "chat", "--adapter", "places=places"]),
        Running::start(&project, &classifier),
        Running::start(&project, &[&classifier[..], &["--api-key-file", "keys.txt"]].concat()),
    ];
    let commands = commands(&document());
    let mut asked = [0; 3];
    for command in &commands {
        let number = server(command);
        asked[number] += 1;
        let url = servers[number].url();
        let here = command.replace("http://127.0.0.1:8080", &url).replace("https://models.example.org", &url);
        assert_ne!(&here, command, "it asks another server");
        let here = here.replacen("curl ", "curl --silent --show-error --fail-with-body --noproxy '*' ", 1);
        let ran = Command::new("sh").args(["-c", &here]).current_dir(project.path(".")).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(ran.status.success(), "{command}{}{}", text(&ran.stdout), text(&ran.stderr));
    }
    assert!(asked.iter().all(|count| *count > 0), "{asked:?} of {commands:?}");
}
