//! Tests of the whole room.

use std::path::Path;

use super::*;
use crate::columns::Example;
use crate::lint::Digest;

fn examples(texts: &[String]) -> Vec<Example> {
    let example =
        |(n, text): (usize, &String)| Example { line: n + 1, text: text.clone(), text_pair: None, label: None };
    texts.iter().enumerate().map(example).collect()
}

/// Sentences of a small vocabulary, some of them with a word changed: nearly alike ones are among them.
fn sentences(count: usize, mut state: u64) -> Vec<String> {
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % below
    };
    let mut made: Vec<Vec<String>> = Vec::new();
    for _ in 0..count {
        let mut words = match made.len() {
            n if n > 0 && random(3) == 0 => made[random(n)].clone(),
            _ => (0..3 + random(30)).map(|_| format!("w{}", char::from(b'a' + random(12) as u8))).collect(),
        };
        for _ in 0..random(2) {
            let at = random(words.len());
            words[at] = format!("w{}", char::from(b'a' + random(12) as u8));
        }
        made.push(words);
    }
    made.into_iter().map(|words| words.join(" ")).collect()
}

fn digest(examples: &[Example]) -> Digest {
    let mut digest = Digest::default();
    for examples in examples.chunks(100) {
        digest.add(Path::new("a.csv"), examples, false).unwrap();
    }
    digest
}

fn found(train: &[Example], valid: &[Example]) -> Pairs {
    let (train, valid) = (digest(train), digest(valid));
    let split = |digest| Split { digest, part: None, truncation: None, reading: None, classes: &[] };
    Pairs::of(&Texts::of(split(&train), Some(split(&valid))))
}

/// Every pair compared: the numbers of findings as they are defined.
fn by_comparing_all(train: &[Example], valid: &[Example]) -> (usize, usize) {
    let texts: std::collections::HashSet<&str> = train.iter().map(|it| it.text.as_str()).collect();
    let firsts: Vec<Example> = texts.iter().map(|text| examples(&[(*text).to_owned()]).remove(0)).collect();
    let digest = digest(&firsts);
    let distinct: Vec<View<'_>> = digest.rows().map(|row| digest.documents.get(row)).collect();
    let mut groups: Vec<usize> = (0..distinct.len()).collect();
    for one in 0..distinct.len() {
        for other in 0..one {
            if distinct[one].is_like(&distinct[other]) {
                let (from, to) = (groups[one], groups[other]);
                groups.iter_mut().filter(|group| **group == from).for_each(|group| *group = to);
            }
        }
    }
    let within = distinct.len() - groups.iter().collect::<std::collections::HashSet<_>>().len();
    let is_near = |example: &&Example| {
        let one = self::digest(std::slice::from_ref(*example));
        !texts.contains(example.text.as_str()) && distinct.iter().any(|it| it.is_like(&one.documents.get(0)))
    };
    (within, valid.iter().filter(is_near).count())
}

#[test]
fn candidates_find_what_comparing_all_finds() {
    for seed in 0..8 {
        let all = examples(&sentences(700, seed));
        let (train, valid) = all.split_at(500);
        let found = found(train, valid);
        let (within, across) = by_comparing_all(train, valid);
        assert!(within > 8 && across > 2, "{within} and {across}: or this test says nothing");
        assert_eq!((found.within.len(), found.across.len()), (within, across), "seed {seed}");
    }
}

#[test]
fn thousands_of_one_pattern_are_one_chain() {
    let mut texts_of_one: Vec<String> = (0..3_000)
        .map(|n: usize| {
            let name: String = n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
            format!("dear {name} your order has left our house and will be at your door within the next three days")
        })
        .collect();
    texts_of_one.push("something else that is not like the others at all".to_owned());
    let train = examples(&texts_of_one);
    let found = found(&train, &[]);
    assert_eq!(found.within.len(), 2_999);
    assert!(found.within.iter().all(|(row, twin)| row > twin));
}
