//! The columns of data sets that people have.

use serde_json::{Value, json};

use super::*;
use crate::Record;

pub(super) fn profile(rows: Value) -> Profile {
    let Value::Array(rows) = rows else { panic!("rows are an array") };
    let record = |(n, row): (usize, Value)| {
        let Value::Object(fields) = row else { panic!("a row is an object") };
        Ok(Record { line: n + 1, fields: fields.into_iter().collect() })
    };
    Profile::of(rows.into_iter().enumerate().map(record)).unwrap()
}

/// Forty rows of what `row` makes of their numbers.
fn forty(row: impl Fn(usize) -> Value) -> Profile {
    profile((0..40).map(row).collect())
}

/// A text of `words` words that no other row has.
fn text(n: usize, words: usize) -> String {
    let word = ["film", "story", "plot", "cast", "scene"][n % 5];
    format!("number {n}{}", format!(" {word}").repeat(words - 2))
}

/// Text, second text and label.
fn guessed(profile: &Profile) -> (Option<&str>, Option<&str>, Option<&str>) {
    let guess = Guess::of(profile, Given::default());
    let name = |column: Option<&Column>| column.and_then(|column| profile.column(&column.name)).map(|it| &*it.name);
    (name(guess.text), name(guess.text_pair), name(guess.label))
}

#[test]
fn sst2_has_a_sentence_and_a_label() {
    let glue = forty(|n| json!({"idx": n, "sentence": text(n, 9), "label": n % 2}));
    assert_eq!(guessed(&glue), (Some("sentence"), None, Some("label")));
}

#[test]
fn mrpc_has_two_sentences_in_their_order() {
    let longer_first = |n: usize| if n == 0 { (8, 20) } else { (20, 8) };
    let mrpc = |n: usize| {
        let (one, two) = longer_first(n / 20);
        json!({"sentence1": text(n, one), "sentence2": text(n + 100, two), "label": (["no", "yes"][n % 2]), "idx": n})
    };
    for rows in [(0..20).map(mrpc).collect::<Value>(), (20..40).map(mrpc).collect()] {
        assert_eq!(guessed(&profile(rows)), (Some("sentence1"), Some("sentence2"), Some("label")));
    }
}

#[test]
fn nli_has_a_premise_that_several_rows_share() {
    let snli = forty(|n| json!({"premise": text(n / 4, 12), "hypothesis": text(n, 5), "label": n % 3}));
    assert_eq!(guessed(&snli), (Some("premise"), Some("hypothesis"), Some("label")));
    let qnli = forty(|n| json!({"sentence": text(n, 30), "question": text(n, 6), "label": n % 2}));
    assert_eq!(guessed(&qnli), (Some("question"), Some("sentence"), Some("label")));
}

#[test]
fn banking77_has_its_intents_in_words() {
    let hub = forty(|n| json!({"text": text(n, 10), "category": (["card_arrival", "lost_or_stolen_card"][n % 2])}));
    assert_eq!(guessed(&hub), (Some("text"), None, Some("category")));
    let other = forty(|n| json!({"text": text(n, 10), "label": n % 10}));
    assert_eq!(guessed(&other), (Some("text"), None, Some("label")));
}

#[test]
fn ag_news_has_one_text_of_several_and_its_classes_from_1() {
    let csv = forty(|n| {
        let class = (n % 4 + 1).to_string();
        json!({"Class Index": class, "Title": text(n, 6), "Description": text(n, 30)})
    });
    assert_eq!(guessed(&csv), (Some("Description"), None, Some("Class Index")));
    assert_eq!(Guess::of(&csv, Given::default()).other_texts, ["Title"]);
}

#[test]
fn imdb_and_trec_are_known_by_their_names() {
    let imdb = forty(|n| json!({"review": text(n, 200), "sentiment": (["negative", "positive"][n % 2])}));
    assert_eq!(guessed(&imdb), (Some("review"), None, Some("sentiment")));
    let trec = forty(|n| json!({"text": text(n, 8), "coarse_label": n % 6, "fine_label": n % 10}));
    assert_eq!(guessed(&trec), (Some("text"), None, Some("coarse_label")));
    assert_eq!(Guess::of(&trec, Given::default()).other_labels, ["fine_label"]);
}

#[test]
fn a_label_of_an_unknown_name_has_few_values() {
    let stars =
        forty(|n| json!({"comment": text(n, 12), "lang": "en", "split": (["a", "b"][n % 2]), "grade": n % 5 + 1}));
    assert_eq!(guessed(&stars), (Some("comment"), None, Some("grade")));
    let guess = Guess::of(&stars, Given::default());
    assert!(!guess.label_by_name && guess.other_labels.is_empty());
    let several = forty(|n| json!({"comment": text(n, 12), "shop": (["a", "b"][n % 2]), "grade": n % 5 + 1}));
    assert_eq!(guessed(&several).2, Some("grade"));
    assert_eq!(Guess::of(&several, Given::default()).other_labels, ["shop"]);
}

#[test]
fn texts_alone_have_no_label() {
    let corpus = forty(|n| json!({"text": text(n, 12)}));
    assert_eq!(guessed(&corpus), (Some("text"), None, None));
    let numbered = forty(|n| json!({"id": n % 3, "text": text(n, 12), "score": n as f64 / 7.0}));
    assert_eq!(guessed(&numbered), (Some("text"), None, None), "neither a number of a row nor a fraction is a class");
    let pairs = forty(|n| json!({"question": text(n, 8), "answer": text(n, 20)}));
    assert_eq!(guessed(&pairs), (Some("answer"), None, None), "two texts go together with a class alone");
}

/// The column that is called a label, and why it is none.
fn unfit(profile: &Profile) -> Option<(String, String)> {
    Guess::of(profile, Given::default()).unfit.map(|unfit| (unfit.column.name.clone(), unfit.to_string()))
}

#[test]
fn a_label_that_cannot_be_one_is_named_with_the_reason() {
    let reason = |name: &str, value: fn(usize) -> Value| {
        let rows = forty(|n| json!({"text": text(n, 12), (name): value(n)}));
        unfit(&rows).filter(|(column, _)| column == name).map(|(_, reason)| reason)
    };
    let wanted = |reason: &str| Some(reason.to_owned());
    assert_eq!(reason("label", |n| json!(n as f64 / 7.0)), wanted("its 40 values are fractions"));
    assert_eq!(reason("Target", |n| json!(n % 2 == 0)), None);
    assert_eq!(reason("label", |n| json!((n % 3) as f64)), None, "as pandas writes integers that once had a gap");
    assert_eq!(
        reason("class", |n| if n < 20 { json!(n) } else { json!(true) }),
        wanted("its 40 values are of several kinds")
    );
    assert_eq!(reason("category", |n| json!(format!("c{n}"))), wanted("its 40 values are 40 different ones"));
    assert_eq!(
        reason("label", |n| if n < 8 { json!(n % 2) } else { Value::Null }),
        wanted("8 of 40 rows have a value")
    );
    assert_eq!(reason("label", |_| Value::Null), wanted("0 of 40 rows have a value"));
    assert_eq!(reason("label", |n| json!(n % 2)), None);
    assert_eq!(reason("weight", |n| json!(n as f64 / 7.0)), None, "nobody calls that a label");
    let pairs = forty(|n| json!({"question": text(n, 20), "answer": text(n, 8)}));
    assert_eq!(unfit(&pairs), None, "a text");
}

#[test]
fn labels_and_numbers_alone_have_no_text() {
    let labels = forty(|n| json!({"id": n, "label": (["no", "yes"][n % 2]), "kind": (["a", "b"][n % 2])}));
    assert_eq!(guessed(&labels), (None, None, Some("label")));
    let links = forty(|n| json!({"url": format!("https://example.org/{n}"), "label": n % 2}));
    assert_eq!(guessed(&links).0, None);
}

#[test]
fn prose_goes_before_longer_codes() {
    let coded = forty(|n| json!({"hash": "0123456789abcdef".repeat(9) + &n.to_string(), "tweet": text(n, 5)}));
    assert_eq!(guessed(&coded).0, Some("tweet"));
    let chinese =
        forty(|n| json!({"code": format!("abcdefghijklmnop{n}"), "review": format!("酒店很好{n}"), "label": n % 2}));
    assert_eq!(guessed(&chinese), (Some("review"), None, Some("label")), "a script without spaces is prose too");
}

#[test]
fn what_is_given_is_taken() {
    let trec = forty(|n| json!({"text": text(n, 8), "note": text(n, 20), "coarse_label": n % 6, "fine_label": n % 10}));
    let given = Given { text: trec.column("text"), label: trec.column("fine_label"), ..Given::default() };
    let guess = Guess::of(&trec, given);
    assert_eq!(guess.text.map(|it| it.name.as_str()), Some("text"));
    assert_eq!(guess.label.map(|it| it.name.as_str()), Some("fine_label"));
    assert!(guess.other_labels.is_empty() && guess.other_texts.is_empty());
    let pair = Guess::of(&trec, Given { text_pair: trec.column("text"), ..Given::default() });
    assert_eq!(pair.text.map(|it| it.name.as_str()), Some("note"));
    assert_eq!(pair.text_pair.map(|it| it.name.as_str()), Some("text"));
}
