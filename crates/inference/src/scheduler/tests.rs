//! Requests that come, are given up and end, with texts of a small model.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use burn::tensor::Device;
use data::Encoded;
use model::{Prompt, Sampling};
use proptest::prelude::*;

use super::*;
use crate::{GenerationSettings, ModelFiles, Pipeline, TextGeneration, Written};

fn pipeline() -> &'static Pipeline {
    static PIPELINE: OnceLock<Pipeline> = OnceLock::new();
    PIPELINE.get_or_init(|| {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity/llama-lm/model");
        Pipeline::open(&ModelFiles::of(model).unwrap(), &Device::flex()).unwrap()
    })
}

fn texts(settings: GenerationSettings) -> TextGeneration<'static> {
    pipeline().text_generation(settings).unwrap()
}

fn settings(max_new_tokens: usize) -> GenerationSettings {
    GenerationSettings { max_new_tokens: Some(max_new_tokens), ..GenerationSettings::default() }
}

fn prompt(texts: &TextGeneration<'_>, ids: Vec<u32>, row: u64) -> Prompt {
    texts.prompts(&Encoded::from(ids), row..row + 1, "the prompt").unwrap().remove(0)
}

/// As many tokens as `count`, the same ones of the same `number`.
fn ids(number: u32, count: u32) -> Vec<u32> {
    (0..count).map(|token| 3 + (number * 97 + token * (7 + number)) % 300).collect()
}

fn scheduler(texts: &TextGeneration<'_>, max_batch_tokens: usize, cache_rows: usize) -> Scheduler {
    let cache_memory = cache_rows * texts.model().cache_bytes_per_token();
    Scheduler::new(texts.model(), Limits { max_batch_tokens, cache_memory })
}

/// What became of each text.
#[derive(Debug, Default)]
struct Heard {
    text: String,
    token_ids: Vec<u32>,
    end: Option<(FinishReason, Usage)>,
}

fn hear(heard: &mut BTreeMap<u64, Heard>, events: Vec<(u64, Event)>) {
    for (id, event) in events {
        let heard = heard.entry(id).or_default();
        assert_eq!(heard.end, None, "an event after the last");
        match event {
            Event::Token { text, token, .. } => {
                heard.text.push_str(&text);
                heard.token_ids.push(token);
            }
            Event::Finished { reason, usage } => heard.end = Some((reason, usage)),
            Event::Failed(error) => panic!("{error}"),
        }
    }
}

#[test]
fn none_overtakes_one_that_waits_for_room() {
    let texts = texts(settings(10));
    let mut scheduler = scheduler(&texts, 100, 60);
    let [first, large, small] =
        [(1, 20), (2, 40), (3, 5)].map(|(number, count)| texts.request(prompt(&texts, ids(number, count), 0)));
    let order = [first, large, small].map(|request| scheduler.submit(0, request).unwrap());
    scheduler.tick(texts.model());
    let now = scheduler.statistics();
    assert_eq!((now.waiting, now.reading, now.writing, now.cache_rows_of_texts), (2, 0, 1, 30));
    let mut ends = Vec::new();
    while !scheduler.is_idle() {
        let events = scheduler.tick(texts.model());
        ends.extend(events.into_iter().filter(|(_, event)| matches!(event, Event::Finished { .. })).map(|(id, _)| id));
    }
    assert_eq!(ends, order);
    let now = scheduler.statistics();
    assert_eq!((now.cache_rows, now.cache_rows_of_texts), (60, 0));
    assert_eq!((now.prefilled, now.written), (65, 30));
    let whole = texts.request(prompt(&texts, ids(4, 51), 0));
    let error = scheduler.submit(0, whole).unwrap_err();
    let expected = "a text of 61 tokens, with its prompt, does not fit into the cache, which has room for 60";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn groups_take_turns_when_they_join_and_when_their_prompts_are_read() {
    let texts = texts(settings(2));
    // Room for all of them, or for a few at a time.
    for rows in [10_000, 100] {
        let mut scheduler = scheduler(&texts, 20, rows);
        let of_group = |scheduler: &mut Scheduler, group: u64, numbers: std::ops::Range<u32>| -> Vec<u64> {
            let mut submit =
                |number| scheduler.submit(group, texts.request(prompt(&texts, ids(number, 20), 0))).unwrap();
            numbers.map(&mut submit).collect()
        };
        let many = of_group(&mut scheduler, 7, 0..30);
        let mut ends = Vec::new();
        let tick = |scheduler: &mut Scheduler, ends: &mut Vec<u64>| {
            let events = scheduler.tick(texts.model());
            ends.extend(events.iter().filter(|(_, event)| matches!(event, Event::Finished { .. })).map(|(id, _)| *id));
        };
        tick(&mut scheduler, &mut ends);
        let [first, second] = [8, 9].map(|group| of_group(&mut scheduler, group, 40..42));
        while !scheduler.is_idle() {
            tick(&mut scheduler, &mut ends);
        }
        let place = |id: &u64| ends.iter().position(|end| end == id).unwrap();
        let latest = [&first[0], &second[0]].map(place);
        assert!(latest.iter().all(|place| *place < 10), "{rows} rows: {ends:?}");
        assert!(place(&first[1]) < 15 && place(&second[1]) < 15, "{rows} rows: {ends:?}");
        assert!(many.is_sorted_by_key(place), "{rows} rows: {ends:?}");
    }
}

#[test]
fn a_request_that_is_given_up_makes_room_at_once_and_is_not_heard_of_again() {
    let texts = texts(settings(30));
    let mut scheduler = scheduler(&texts, 100, 60);
    let requests = [1, 2, 3].map(|number| texts.request(prompt(&texts, ids(number, 10), 0)));
    let [writing, waiting, last] = requests.map(|request| scheduler.submit(0, request).unwrap());
    assert_eq!(scheduler.tick(texts.model()).len(), 1);
    scheduler.cancel(writing);
    scheduler.cancel(waiting);
    scheduler.cancel(waiting);
    let events = scheduler.tick(texts.model());
    assert!(matches!(events[..], [(id, Event::Token { .. })] if id == last), "{events:?}");
    assert_eq!(scheduler.statistics().cache_rows_of_texts, 40);
}

#[test]
fn answers_to_the_same_prompt_share_it_and_say_so() {
    let mut settings = settings(3);
    settings.sampling = Sampling { temperature: 1.0, ..Sampling::default() };
    let texts = texts(settings);
    let mut scheduler = scheduler(&texts, 1000, 500);
    for row in 0..3 {
        let mut request = texts.request(prompt(&texts, ids(1, 80), row));
        request.request.log_probabilities = Some(2);
        scheduler.submit(0, request).unwrap();
    }
    let (mut heard, mut likelihoods) = (BTreeMap::new(), Vec::new());
    while !scheduler.is_idle() {
        let events = scheduler.tick(texts.model());
        let of = |(_, event): &(u64, Event)| match event {
            Event::Token { log_probabilities, .. } => log_probabilities.clone(),
            Event::Finished { .. } | Event::Failed(_) => None,
        };
        likelihoods.extend(events.iter().filter_map(of));
        hear(&mut heard, events);
    }
    let usage = |shared_tokens| Some((FinishReason::Length, Usage { prompt_tokens: 80, shared_tokens, new_tokens: 3 }));
    assert_eq!(heard.values().map(|heard| heard.end).collect::<Vec<_>>(), [usage(0), usage(79), usage(79)]);
    let now = scheduler.statistics();
    assert_eq!((now.prefilled, now.shared, now.written, now.cache_rows_of_prefixes), (82, 158, 9, 80));
    assert_eq!(likelihoods.len(), 9);
    assert!(likelihoods.iter().all(|it| it.top.len() == 2 && it.chosen <= it.top[0].1 && it.top[1].1 <= it.top[0].1));
}

/// A request of a mixture.
#[derive(Debug, Clone)]
struct Asked {
    begins: (u32, u32),
    own: u32,
    max_new_tokens: usize,
    temperature: f64,
    stops: bool,
    /// Ticks after the one before it at which it comes.
    after: usize,
    /// Ticks after which it is given up.
    patience: Option<usize>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let begins = (0..2_u32, prop_oneof![Just(0), 10..80_u32]);
    let how = (1..10_usize, prop_oneof![Just(0.0), Just(0.9)], any::<bool>());
    let patience = prop_oneof![3 => Just(None), 1 => (0..9_usize).prop_map(Some)];
    (begins, 1..20_u32, how, 0..4_usize, patience).prop_map(
        |(begins, own, (max_new_tokens, temperature, stops), after, patience)| Asked {
            begins,
            own,
            max_new_tokens,
            temperature,
            stops,
            after,
            patience,
        },
    )
}

fn check_mixture(asked: &[Asked], max_batch_tokens: usize, spare_rows: usize) {
    let wanted = asked.iter().enumerate().map(|(index, asked)| {
        let mut settings = settings(asked.max_new_tokens);
        settings.sampling.temperature = asked.temperature;
        settings.stop_strings = if asked.stops { vec!["e".to_string(), "\u{fffd}".to_string()] } else { Vec::new() };
        let texts = texts(settings);
        let own = ids(10 + index as u32, asked.own);
        let prompt = prompt(&texts, [ids(asked.begins.0, asked.begins.1), own].concat(), index as u64);
        let alone = texts.write(std::slice::from_ref(&prompt), &mut |_, _| {}).unwrap().remove(0);
        (texts.request(prompt), alone)
    });
    let wanted: Vec<(TextRequest, Written)> = wanted.collect();
    let rows = wanted.iter().map(|(request, _)| request.request.rows()).max().unwrap() + spare_rows;
    let texts = texts(GenerationSettings::default());
    let mut scheduler = scheduler(&texts, max_batch_tokens, rows);
    let (mut heard, mut came) = (BTreeMap::new(), Vec::new());
    let most = wanted.iter().zip(asked).map(|((request, _), asked)| 2 * request.request.rows() + asked.after).sum();
    for tick in 0.. {
        assert!(tick <= most, "a text starves");
        while let Some(next) = asked.get(came.len())
            && tick >= came.last().unwrap_or(&0) + next.after
        {
            let id = scheduler.submit(came.len() as u64 % 3, wanted[came.len()].0.clone()).unwrap();
            assert_eq!(id, came.len() as u64);
            came.push(tick);
        }
        for (id, (came, asked)) in came.iter().zip(asked).enumerate() {
            if asked.patience.is_some_and(|patience| tick >= came + patience) {
                scheduler.cancel(id as u64);
            }
        }
        if came.len() == asked.len() && scheduler.is_idle() {
            break;
        }
        hear(&mut heard, scheduler.tick(texts.model()));
        let now = scheduler.statistics();
        assert!(now.reading + now.writing <= max_batch_tokens);
        assert!(now.cache_rows_of_texts + now.cache_rows_of_prefixes <= rows);
    }
    assert_eq!(scheduler.statistics().cache_rows_of_texts, 0);
    for (id, (_, alone)) in wanted.iter().enumerate() {
        let nothing = Heard::default();
        let heard = heard.get(&(id as u64)).unwrap_or(&nothing);
        match heard.end {
            Some((reason, usage)) => {
                let written =
                    Written { text: heard.text.clone(), token_ids: heard.token_ids.clone(), finish_reason: reason };
                assert_eq!(written, *alone);
                assert_eq!(usage.new_tokens, alone.token_ids.len());
            }
            None => {
                assert!(asked[id].patience.is_some(), "a text without an end");
                assert!(alone.token_ids.starts_with(&heard.token_ids) && alone.text.starts_with(&heard.text));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_text_of_a_mixture_is_what_it_is_by_itself(
        asked in prop::collection::vec(asked(), 1..9), max_batch_tokens in 1..60_usize, spare_rows in 0..200_usize,
    ) {
        check_mixture(&asked, max_batch_tokens, spare_rows);
    }
}
