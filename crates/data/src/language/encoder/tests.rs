//! Tests of the whole room: a token is a byte here, so that ids read as text.

mod long;

use std::fs;
use std::time::SystemTime;

use miette::Diagnostic;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::tokenizer::tests::{bytes, bytes_dir, sentence_pieces};
use crate::{Batch, Dataset, Encoding};

/// `<|end|>` is what ends a turn here, and no end token of the checkpoint.
const TEMPLATE: &str = "{{ bos_token }}{% for m in messages %}{{ m.role[0] }}:{{ m.content }}<|end|>\n{% endfor %}\
    {% if add_generation_prompt %}a:{% endif %}";

/// Only the last turn is written with what was thought.
const THINKING: &str = "{% for m in messages %}{{ m.role[0] }}:{% if loop.last and m.role == 'assistant' %}T{% endif %}\
    {{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}a:{% endif %}";

fn chat(source: &str) -> ChatTemplate {
    let dir = bytes_dir();
    fs::write(dir.path().join("chat_template.jinja"), source).unwrap();
    ChatTemplate::from_dir(dir.path(), SystemTime::UNIX_EPOCH).unwrap().unwrap()
}

fn messages(messages: Value) -> Row {
    let place = Place::new(Path::new("a.jsonl"), 3);
    let conversation = Conversation::read(&messages, None, "messages", &place).unwrap();
    Row { line: 3, content: Content::Conversation(conversation) }
}

fn completion(prompt: &str, completion: &str) -> Row {
    Row { line: 3, content: Content::Completion { prompt: prompt.into(), completion: completion.into() } }
}

fn text(text: &str) -> Row {
    Row { line: 3, content: Content::Text(text.into()) }
}

fn ends(ends: &[u32]) -> Bounds {
    Bounds { first: None, ends: ends.to_vec() }
}

/// Each sequence with its targets in brackets.
fn marked(examples: &[EncodedExample], tokenizer: &Tokenizer) -> Vec<String> {
    let mark = |example: &EncodedExample| {
        let (mut text, mut at) = (String::new(), 0);
        for span in &example.spans {
            text += &tokenizer.decode(&example.encoded.ids[at..span.start]);
            text += &format!("[{}]", tokenizer.decode(&example.encoded.ids[span.clone()]));
            at = span.end;
        }
        text + &tokenizer.decode(&example.encoded.ids[at..])
    };
    examples.iter().map(mark).collect()
}

fn encode(row: &Row, template: Option<&str>, loss_on: LossOn, max_length: usize) -> Result<Vec<String>, Error> {
    let (tokenizer, chat) = (bytes(), template.map(chat));
    let encoder = Encoder::new(&tokenizer, chat.as_ref(), &ends(&[1]), loss_on);
    Ok(marked(&encoder.examples(Path::new("a.jsonl"), row, max_length)?, &tokenizer))
}

fn fails(result: Result<Vec<String>, Error>) -> (String, String) {
    let error = result.unwrap_err();
    (error.to_string(), error.help().expect("says what to do").to_string())
}

#[test]
fn of_a_long_text_only_the_beginning_is_tokenised() {
    let tokenizer = bytes();
    let encoder = Encoder::new(&tokenizer, None, &ends(&[1]), LossOn::Completion);
    let text = "one two ".repeat(40_000);
    let row = |text: &str| Row { line: 1, content: Content::Text(text.to_owned()) };
    let of = |text: &str| encoder.examples(Path::new("a.jsonl"), &row(text), 32).unwrap().remove(0);
    let (long, short) = (of(&text), of(&text[..2_000]));
    assert_eq!((&long.encoded.ids, &long.spans), (&short.encoded.ids, &short.spans));
    assert_eq!((long.encoded.at_least, short.encoded.at_least), (true, false));
    assert!(long.encoded.full_length < text.len() && long.lost_targets > 32);
}

#[test]
fn completions_and_texts_end_in_the_end_token_and_begin_once() {
    let encode = |row: Row, loss_on| encode(&row, None, loss_on, 99).unwrap();
    assert_eq!(encode(completion("ab", " c"), LossOn::Completion), ["<s>ab[ c</s>]"]);
    assert_eq!(encode(completion("ab", " c"), LossOn::All), ["<s>[ab c</s>]"]);
    assert_eq!(encode(completion("<s>ab", "c</s>"), LossOn::Completion), ["<s>ab[c</s>]"], "neither is doubled");
    assert_eq!(encode(completion("", "c"), LossOn::Completion), ["<s>[c</s>]"]);
    assert_eq!(encode(text("ab"), LossOn::Completion), ["<s>[ab</s>]"]);
}

#[test]
fn without_a_beginning_the_first_token_is_no_target_and_a_prompt_is_needed() {
    let tokenizer = sentence_pieces();
    let encoder = Encoder::new(&tokenizer, None, &ends(&[2]), LossOn::Completion);
    let examples = |row: Row| encoder.examples(Path::new("a.jsonl"), &row, 9);
    let hello = examples(text("hello world")).unwrap();
    assert_eq!((hello[0].encoded.ids.len(), &hello[0].spans), (3, &vec![1..3]), "hello, world and the end token");
    let error = examples(completion("", "hello")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a.jsonl, line 3: the prompt is empty, and neither the tokenizer nor config.json has a token that begins a text"
    );
    let bounds = Bounds { first: Some(1), ends: vec![2] };
    let with_first = Encoder::new(&tokenizer, None, &bounds, LossOn::Completion);
    assert_eq!(with_first.prompt_of_text("", usize::MAX, "the prompt").unwrap().ids, [1], "as config.json names it");
    assert_eq!(with_first.prompt_of_text("hello", usize::MAX, "the prompt").unwrap().ids, tokenizer.ids("hello"));
    let first = &with_first.examples(Path::new("a.jsonl"), &completion("", "hello"), 9).unwrap()[0];
    assert_eq!(first.encoded.ids, [&[1], tokenizer.ids("hello").as_slice(), &[2]].concat());
    let without_end = Encoder::new(&tokenizer, None, &ends(&[]), LossOn::Completion);
    let error = without_end.examples(Path::new("a.jsonl"), &text("hello"), 9).unwrap_err();
    assert!(matches!(error, Error::NoEndToken), "{error}");
}

#[test]
fn of_a_conversation_every_turn_of_the_assistant_is_a_target() {
    let row = messages(json!([
        {"role": "system", "content": "x"}, {"role": "user", "content": "y"}, {"role": "assistant", "content": "z"},
        {"role": "user", "content": "z"}, {"role": "assistant", "content": "zz"}, {"role": "user", "content": "?"},
    ]));
    let whole = "<s>s:x<|end|>\nu:y<|end|>\na:[z<|end|>\n]u:z<|end|>\na:[zz<|end|>\n]u:?<|end|>\n";
    assert_eq!(encode(&row, Some(TEMPLATE), LossOn::Completion, 99).unwrap(), [whole]);
    let everything = format!("<s>[{}]", whole[3..].replace(['[', ']'], ""));
    assert_eq!(encode(&row, Some(TEMPLATE), LossOn::All, 99).unwrap(), [everything]);
    let cut = "<s>z<|end|>\na:[zz<|end|>\n]";
    assert_eq!(encode(&row, Some(TEMPLATE), LossOn::Completion, 10).unwrap(), [cut]);
}

#[test]
fn a_token_with_any_character_of_a_turn_is_a_target() {
    // The space before `world` is the generation prompt's, and part of the token.
    let source =
        "{% for m in messages %}hello {{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}hello {% endif %}";
    let (tokenizer, template) = (sentence_pieces(), chat(source));
    let encoder = Encoder::new(&tokenizer, Some(&template), &ends(&[2]), LossOn::Completion);
    let row = messages(json!([{"role": "user", "content": "world"}, {"role": "assistant", "content": "world"}]));
    let example = &encoder.examples(Path::new("a.jsonl"), &row, 99).unwrap()[0];
    assert_eq!(example.encoded.ids, tokenizer.ids("hello world</s>hello world</s>"));
    assert_eq!((example.encoded.ids.len(), &example.spans), (6, &vec![4..6]));
}

#[test]
fn turns_that_are_rewritten_later_are_sequences_of_their_own() {
    let row = messages(json!([
        {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"},
        {"role": "user", "content": "x"}, {"role": "assistant", "content": "z"},
    ]));
    let turns = ["u:x</s>a:[Ty</s>]", "u:x</s>a:y</s>u:x</s>a:[Tz</s>]"];
    assert_eq!(encode(&row, Some(THINKING), LossOn::Completion, 99).unwrap(), turns);
    let whole = ["u[:x</s>a:y</s>u:x</s>a:Tz</s>]"];
    assert_eq!(encode(&row, Some(THINKING), LossOn::All, 99).unwrap(), whole, "each token counts once");
}

#[test]
fn turns_that_say_so_are_no_targets() {
    let row = messages(json!([
        {"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "weight": 0},
        {"role": "user", "content": "x"}, {"role": "assistant", "content": "z", "weight": 1},
    ]));
    let marked = |template, loss_on| encode(&row, Some(template), loss_on, 99).unwrap();
    let whole = "<s>u:x<|end|>\na:y<|end|>\nu:x<|end|>\na:[z<|end|>\n]";
    assert_eq!(marked(TEMPLATE, LossOn::Completion), [whole]);
    let all = "<s>[u:x<|end|>\na:]y<|end|>\n[u:x<|end|>\na:z<|end|>\n]";
    assert_eq!(marked(TEMPLATE, LossOn::All), [all]);
    assert_eq!(marked(THINKING, LossOn::Completion), ["u:x</s>a:y</s>u:x</s>a:[Tz</s>]"]);
    let (message, _) = fails(encode(&row, Some(THINKING), LossOn::All, 99));
    assert_eq!(
        message,
        "a.jsonl, line 3: message 2 is not a target, but the chat template writes it differently once the \
         conversation continues"
    );
    let none = messages(json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "weight": 0}]));
    let (message, _) = fails(encode(&none, Some(TEMPLATE), LossOn::Completion, 99));
    assert_eq!(message, "a.jsonl, line 3: no message of the assistant is to be learned");
}

#[test]
fn of_a_prompt_of_messages_no_turn_is_a_target() {
    let place = Place::new(Path::new("a.jsonl"), 3);
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let prompt = json!([turn("user", "x"), turn("assistant", "y"), turn("user", "z")]);
    let completion = json!([turn("assistant", "w")]);
    let apart = Conversation::read_apart(("prompt", &prompt), Some(("completion", &completion)), None, &place);
    let row = Row { line: 3, content: Content::Conversation(apart.unwrap()) };
    let expected = "<s>u:x<|end|>\na:y<|end|>\nu:z<|end|>\na:[w<|end|>\n]";
    assert_eq!(encode(&row, Some(TEMPLATE), LossOn::Completion, 99).unwrap(), [expected]);
}

/// As SentencePiece's vocabularies become, with the mark of a space before a text in the way that `pre` or `normalizer`
/// has it.
fn pieces(pre: Value, normalizer: Value) -> Tokenizer {
    let mut names: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    names.extend("\u{2581}abcdefghijklmnopqrstuvwxyzEFA:\n".chars().map(String::from));
    let mut merges: Vec<[String; 2]> = Vec::new();
    for word in ["\u{2581}open", "\u{2581}nine"] {
        let characters: Vec<char> = word.chars().collect();
        for end in 2..=characters.len() {
            let text = |characters: &[char]| characters.iter().collect::<String>();
            if !names.contains(&text(&characters[..end])) {
                names.push(text(&characters[..end]));
                merges.push([text(&characters[..end - 1]), text(&characters[end - 1..end])]);
            }
        }
    }
    let vocabulary: serde_json::Map<String, Value> =
        names.into_iter().zip(0..).map(|(name, id)| (name, json!(id))).collect();
    let tokenizer = json!({
        "version": "1.0", "added_tokens": [], "pre_tokenizer": pre, "normalizer": normalizer,
        "model": {"type": "BPE", "unk_token": "<unk>", "vocab": vocabulary, "merges": merges},
    });
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    fs::write(dir.path().join("tokenizer_config.json"), r#"{"eos_token": "</s>"}"#).unwrap();
    Tokenizer::from_dir(dir.path()).unwrap()
}

#[test]
fn prompt_and_completion_have_the_ids_of_the_joined_text() {
    let space = |scheme: &str| json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme, "split": false});
    let legacy = json!({"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u{2581}"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"},
    ]});
    let ways = [
        pieces(Value::Null, legacy),
        pieces(space("first"), Value::Null),
        pieces(space("always"), Value::Null),
        pieces(space("never"), Value::Null),
    ];
    for tokenizer in ways {
        let encoder = Encoder::new(&tokenizer, None, &ends(&[2]), LossOn::Completion);
        let example = |prompt: &str, said: &str| {
            let example = encoder.examples(Path::new("a.jsonl"), &completion(prompt, said), 99).unwrap().remove(0);
            let tokens = |ids: &[u32]| -> Vec<String> { ids.iter().map(|id| tokenizer.token(*id).unwrap()).collect() };
            assert!(example.encoded.ids.starts_with(&encoder.prompt_of_text(prompt, usize::MAX, "p").unwrap().ids));
            (tokens(&example.encoded.ids[example.spans[0].clone()]), example.encoded.ids)
        };
        let (targets, ids) = example("A:", " nine open");
        assert_eq!(targets, ["\u{2581}nine", "\u{2581}open", "</s>"]);
        assert_eq!(ids, [tokenizer.ids("A: nine open"), vec![2]].concat());
        let (targets, _) = example("A:\n", "nine");
        assert_eq!(targets, ["n", "i", "n", "e", "</s>"], "no space stands before it");
        // The space is the prompt's, with which the joined text would go on to another token.
        let (targets, ids) = example("A: ", "nine");
        assert_eq!(targets, ["n", "i", "n", "e", "</s>"]);
        assert_eq!(
            ids,
            [tokenizer.ids("A: "), ["n", "i", "n", "e"].map(|it| tokenizer.id(it)).to_vec(), vec![2]].concat()
        );
    }
}

#[test]
fn the_token_behind_a_turn_stops_generation() {
    let (tokenizer, end, plain) = (bytes(), chat(TEMPLATE), chat(THINKING));
    assert_eq!(Encoder::new(&tokenizer, Some(&end), &ends(&[1]), LossOn::Completion).stop_tokens(), [1, 2]);
    assert_eq!(Encoder::new(&tokenizer, Some(&plain), &ends(&[1]), LossOn::Completion).stop_tokens(), [1]);
    assert_eq!(Encoder::new(&tokenizer, None, &ends(&[1]), LossOn::Completion).stop_tokens(), [1]);
}

#[test]
fn rows_that_teach_nothing_are_refused() {
    let ask = json!([{"role": "user", "content": "x"}]);
    let say = json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]);
    let chat = |row: &Value, template| fails(encode(&messages(row.clone()), template, LossOn::Completion, 99));
    assert_eq!(chat(&ask, Some(TEMPLATE)).0, "a.jsonl, line 3: no message is the assistant's");
    let (message, help) = chat(&say, None);
    assert_eq!(message, "a.jsonl, line 3: the row holds messages, but the checkpoint has no chat template");
    assert!(help.starts_with("put one beside its tokenizer as chat_template.jinja"), "{help}");
    let endless = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";
    assert_eq!(
        chat(&say, Some(endless)).0,
        "a.jsonl, line 3: the chat template ends message 2 without a token at which generation stops"
    );
    let misspelt = json!([{"role": "user", "content": "x"}, {"role": "asistant", "content": "y"}]);
    assert_eq!(chat(&misspelt, Some(TEMPLATE)).1, "did you mean `assistant`?");
    let short = fails(encode(&completion("abc", "d"), None, LossOn::Completion, 1));
    assert_eq!(short.0, "`data.max_length = 1` leaves no room for a target after the first 1 token");
}

#[test]
fn prompts_end_where_the_answer_begins() {
    let (tokenizer, template) = (bytes(), chat(TEMPLATE));
    let encoder = Encoder::new(&tokenizer, Some(&template), &ends(&[1]), LossOn::Completion);
    let prompt = |row: &Row| {
        let encoded = encoder.prompt(Path::new("a.jsonl"), row, usize::MAX).unwrap();
        assert_eq!((encoded.full_length, encoded.type_ids.len()), (encoded.ids.len(), encoded.ids.len()));
        tokenizer.decode(&encoded.ids)
    };
    assert_eq!(prompt(&text("ab")), "<s>ab");
    assert_eq!(prompt(&completion("ab", "c")), "<s>ab");
    let asked = json!([{"role": "user", "content": "x"}]);
    assert_eq!(prompt(&messages(asked)), "<s>u:x<|end|>\na:");
    let answered = json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]);
    assert_eq!(prompt(&messages(answered)), "<s>u:x<|end|>\na:");
    assert_eq!(tokenizer.decode(&encoder.prompt_of_text("", usize::MAX, "the prompt").unwrap().ids), "<s>");
}

#[test]
fn a_batch_asks_for_each_target_at_the_token_before_it() {
    let tokenizer = bytes();
    let encoder = Encoder::new(&tokenizer, None, &ends(&[1]), LossOn::Completion);
    let rows = [completion("abc", "de"), text("f"), completion("ghijkl", "m")];
    let mut dataset = Dataset::default();
    dataset.add_rows(Path::new("a.jsonl"), &rows, &encoder, &Encoding::new(&tokenizer, 6)).unwrap();
    assert_eq!((dataset.targets(), dataset.truncated(), dataset.lost_targets()), (7, 2, 0));
    let batch = Batch::new(&dataset, &[1, 0], 4);
    assert_eq!(tokenizer.decode(&batch.ids), "<s>f</s><s>bcde</s>");
    assert_eq!(batch.rows, [0, 1, 5, 6, 7]);
    let predicted: Vec<u32> = batch.targets.numbers().iter().map(|target| *target as u32).collect();
    assert_eq!(tokenizer.decode(&predicted), "f</s>de</s>");
    assert_eq!(batch.sequences_of_targets(), [0, 0, 1, 1, 1]);
    assert_eq!((batch.examples, batch.first_row), (vec![1, 0], 4));
    assert_eq!([0, 1].map(|index| dataset.get(index).line()), [3, 3]);
}

proptest! {
    #[test]
    fn the_targets_are_what_the_assistant_says_whatever_it_says(
        said in prop::collection::vec("[a:é \n]{0,5}x", 1..5), max_length in 8..60_usize,
    ) {
        let turns: Vec<Value> = said
            .iter()
            .flat_map(|said| [json!({"role": "user", "content": said}), json!({"role": "assistant", "content": said})])
            .collect();
        let (tokenizer, template) = (bytes(), chat(TEMPLATE));
        let encoder = Encoder::new(&tokenizer, Some(&template), &ends(&[1]), LossOn::Completion);
        let row = messages(Value::Array(turns));
        let whole = &encoder.examples(Path::new("a.jsonl"), &row, usize::MAX).unwrap()[0];
        let targets = |example: &EncodedExample| -> Vec<u32> {
            example.spans.iter().flat_map(|span| example.encoded.ids[span.clone()].to_vec()).collect()
        };
        let expected: String = said.iter().map(|said| format!("{said}<|end|>\n")).collect();
        prop_assert_eq!(tokenizer.decode(&targets(whole)), expected);

        let cut = &encoder.examples(Path::new("a.jsonl"), &row, max_length).unwrap()[0];
        prop_assert_eq!(cut.encoded.ids.len(), whole.encoded.ids.len().min(max_length));
        prop_assert_eq!(cut.encoded.full_length, whole.encoded.ids.len());
        prop_assert_eq!(cut.lost_targets, targets(whole).len() - targets(cut).len());
        prop_assert_eq!(cut.encoded.ids[0], 0, "the beginning stays");
        prop_assert!(!cut.spans.is_empty() && cut.spans.iter().all(|span| span.start > 0));
    }
}
