//! Very long prompts, completions and conversations against the same tokenised as a whole.

use super::*;
use crate::tokenizer::tests::{every_kind, words};

/// Writes a conversation as one text, in which `</s>` ends each message.
const PLAIN: &str = "{% for m in messages %}{{ m.role }} : {{ m.content }}</s>\n{% endfor %}\
    {% if add_generation_prompt %}assistant : {% endif %}";

/// Ids and targets.
type Cut = (Vec<u32>, Vec<Range<usize>>);

fn cut(example: &EncodedExample) -> Cut {
    (example.encoded.ids.clone(), example.spans.clone())
}

/// Of the same rows tokenised as a whole and cut then.
fn of_the_whole(encoder: &Encoder<'_>, row: &Row, max_length: usize) -> Vec<Cut> {
    let place = Place::new(Path::new("a.jsonl"), row.line);
    let sequences = match &row.content {
        Content::Text(text) => vec![encoder.text(text, usize::MAX).unwrap()],
        Content::Completion { prompt, completion } => {
            let joined = format!("{prompt}{completion}");
            vec![encoder.completion(&joined, prompt.len(), usize::MAX, &place).unwrap()]
        }
        Content::Conversation(conversation) => encoder.conversation(conversation, usize::MAX, &place).unwrap(),
    };
    assert!(sequences.iter().all(|sequence| !sequence.is_excerpt));
    let examples = sequences.into_iter().map(|it| cut(&encoder.example(it, row.line, max_length, &place).unwrap()));
    examples.collect()
}

fn turns(contents: &[&str]) -> Row {
    let turns = contents.iter().zip(["user", "assistant"].into_iter().cycle());
    let said = turns.map(|(content, role)| json!({"role": role, "content": content}));
    messages(said.collect())
}

/// Each sequence is that of the whole text. Returns whether a part of one was left out.
fn check(encoder: &Encoder<'_>, row: &Row, max_length: usize) -> Result<bool, TestCaseError> {
    let found = encoder.examples(Path::new("a.jsonl"), row, max_length).unwrap();
    prop_assert_eq!(found.iter().map(cut).collect::<Vec<_>>(), of_the_whole(encoder, row, max_length));
    Ok(found.iter().any(|example| example.encoded.at_least))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]
    #[test]
    fn long_prompts_and_completions_have_the_tokens_of_the_whole(long in words(), short in words(), max_length in 8..40_usize) {
        let short: String = short.chars().take(40).collect();
        for (name, tokenizer) in every_kind() {
            for loss_on in [LossOn::Completion, LossOn::All] {
                let encoder = Encoder::new(&tokenizer, None, &ends(&[1]), loss_on);
                for (prompt, said) in [(&long, &short), (&short, &long), (&long, &long)] {
                    let left_out = check(&encoder, &completion(prompt, said), max_length)?;
                    // Of the prompt's end only pieces are exact that do not begin with the text.
                    let only_whole = name == "Unigram in one piece" && said == &short;
                    prop_assert_eq!(left_out, !only_whole, "{}", name);
                }
            }
        }
    }

    #[test]
    fn long_conversations_have_the_tokens_of_the_whole(long in words(), short in words(), max_length in 12..40_usize) {
        let short: String = short.chars().take(30).collect();
        let (long, short) = (long.as_str(), short.as_str());
        let rows: [&[&str]; 6] = [
            &[long, short], &[short, long], &[long, long, short, short], &[short, long, long, short],
            &[short, short, long, long], &[short, short, long, short, long],
        ];
        for (name, tokenizer) in every_kind() {
            let end = match name {
                "WordPiece" => "[SEP]".to_owned(),
                _ => tokenizer.end_token().and_then(|end| tokenizer.token(end)).unwrap_or("</s>".to_owned()),
            };
            for template in [PLAIN, THINKING] {
                let chat = chat(&template.replace("</s>", &end));
                for loss_on in [LossOn::Completion, LossOn::All] {
                    let encoder = Encoder::new(&tokenizer, Some(&chat), &ends(&[tokenizer.id(&end)]), loss_on);
                    for row in rows {
                        let left_out = check(&encoder, &turns(row), max_length)?;
                        prop_assert!(left_out || name == "Unigram in one piece", "{}", name);
                    }
                }
            }
        }
        let (tokenizer, chat) = (bytes(), chat(TEMPLATE));
        let encoder = Encoder::new(&tokenizer, Some(&chat), &ends(&[1]), LossOn::Completion);
        for row in rows {
            prop_assert!(check(&encoder, &turns(row), max_length)?);
        }
    }
}

#[test]
fn a_turn_whose_end_was_left_out_must_have_one_all_the_same() {
    let endless = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";
    let long = "one two ".repeat(10_000);
    let refused = |template| encode(&turns(&["x", &long]), Some(template), LossOn::Completion, 32);
    assert_eq!(
        fails(refused(endless)).0,
        "a.jsonl, line 3: the chat template ends message 2 without a token at which generation stops"
    );
    assert!(refused(PLAIN).is_ok());
}

#[test]
fn turns_that_are_no_targets_stay_none_where_a_part_of_them_was_left_out() {
    let long = "one two ".repeat(10_000);
    let row = |first: &str| {
        messages(json!([
            {"role": "user", "content": "x"}, {"role": "assistant", "content": first, "weight": 0},
            {"role": "user", "content": "y"}, {"role": "assistant", "content": "z"},
        ]))
    };
    let (tokenizer, template) = (bytes(), chat(PLAIN));
    for loss_on in [LossOn::Completion, LossOn::All] {
        let encoder = Encoder::new(&tokenizer, Some(&template), &ends(&[1]), loss_on);
        let (found, right) =
            (encoder.examples(Path::new("a.jsonl"), &row(&long), 60).unwrap(), of_the_whole(&encoder, &row(&long), 60));
        assert_eq!(found.iter().map(cut).collect::<Vec<_>>(), right);
        assert!(found[0].encoded.at_least && found[0].encoded.ids.len() == 60);
    }
}
