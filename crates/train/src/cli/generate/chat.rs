//! A conversation in the terminal. Lines that begin with a slash are commands; everything said is sent again with each turn,
//! as the checkpoint's chat template writes it.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use data::language::Conversation;
use model::write_atomically;
use serde_json::json;

use super::{Failure, Generator};

/// What can be typed instead of something to say.
const COMMANDS: [(&str, &str); 5] = [
    ("/help", "shows this list"),
    ("/reset", "starts a new conversation"),
    ("/save FILE", "writes the conversation to a file, as a row to train on"),
    ("/quit", "ends, as do /exit and Ctrl-D"),
    ("//TEXT", "says a text that begins with a slash"),
];
const NAMES: [&str; 5] = ["/help", "/reset", "/save", "/quit", "/exit"];

pub(super) fn run(generator: &Generator<'_>) -> Result<(), Failure> {
    if !generator.texts.has_chat_template() {
        let message = "the model has no chat template";
        let help = "use a model that was taught to chat, or put `chat_template.jinja` beside its tokenizer; `--prompt` \
                    needs none";
        return Err(Failure::usage(message, help));
    }
    let interactive = io::stdin().is_terminal() && io::stdout().is_terminal();
    if interactive {
        generator.output.say("type something to say; /help lists what else can be typed, Ctrl-D ends");
    }
    let mut conversation = begin(generator);
    loop {
        if interactive {
            generator.output.piece(&generator.output.bold("> "))?;
        }
        let mut line = Vec::new();
        if io::stdin().lock().read_until(b'\n', &mut line)? == 0 {
            // Ctrl-D leaves the cursor behind the prompt.
            if interactive {
                generator.output.piece("\n")?;
            }
            return Ok(());
        }
        let Ok(line) = std::str::from_utf8(&line) else {
            generator.output.warn("that was not UTF-8, and was not sent");
            continue;
        };
        let said = line.trim();
        match said.split_once(char::is_whitespace).unwrap_or((said, "")) {
            ("", _) => {}
            ("/reset", _) => {
                conversation = begin(generator);
                generator.output.say("a new conversation");
            }
            ("/save", file) => save(generator, &conversation, file.trim())?,
            ("/quit" | "/exit", _) => return Ok(()),
            ("/help", _) => {
                COMMANDS.iter().for_each(|(name, does)| generator.output.say(&format!("  {name:12}{does}")));
            }
            _ if said.starts_with("//") => answer(generator, &mut conversation, &said[1..])?,
            (command, _) if command.starts_with('/') => {
                let suggestion = suggest::suggestion(command, NAMES);
                generator.output.warn(&format!("there is no `{command}`: {suggestion}"));
            }
            _ => answer(generator, &mut conversation, said)?,
        }
    }
}

fn begin(generator: &Generator<'_>) -> Conversation {
    let mut conversation = Conversation::default();
    if let Some(system) = &generator.arguments.system {
        conversation.push("system", system);
    }
    conversation
}

fn answer(generator: &Generator<'_>, conversation: &mut Conversation, said: &str) -> Result<(), Failure> {
    let mut next = conversation.clone();
    next.push("user", said);
    let subject = "the conversation";
    let encoded = generator.texts.encode_conversation(&next, subject)?;
    // Each turn draws anew.
    let turn = next.messages().len() as u64;
    let prompts = match generator.texts.prompts(&encoded, turn..turn + 1, subject) {
        Ok(prompts) => prompts,
        // Nothing is lost: the conversation stands as it was before.
        Err(error @ inference::Error::Generation(_)) => {
            generator.output.warn(&format!("{error}; /reset starts a new conversation"));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let text = prompts.iter().map(|prompt| generator.stream(prompt)).collect::<Result<String, _>>()?;
    generator.output.piece("\n")?;
    if text.trim().is_empty() {
        generator.output.say("(empty: the first token was an end token)");
    }
    next.push("assistant", &text);
    *conversation = next;
    Ok(())
}

/// As a row of a data set: a line of JSON with `messages`, for a file of JSON lines.
fn save(generator: &Generator<'_>, conversation: &Conversation, file: &str) -> Result<(), Failure> {
    let output = generator.output;
    match (file, Path::new(file)) {
        _ if *conversation == begin(generator) => output.warn("nothing was said yet: there is nothing to save"),
        ("", _) => output.warn("name a file: /save FILE"),
        (_, path) if path.exists() => output.warn(&format!("{file} exists: name another file")),
        (_, path) => {
            match write_atomically(path, |file| writeln!(file, "{}", json!({ "messages": conversation.messages() }))) {
                Ok(()) => output.say(&format!("saved to {file}")),
                Err(error) => output.warn(&format!("cannot write {file}: {error}")),
            }
        }
    }
    Ok(())
}
