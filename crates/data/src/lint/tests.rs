//! Tests of the whole room: one of each finding, as it reads.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::Label;
use crate::Tokenizer;
use crate::columns::Example;
use crate::tokenizer::tests::{bytes, small};

const TRAIN: &str = "train.csv";
const VALID: &str = "valid.csv";

fn row(line: usize, text: &str, label: &str) -> Example {
    Example { line, text: text.into(), text_pair: None, label: Some(Label::Text(label.into())) }
}

/// Rows of lines 2, 3, ..., as below a header.
fn rows(texts: &[(&str, &str)]) -> Vec<Example> {
    texts.iter().enumerate().map(|(n, (text, label))| row(n + 2, text, label)).collect()
}

fn split(file: &str, examples: &[Example]) -> Rows {
    let mut digest = Digest::default();
    digest.add(Path::new(file), examples, false).unwrap();
    Rows { digest: Arc::new(digest), part: None, truncation: None, reading: None }
}

fn labels(names: &[&str]) -> Labels {
    Labels::new(names.iter().map(|name| (*name).to_owned()).collect()).unwrap()
}

/// The findings about rows: tests have too few of them for their classes not to be small.
fn look(train: &[Example], valid: &[Example]) -> Vec<Finding> {
    let valid = (!valid.is_empty()).then(|| split(VALID, valid));
    let found = lint(&split(TRAIN, train), valid.as_ref(), Some(&labels(&["good", "bad"])));
    found.into_iter().filter(|it| !matches!(it.kind, FindingKind::Small { .. })).collect()
}

fn messages(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(Finding::message).collect()
}

#[test]
fn rows_that_repeat_an_earlier_one() {
    let train = rows(&[("a", "good"), ("b", "bad"), ("a", "good"), ("a", "good")]);
    let found = look(&train, &[]);
    assert_eq!(messages(&found), ["2 rows of train.csv repeat an earlier one (lines 4, 5)"]);
    assert_eq!((found[0].severity(), found[0].name()), (Severity::Note, "repeated"));
    assert_eq!(found[0].advice(), Some("they weigh more than other rows; remove them unless that is meant"));
    assert_eq!(messages(&look(&train[..3], &[])), ["1 row of train.csv repeats an earlier one (line 4)"]);
    let many: Vec<Example> = (2..1_236).map(|line| row(line, "a", "good")).collect();
    assert_eq!(
        messages(&look(&many, &[])),
        ["1,233 rows of train.csv repeat an earlier one (first: lines 3, 4, 5, 6, 7)"]
    );
}

#[test]
fn a_second_text_makes_another_row() {
    let mut train = rows(&[("a", "good"), ("a", "good"), ("a", "good")]);
    train[1].text_pair = Some("b".into());
    train[2].text_pair = Some("c".into());
    assert_eq!(look(&train, &[]), []);
}

#[test]
fn rows_of_validation_that_stand_in_training() {
    let (train, valid) = (rows(&[("a", "good"), ("b", "bad")]), rows(&[("c", "bad"), ("b", "bad"), ("b", "bad")]));
    let found = look(&train, &valid);
    assert_eq!(messages(&found), ["2 rows of valid.csv stand in train.csv too (lines 3, 4)"]);
    assert_eq!(found[0].severity(), Severity::Warning);
    let one_file = lint(&split("all.json", &train), Some(&split("all.json", &valid)), None);
    assert_eq!(
        messages(&one_file),
        ["2 rows of the validation part of all.json stand in the training part of all.json too (rows 3, 4)"]
    );
}

#[test]
fn the_same_text_with_another_label() {
    let (train, valid) = (rows(&[("a", "good"), ("b", "bad"), ("a", "bad")]), rows(&[("b", "good")]));
    assert_eq!(
        messages(&look(&train, &[])),
        [
            "2 rows have the text of another, but not its label (line 2 and line 4, line 4 and line 2)",
            "1 row of train.csv repeats an earlier one (line 4)",
        ]
    );
    assert_eq!(
        messages(&look(&train[..2], &valid)),
        [
            "1 row of valid.csv stands in train.csv too (line 2)",
            "2 rows have the text of another, but not its label (line 3 of train.csv and line 2 of valid.csv, line 2 of valid.csv and line 3 of train.csv)",
        ]
    );
}

#[test]
fn a_class_is_the_same_by_name_and_by_number() {
    let (train, mut valid) = (rows(&[("a", "bad")]), rows(&[("a", "1")]));
    assert_eq!(messages(&look(&train, &valid)), ["1 row of valid.csv stands in train.csv too (line 2)"]);
    valid[0].label = Some(Label::Index(0));
    assert!(look(&train, &valid).iter().any(|it| it.kind == FindingKind::Conflicting), "0 is `good`");
    assert_eq!(lint(&split(TRAIN, &train), Some(&split(VALID, &valid)), None).len(), 1, "no labels are looked at");
}

#[test]
fn rows_that_nearly_repeat_another() {
    let train = rows(&[
        ("The room was clean, the staff were kind and the food was warm.", "good"),
        ("too loud", "bad"),
        ("the room was clean the staff were kind and the food was warm", "good"),
        ("Too loud!", "bad"),
        ("too cold", "bad"),
    ]);
    let valid =
        rows(&[("The room was clean, the staff were kind and the food was warm, too.", "good"), ("TOO COLD", "bad")]);
    let found = look(&train, &valid);
    assert_eq!(
        messages(&found),
        [
            "2 rows of valid.csv nearly repeat one of train.csv (line 2 like line 2, line 3 like line 6)",
            "2 rows of train.csv nearly repeat another (line 4 like line 2, line 5 like line 3)",
        ]
    );
}

#[test]
fn rows_that_differ_in_numbers_alone() {
    let train = rows(&[
        ("Your code is 4711.", "good"),
        ("your code is 12", "good"),
        ("YOUR CODE IS 12!", "good"),
        ("room 5", "bad"),
    ]);
    let valid = rows(&[("Room 17", "bad"), ("your code: is 4711", "good")]);
    let found = look(&train, &valid);
    assert_eq!(
        messages(&found),
        [
            "1 row of valid.csv nearly repeats one of train.csv (line 3 like line 2)",
            "1 row of train.csv nearly repeats another (line 4 like line 3)",
            "1 row of train.csv repeats another if numbers are ignored (line 3 like line 2)",
            "1 row of valid.csv repeats one of train.csv if numbers are ignored (line 2 like line 5)",
        ]
    );
    let (severities, names): (Vec<_>, Vec<_>) = found.iter().map(|it| (it.severity(), it.name())).unzip();
    assert_eq!(severities, [Severity::Warning, Severity::Note, Severity::Note, Severity::Note]);
    assert_eq!(names[2..], ["repeated_but_for_numbers", "leaked_but_for_numbers"]);
    assert_eq!(found[2].advice(), Some("as it should be where the numbers matter"));
}

#[test]
fn texts_without_a_word() {
    let train = rows(&[("?!", "good"), ("🙂", "good"), (" . \u{200b}\u{a0}", "bad"), ("x", "bad")]);
    assert_eq!(
        messages(&look(&train, &[])),
        ["2 rows of train.csv hold nothing but spaces and punctuation (lines 2, 4)"]
    );
}

#[test]
fn texts_that_were_read_or_written_wrongly() {
    let train = rows(&[
        ("cafÃ© \u{81}", "good"),
        ("na\u{fffd}ve", "good"),
        ("a\u{7}b", "bad"),
        ("tab\tand\r\nbreak", "bad"),
        ("this &amp; that", "bad"),
        ("that #39;s it", "bad"),
    ]);
    assert_eq!(
        messages(&look(&train, &[])),
        [
            "1 row of train.csv holds UTF-8 that was read as another encoding, such as `Ã©` for `é` (line 2)",
            "1 row of train.csv holds the replacement character U+FFFD, which stands for a lost one (line 3)",
            "1 row of train.csv holds control characters (line 4)",
            "2 rows of train.csv hold entities of HTML, such as `&amp;` (lines 6, 7)",
        ]
    );
}

#[test]
fn texts_that_hold_other_rows() {
    let train = rows(&[
        ("I will come back.,good\nno train,bad\nNever.", "good"),
        ("a poem, of lines,\nwith commas, all good\nat its end", "bad"),
        ("one\tgood\ntwo\tbad\nthree", "bad"),
        ("one good\ttwo", "bad"),
    ]);
    let found = look(&train, &[]);
    assert_eq!(
        messages(&found),
        ["2 rows of train.csv hold line breaks between cells, as if they had swallowed other rows (lines 2, 4)"]
    );
    assert_eq!((found[0].severity(), found[0].name()), (Severity::Warning, "swallowed"));
    let json = lint(&split("train.jsonl", &train), None, Some(&labels(&["good", "bad"])));
    assert!(json.iter().all(|it| it.kind != FindingKind::Swallowed), "there are no cells in JSON");
}

#[test]
fn rows_longer_than_the_model_is_given() {
    let examples: Vec<Example> = (2..22).map(|n| row(n, if n < 4 { "a b c a b c" } else { "a" }, "good")).collect();
    let dataset =
        crate::Dataset::encode(Path::new(TRAIN), &examples, Some(&labels(&["good", "bad"])), &small(), 5, &|_| ())
            .unwrap();
    let truncation = Truncation::of(&dataset, 5);
    assert_eq!((truncation.rows, truncation.tokens, truncation.lost), (20, 70, 6));
    let found = |examples: &[Example], truncation: &Truncation| {
        let train = Rows { truncation: Some(truncation.clone()), ..split(TRAIN, examples) };
        lint(&train, None, None).into_iter().find(|it| matches!(it.kind, FindingKind::Truncated { .. })).unwrap()
    };
    let few = found(&examples, &truncation);
    assert_eq!(
        few.message(),
        "2 of 20 rows of train.csv are longer than 5 tokens: 6 of 70 tokens are cut off (lines 2, 3)"
    );
    assert_eq!(few.severity(), Severity::Note);
    let two = [row(2, "a b c a b c", "good"), row(3, "a b c", "good")];
    let dataset = crate::Dataset::encode(Path::new(TRAIN), &two, None, &small(), 5, &|_| ()).unwrap();
    let many = found(&examples, &Truncation::of(&dataset, 5));
    assert_eq!(many.message(), "1 of 2 rows of train.csv is longer than 5 tokens: 3 of 13 tokens are cut off (line 2)");
    assert_eq!(many.severity(), Severity::Warning);
}

#[test]
fn classes_that_are_rare_or_never_shown() {
    let of = |class: &str, count: usize| {
        (0..count).map(|n| row(n + 2, &format!("{class}{}", "x".repeat(n)), class)).collect::<Vec<_>>()
    };
    let train = [of("a", 40), of("b", 8), of("c", 1)].concat();
    let valid = [of("d", 1), of("a", 1)].concat();
    let valid: Vec<Example> = valid.into_iter().map(|it| Example { text: format!("v {}", it.text), ..it }).collect();
    let names = labels(&["a", "b", "c", "d", "e"]);
    let found = lint(&split(TRAIN, &train), Some(&split(VALID, &valid)), Some(&names));
    let classes: Vec<&Finding> = found.iter().filter(|it| it.places.is_empty()).collect();
    assert_eq!(
        classes.iter().map(|it| it.message()).collect::<Vec<_>>(),
        [
            "1 class of valid.csv has no row in train.csv: `d`",
            "2 classes of train.csv have fewer than 5 rows: `c` (1), `e` (0)",
            "the classes of train.csv differ in size: 40 rows of `a`, 1 of `c`",
        ]
    );
    let even = lint(&split(TRAIN, &[of("a", 39), of("b", 8)].concat()), None, Some(&labels(&["a", "b"])));
    assert!(even.iter().all(|it| !it.places.is_empty()), "39 is not five times 8: {even:?}");
}

#[test]
fn labels_in_several_spellings() {
    let train = rows(&[("p", "Good"), ("q", "good"), ("r", "good"), ("s", "good "), ("t", "bad"), ("u", "GOOD")]);
    let found = look(&train, &[]);
    assert_eq!(
        messages(&found),
        [
            "3 rows of train.csv have a label that differs from another in letter case or outer spaces alone: `GOOD` for `good`, `Good` for `good`, `good ` for `good` (lines 2, 5, 7)"
        ]
    );
}

#[test]
fn texts_that_are_their_label() {
    let train = rows(&[("Good", "good"), ("good", "bad"), ("bad ", "1")]);
    let found: Vec<Finding> = look(&train, &[]).into_iter().filter(|it| it.kind == FindingKind::TextIsLabel).collect();
    assert_eq!(messages(&found), ["2 rows of train.csv have the name of the class as text (lines 2, 4)"]);
}

#[test]
fn clean_data_has_no_findings() {
    let long = ["one", "two", "three", "four", "five", "six"];
    let train: Vec<Example> = long.iter().enumerate().map(|(n, text)| row(n, text, "good")).collect();
    let bad: Vec<Example> = long.iter().enumerate().map(|(n, text)| row(n, &format!("not {text}"), "bad")).collect();
    let valid = rows(&[("seven", "good"), ("not seven", "bad")]);
    let train = [train, bad].concat();
    assert_eq!(lint(&split(TRAIN, &train), Some(&split(VALID, &valid)), Some(&labels(&["good", "bad"]))), []);
    assert_eq!(lint(&split(TRAIN, &[]), Some(&split(VALID, &[])), None), []);
}

/// What is said of each kind, without where.
fn counts(train: &[Example], valid: &[Example]) -> Vec<(&'static str, usize)> {
    let found = lint(&split(TRAIN, train), Some(&split(VALID, valid)), Some(&labels(&["good", "bad"])));
    let mut counts: Vec<_> = found.iter().map(|it| (it.name(), it.count)).collect();
    counts.sort_unstable();
    counts
}

fn texts() -> impl Strategy<Value = Vec<(String, String)>> {
    let text = prop::collection::vec("[abAB]|[12]|[.!]|Ã©|&amp;|[a-f] [a-f] [a-f] [a-f]", 1..7)
        .prop_map(|words| words.join(" "));
    prop::collection::vec((text, "good|bad|Good".prop_map(|label| label)), 1..24)
}

fn made(texts: &[(String, String)]) -> Vec<Example> {
    texts.iter().enumerate().map(|(n, (text, label))| row(n + 2, text, label)).collect()
}

proptest! {
    #[test]
    fn the_order_of_the_rows_changes_no_count(train in texts(), valid in texts(), seed in 0..1_000_usize) {
        let mixed = |texts: &[(String, String)]| {
            let mut mixed = texts.to_vec();
            mixed.rotate_left(seed % texts.len());
            let half = mixed.len() / 2;
            mixed[half..].reverse();
            made(&mixed)
        };
        prop_assert_eq!(counts(&mixed(&train), &mixed(&valid)), counts(&made(&train), &made(&valid)));
    }

    #[test]
    fn a_copy_of_a_row_is_one_more_repetition_and_nothing_near(train in texts(), at in 0..1_000_usize) {
        let before = made(&train);
        let mut after = before.clone();
        after.push(before[at % before.len()].clone());
        let of = |examples: &[Example], name: &str| {
            counts(examples, &[]).iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
        };
        prop_assert_eq!(of(&after, "repeated"), of(&before, "repeated") + 1);
        prop_assert_eq!(of(&after, "nearly_repeated"), of(&before, "nearly_repeated"));
    }

    #[test]
    fn a_copy_for_validation_is_one_more_leak(train in texts(), valid in texts(), at in 0..1_000_usize) {
        let (train, before) = (made(&train), made(&valid));
        let mut after = before.clone();
        after.push(train[at % train.len()].clone());
        let of = |valid: &[Example]| {
            counts(&train, valid).iter().find(|(known, _)| *known == "leaked").map_or(0, |(_, count)| *count)
        };
        prop_assert_eq!(of(&after), of(&before) + 1);
    }
}

#[test]
fn a_tokenizer_that_cannot_read_the_texts() {
    let greek = rows(&[("Καλημέρα κόσμε", "good"), ("Καλημέρα", "bad")]);
    let look = |tokenizer: &Tokenizer, examples: &[Example]| {
        let reading = Reading::of(tokenizer, examples);
        lint(&Rows { reading: Some(reading), ..split(TRAIN, examples) }, None, None)
    };
    let found = look(&small(), &greek);
    assert_eq!(
        messages(&found),
        ["100 % of the tokens of train.csv are unknown to the tokenizer: `Καλημέρα`, `κόσμε`"]
    );
    assert_eq!((found[0].severity(), found[0].name(), found[0].count), (Severity::Warning, "unknown_tokens", 3));
    // A letter is two bytes: 16 tokens, 10 tokens, 16 tokens.
    let found = look(&bytes(), &greek);
    assert_eq!(
        messages(&found),
        [
            "the words of train.csv have 14.0 tokens each, where the tokenizer of a model that reads them makes one or two: \
          `Καλημέρα` (16), `κόσμε` (10)"
        ]
    );
    assert_eq!((found[0].severity(), found[0].name(), found[0].count), (Severity::Warning, "many_tokens", 42));
    assert_eq!(look(&small(), &rows(&[("a b c a b c", "good"), ("b a", "bad")])), []);
    assert_eq!(look(&bytes(), &rows(&[("to be or not", "good"), ("1234567 (89)", "bad")])), []);
}
