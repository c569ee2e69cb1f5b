//! Text that is no TOML: the place as the parser gives it, and what to write instead.

use super::messages::message;
use super::{MINIMAL, load_in};
use crate::config::syntax::Slip;
use proptest::prelude::*;

/// The help for a file with this text, and its line.
fn help(text: &str) -> (usize, String) {
    let said = message(text, &[]);
    let (error, help) = said.split_once("\nhelp: ").expect("says what to do");
    let line = error.split("line ").nth(1).and_then(|rest| rest.split(',').next());
    (line.and_then(|line| line.parse().ok()).expect("names a line"), help.to_owned())
}

#[test]
fn a_path_of_windows_in_double_quotes_is_shown_without_escapes() {
    assert_eq!(
        message("[model]\npath = \"C:\\Users\\ada\\bert\"\n", &[]),
        "configs/sst2.toml, line 2, column 13: too few unicode value digits, expected unicode hexadecimal value\n\
         help: in double quotes a backslash begins an escape: write `'C:\\Users\\ada\\bert'` or `\"C:/Users/ada/bert\"`"
    );
    for (written, other) in [
        (r#"[data]|train = "C:\data\train.csv""#, r#"`'C:\data\train.csv'` or `"C:/data/train.csv"`"#),
        // The closing quote is an escaped one for TOML.
        (r#"[data]|train = "C:\data\""#, r#"`'C:\data\'` or `"C:/data/"`"#),
        (r#"[data]|train = "C:\temp\""#, r#"`'C:\temp\'` or `"C:/temp/"`"#),
        (r#"[data]|train = "\\server\share\a.csv""#, r#"`'\\server\share\a.csv'` or `"//server/share/a.csv"`"#),
        (r#"[data]|train = "C:\\data\a.csv""#, r#"`'C:\data\a.csv'` or `"C:/data/a.csv"`"#),
        (r#"[data]|train = "C:\Users\O'Neil\a.csv""#, r#"`"C:/Users/O'Neil/a.csv"`"#),
        (r#"[data]|train = ["a.csv", "C:\data\b.csv"]"#, r#"`'C:\data\b.csv'` or `"C:/data/b.csv"`"#),
        // No path: slashes would say something else.
        (r#"[adapter]|target_modules = "layer\.\d+""#, r"`'layer\.\d+'`"),
    ] {
        let expected = format!("in double quotes a backslash begins an escape: write {other}");
        assert_eq!(help(&written.replace('|', "\n")), (2, expected), "{written}");
    }
}

#[test]
fn a_path_whose_backslashes_happen_to_be_escapes_is_refused_as_such() {
    let help = r#"help: in double quotes a backslash begins an escape, as `\t` for a tab: write `'C:\temp\new'` or `"C:/temp/new"`"#;
    for (key, line) in [("model.path", 2), ("output_dir", 1)] {
        let text = match key {
            "model.path" => MINIMAL.replace("../models/tiny", r"C:\temp\new"),
            _ => format!("{key} = \"C:\\temp\\new\"\n{MINIMAL}"),
        };
        let expected =
            format!("`{key}` in configs/sst2.toml, line {line}: `C:\\temp\\new` holds control characters\n{help}");
        assert_eq!(message(&text, &[]), expected);
    }
    let expected = format!("`--set data.train=\"C:\\temp\\new\"`: `C:\\temp\\new` holds control characters\n{help}");
    assert_eq!(message(MINIMAL, &["data.train=\"C:\\temp\\new\""]), expected);
    // Without quotes it is taken as typed, and so is what TOML cannot read.
    assert!(message(MINIMAL, &["data.train=C:\\temp\\new"]).contains("no file `C:\\temp\\new`"));
    let quoted = message(MINIMAL, &["data.train=\"C:\\data\\new\""]);
    assert!(
        quoted.ends_with("help: the quotes were taken as a part of it, for it is no TOML: leave them out"),
        "{quoted}"
    );
}

#[test]
fn slips_of_toml_come_with_what_to_write() {
    for (text, line, expected) in [
        ("[train]\nschedule = linear\n", 2, "put it in quotes: `schedule = \"linear\"`"),
        ("[train]\nschedule = linear # as always\n", 2, "put it in quotes: `schedule = \"linear\"`"),
        ("[model]\npath = bert\"\n", 2, "put it in quotes: `path = \"bert\"`"),
        ("[model]\npath = C:\\models\\bert\n", 2, "put it in single quotes: `path = 'C:\\models\\bert'`"),
        ("[model]\npath = \"bert\n", 2, "close the text with `\"` in the line where it begins"),
        ("[model]\npath = 'bert\n", 2, "close the text with `'` in the line where it begins"),
        ("[data]\ntext_template = \"\"\"abc\n", 3, "close the text with the three quotes that it begins with"),
        ("[model]\npath = \u{201c}bert\u{201d}\n", 2, "write straight quotes: `\"` or `'`"),
        ("[model]\npath = 'it's'\n", 2, "a `'` ends the text: put it in double quotes"),
        ("[model]\npath = \"a\"b\"\n", 2, "a `\"` ends the text: write `\\\"` within it, or put it in single quotes"),
        ("[model]\npath = \"a\u{0}b\"\n", 2, "remove the control character"),
        ("[train]\nshuffle = yes\n", 2, "expected true or false; the default is `shuffle = true`"),
        ("[train]\nshuffle = False\n", 2, "write `shuffle = false`"),
        ("[data]\nvalid = None\n", 2, "leave the key out: then its default holds"),
        ("[data]\nvalid = null\n", 2, "leave the key out: then its default holds"),
        ("[train]\nepochs = 1\nbatch_size = 3\nepochs = 2\n", 4, "line 2 has it already: keep one of the two"),
        ("[train]\nepochs = 1\n[data]\n[train]\n", 4, "line 1 begins `[train]` already: put its keys there"),
        ("[train]\nepochs: 3\n", 2, "write `epochs = 3`"),
        ("[train]\nepochs\n", 2, "write `epochs = 3`"),
        ("[train]\nlearning rate = 3\n", 2, "did you mean `learning_rate`?"),
        ("[train]\nmax_steps = 10,000\n", 2, "write the number without commas"),
        ("[train]\nepochs = 03\n", 2, "write the number without the zeros in front, or in quotes if it is a name"),
        ("[train]\nlearning_rate = .5\n", 2, "write `learning_rate = 3e-4`"),
        ("[train]\nepochs = 3 batch_size = 4\n", 2, "write one key a line, and `#` before a comment"),
        ("[train]\nepochs = 3 // few\n", 2, "a comment begins with `#`"),
        ("; few\n", 1, "a comment begins with `#`"),
        ("[train]\nepochs = 3;\n", 2, "leave out the `;`"),
        ("[train]\nbetas = [0.9, 0.999\n", 2, "close `[` with `]`"),
        ("[train\nepochs = 3\n", 1, "close `[` with `]`"),
        ("[adapter]\nrank_pattern = { query = 4\n", 2, "close `{` with `}`"),
        ("[adapter]\ntarget_modules = [\"query\" \"value\"]\n", 2, "put a comma between two values"),
        (
            "[adapter]\ntarget_modules = [query, value]\n",
            2,
            "put each text in quotes: `target_modules = [\"query\", \"value\"]`",
        ),
        ("{\"train\": {\"epochs\": 3}}\n", 1, "this file is TOML: write `[train]`, and below it `epochs = 3`"),
        ("train:\n  epochs: 3\n", 1, "this file is TOML: write `[train]`, and below it `epochs = 3`"),
        (
            "[train]\nl\u{e4}ngd = 3\n",
            2,
            "write `key = value`, one a line: a key of letters, digits, `_` and `-`, a text in quotes",
        ),
    ] {
        assert_eq!(help(text), (line, expected.to_owned()), "{text}");
    }
}

#[test]
fn what_is_right_toml_stays_right() {
    let root = super::directory(&MINIMAL.replace("\"../models/tiny\"", "'../models/tiny' # \\U here is no escape"));
    assert!(load_in(&root, &["adapter.target_modules=layer\\.0\\.query"]).is_ok());
}

proptest! {
    #[test]
    fn any_text_with_a_slip_anywhere_gets_a_help(text in "[\\[\\]a-z=\"'\\\\ \n\r#{},:;ä0-9/]{0,60}", at in 0..70_usize) {
        for said in ["duplicate key", "missing escaped value", "invalid basic string", "string values must be quoted", "unexpected key"] {
            prop_assert!(!Slip::new(&text, at, said).help().is_empty());
        }
    }
}
