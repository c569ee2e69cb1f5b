//! Texts that join and leave, on models with random weights: what each becomes beside others, what is shared, and whose rows
//! of the cache are whose.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::tensor::Device;
use kernels::mix;
use lora::{Method, Plan};
use proptest::prelude::*;

use super::*;
use crate::head::Head;
use crate::model::Model;
use crate::pretrained::{Frozen, Pretrained, Values};

/// Whether all log-probabilities of a text are, bit for bit, those that it has by itself. Kernels that let a row's last bits
/// depend on how many others there are do not give that.
const BITS: bool = true;

/// With window and without, with positions that are added, that turn, and that turn otherwise in sequences of over 64 tokens.
const MODELS: [&str; 4] = ["llama-lm", "mistral-lm", "gpt2-lm", "phi4-lm"];

/// Tokens that all of them have.
const VOCABULARY: u64 = 300;

fn model(name: &str) -> Model {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity");
    let pretrained = Pretrained::open(&fixtures.join(name).join("model"), Head::CausalLm).unwrap();
    let plan = Plan::new(Method::frozen(), None, 0).unwrap();
    pretrained.load(plan, 0, Frozen::AsStored, Values::Read, &Device::flex()).unwrap().0
}

/// The first tokens of the text with this number.
fn ids(number: u64, count: usize) -> Vec<u32> {
    (0..count as u64).map(|token| (mix(mix(number) ^ token) % VOCABULARY) as u32).collect()
}

fn request(ids: Vec<u32>, max_new_tokens: usize) -> Request {
    Request {
        prompt: Prompt { ids, row: 0, max_new_tokens },
        sampling: Sampling::default(),
        stop_tokens: Arc::default(),
        log_probabilities: Some(usize::MAX),
        adapters: None,
    }
}

/// A token with the bits of all log-probabilities, by the ids of their tokens.
type Written = Vec<(u32, Vec<u64>)>;

fn written(chosen: &Chosen) -> (u32, Vec<u64>) {
    let mut top = chosen.log_probabilities.as_ref().unwrap().top.clone();
    top.sort_unstable_by_key(|(id, _)| *id);
    (chosen.token, top.into_iter().map(|(_, value)| value.to_bits()).collect())
}

fn alone(model: CausalLm<'_>, request: &Request) -> Written {
    let mut generation = Generation::new(model, request.rows());
    assert!(generation.admit(model, 0, 0, request));
    let mut found = Vec::new();
    while generation.texts() > 0 {
        found.extend(generation.step(model, usize::MAX).chosen.iter().map(written));
    }
    found
}

/// The first tokens of what the request gives by itself, or all of them.
fn assert_same(found: &Written, alone: &Written, what: &str) {
    let tokens = |written: &[(u32, Vec<u64>)]| written.iter().map(|(token, _)| *token).collect::<Vec<_>>();
    assert_eq!(tokens(found), tokens(&alone[..found.len()]), "{what}");
    if BITS {
        assert!(*found == alone[..found.len()], "{what}: log-probabilities differ in their bits");
    }
}

/// No row has two owners, and none is lost.
fn assert_rows(generation: &Generation) {
    let owned = generation.texts.iter().map(|text| text.rows.clone());
    let mut owners = BTreeSet::new();
    let mut count = 0;
    for rows in owned.chain(generation.prefixes.iter().map(|prefix| prefix.row..prefix.row + prefix.ids.len())) {
        count += rows.len();
        owners.extend(rows);
    }
    assert_eq!(owners.len(), count, "a row with two owners");
    assert_eq!(count + generation.cache.free(), generation.rows(), "a row without owner");
    assert_eq!(generation.rows_of_texts() + generation.rows_of_prefixes(), count);
}

#[test]
fn prompts_that_begin_alike_are_read_once_under_the_same_adapter() {
    let model = model("llama-lm");
    let model = model.causal_lm().unwrap();
    let first = request(ids(1, 80), 4);
    let second = request([ids(1, 70), ids(2, 9)].concat(), 4);
    let adapters = Arc::new(AdapterSet::default());
    let other = Request { adapters: Some(adapters.clone()), ..second.clone() };
    let mut generation = Generation::new(model, 1000);
    for (id, request) in [&first, &second, &other].into_iter().enumerate() {
        assert!(generation.admit(model, id as u64, 0, request));
    }
    let steps = [generation.step(model, usize::MAX), generation.step(model, usize::MAX)];
    assert_eq!(steps.each_ref().map(|step| step.prefilled), [80 + 79, 9], "the second waits for the first");
    assert_eq!(steps.each_ref().map(|step| step.shared.clone()), [vec![], vec![(1, 70)]]);
    assert_eq!(steps.each_ref().map(|step| step.chosen.len()), [2, 3]);
    while generation.texts() > 0 {
        generation.step(model, usize::MAX);
    }
    // Of texts that have ended; one token is read even of a prompt that is there as a whole.
    assert!(generation.admit(model, 3, 0, &first));
    let again = generation.step(model, usize::MAX);
    assert_eq!((again.prefilled, again.shared, again.chosen.len()), (1, vec![(3, 79)], 1));
    assert_same(&again.chosen.iter().map(written).collect(), &alone(model, &first), "shared");
    generation.forget(&adapters);
    assert!(generation.admit(model, 4, 0, &other));
    assert_eq!(generation.step(model, usize::MAX).shared, [], "what the adapter was before");
    assert_rows(&generation);
}

#[test]
fn what_decode_passes_made_is_not_shared() {
    let model = model("llama-lm");
    let model = model.causal_lm().unwrap();
    let question = request(ids(1, 40), 20);
    let mut generation = Generation::new(model, 1000);
    assert!(generation.admit(model, 0, 0, &question));
    let mut turn = question.prompt.ids.clone();
    while generation.texts() > 0 {
        turn.extend(generation.step(model, usize::MAX).chosen.iter().map(|chosen| chosen.token));
    }
    assert!(generation.admit(model, 1, 0, &request([turn, ids(2, 5)].concat(), 1)));
    let step = generation.step(model, usize::MAX);
    assert_eq!((step.shared, step.prefilled), (vec![(1, 40)], 25));
}

#[test]
fn prompts_of_ended_texts_give_way_those_used_longest_ago_first() {
    let model = model("gpt2-lm");
    let model = model.causal_lm().unwrap();
    let mut generation = Generation::new(model, 100);
    let mut run = |id: u64, request: &Request| {
        assert!(generation.admit(model, id, 0, request));
        let mut shared = 0;
        while generation.texts() > 0 {
            shared += generation.step(model, usize::MAX).shared.iter().map(|(_, tokens)| tokens).sum::<usize>();
        }
        assert_rows(&generation);
        (shared, generation.rows_of_prefixes())
    };
    let [a, b, c] = [1, 2, 3].map(|number| request(ids(number, 28), 2));
    assert_eq!([run(0, &a), run(1, &b)], [(0, 28), (0, 56)]);
    assert_eq!(run(2, &a), (27, 56), "and is kept once");
    assert_eq!(run(3, &c), (0, 84));
    assert_eq!(run(4, &request(ids(4, 26), 2)), (0, 82), "the second had to go");
    assert_eq!(run(5, &request([ids(1, 20), ids(5, 10)].concat(), 2)), (20, 84), "not the one that it begins with");
    assert_eq!(run(6, &request(ids(1, 16), 1)), (0, 58), "15 tokens are too few to be shared");
    assert!(generation.admit(model, 7, 0, &request(ids(5, 90), 10)), "all of them");
    assert!(!generation.admit(model, 8, 0, &request(ids(6, 1), 1)));
    assert_eq!((generation.rows_of_texts(), generation.rows_of_prefixes()), (100, 0));
    generation.end(7);
    assert!(generation.admit(model, 8, 0, &request(ids(6, 1), 1)));
}

#[test]
fn a_long_prompt_is_read_in_parts_while_others_write() {
    let model = model("mistral-lm");
    let model = model.causal_lm().unwrap();
    let [short, long, last] = [(1, 5), (2, 38), (3, 4)].map(|(number, count)| request(ids(number, count), 20));
    let mut generation = Generation::new(model, 1000);
    assert!(generation.admit(model, 0, 0, &short));
    generation.step(model, 10);
    assert!(generation.admit(model, 1, 0, &long) && generation.admit(model, 2, 0, &last));
    let chosen = |step: Step| step.chosen.iter().map(|chosen| chosen.text).collect::<Vec<_>>();
    let mut of_long = Vec::new();
    for (prefilled, texts) in [(10, &[0][..]), (10, &[0]), (10, &[0]), (10, &[0, 1]), (2, &[0, 1, 2]), (0, &[0, 1, 2])]
    {
        let step = generation.step(model, 10);
        assert_eq!(step.prefilled, prefilled);
        of_long.extend(step.chosen.iter().filter(|chosen| chosen.text == 1).map(written));
        assert_eq!(chosen(step), texts);
    }
    assert_same(&of_long, &alone(model, &long), "in parts");
    generation.end(0);
    assert_eq!(chosen(generation.step(model, 10)), [1, 2]);
}

#[test]
fn a_prompt_whose_keys_depend_on_its_length_is_read_whole_and_again_where_it_grows_beyond_a_bound() {
    let model = model("phi4-lm");
    let model = model.causal_lm().unwrap();
    let (long, growing) = (request(ids(1, 70), 3), request(ids(1, 60), 10));
    let mut generation = Generation::new(model, 1000);
    assert!(generation.admit(model, 0, 0, &long) && generation.admit(model, 1, 0, &growing));
    let (mut prefilled, mut shared, mut found) = (Vec::new(), Vec::new(), Vec::new());
    while generation.texts() > 0 {
        let step = generation.step(model, 30);
        prefilled.push(step.prefilled);
        shared.push(step.shared.iter().map(|(_, tokens)| tokens).sum::<usize>());
        found.extend(step.chosen.iter().filter(|chosen| chosen.text == 1).map(written));
    }
    // Both begin with the same 60 tokens, which turn alike once its fifth token is the 65th of the text.
    assert_eq!(shared, [0, 0, 0, 0, 0, 0, 0, 60, 0, 0, 0, 0]);
    assert_eq!(prefilled, [70, 30, 30, 0, 0, 0, 0, 5, 0, 0, 0, 0]);
    assert_same(&found, &alone(model, &growing), "in parts");
}

#[test]
fn logits_that_are_not_finite_end_their_text_alone() {
    let model = model("llama-lm");
    let model = model.causal_lm().unwrap();
    let mut generation = Generation::new(model, 200);
    assert!(
        generation.admit(model, 0, 0, &request(ids(1, 30), 3))
            && generation.admit(model, 1, 0, &request(ids(2, 30), 3))
    );
    let steps = [generation.step(model, 30), generation.step(model, 30)];
    assert_eq!(steps[0].chosen.len() + steps[1].chosen.len(), 3);
    // Keys that are no numbers, as weights that overflow make them.
    generation.texts[0].ids[30] = 0;
    generation.cache.poison(generation.texts[0].rows.clone());
    let step = generation.step(model, 30);
    assert_eq!(step.failed, [(0, SamplingError::NotFinite { row: 0, token: 2 })]);
    assert_eq!(step.chosen.iter().map(|chosen| chosen.text).collect::<Vec<_>>(), [1]);
    assert_rows(&generation);
    assert_eq!(generation.rows_of_prefixes(), 0, "nothing is kept of it");
}

/// A request of a mixture.
#[derive(Debug, Clone)]
struct Asked {
    /// What its prompt begins with, as others do, and how many tokens of it.
    begins: (u64, usize),
    own: usize,
    max_new_tokens: usize,
    /// Steps after the one before it at which it comes.
    after: usize,
    /// Tokens after which nobody wants it any more.
    wanted: Option<usize>,
    adapter: Option<usize>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let begins = (0..2_u64, prop_oneof![Just(0), 10..90_usize]);
    let wanted = prop_oneof![3 => Just(None), 1 => (0..4_usize).prop_map(Some)];
    let rest = (1..20_usize, 1..8_usize, 0..4_usize, wanted, prop::option::of(0..2_usize));
    (begins, rest).prop_map(|(begins, (own, max_new_tokens, after, wanted, adapter))| Asked {
        begins,
        own,
        max_new_tokens,
        after,
        wanted,
        adapter,
    })
}

/// Runs a mixture, with requests in the order in which they come, and compares each text with what it is by itself.
fn check_mixture(model: CausalLm<'_>, asked: &[Asked], budgets: &[usize], spare_rows: usize) {
    let adapters = [(); 2].map(|()| Arc::new(AdapterSet::default()));
    let requests: Vec<Request> = asked
        .iter()
        .enumerate()
        .map(|(index, asked)| Request {
            adapters: asked.adapter.map(|number| adapters[number].clone()),
            ..request(
                [ids(asked.begins.0, asked.begins.1), ids(100 + index as u64, asked.own)].concat(),
                asked.max_new_tokens,
            )
        })
        .collect();
    let rows = requests.iter().map(Request::rows).max().unwrap() + spare_rows;
    let mut generation = Generation::new(model, rows);
    let mut found: BTreeMap<u64, Written> = BTreeMap::new();
    let (mut next, mut came) = (0, 0);
    // Every prompt a token at a time, every token, and every wait.
    let most = requests.iter().zip(asked).map(|(request, asked)| 2 * request.rows() + asked.after + 1).sum::<usize>();
    for number in 0.. {
        assert!(number <= most, "a text starves");
        while next < requests.len()
            && number >= came + asked[next].after
            && generation.admit(model, next as u64, 0, &requests[next])
        {
            found.insert(next as u64, Written::new());
            (next, came) = (next + 1, number);
        }
        if next == requests.len() && generation.texts() == 0 {
            break;
        }
        let step = generation.step(model, budgets[number % budgets.len()]);
        assert_eq!(step.failed, []);
        for chosen in &step.chosen {
            found.get_mut(&chosen.text).unwrap().push(written(chosen));
        }
        for (id, written) in &found {
            if asked[*id as usize].wanted.is_some_and(|wanted| written.len() >= wanted) {
                generation.end(*id);
            }
        }
        assert_rows(&generation);
    }
    assert_eq!(generation.rows_of_texts(), 0);
    for (id, found) in &found {
        let (asked, request) = (&asked[*id as usize], &requests[*id as usize]);
        if asked.wanted.is_none() {
            assert_eq!(found.len(), asked.max_new_tokens);
        }
        assert_same(found, &alone(model, request), &format!("text {id}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_text_of_a_mixture_is_what_it_is_by_itself(
        name in prop::sample::select(&MODELS[..]), asked in prop::collection::vec(asked(), 1..9),
        budgets in prop::collection::vec(prop_oneof![1..40_usize, Just(usize::MAX)], 1..4), spare_rows in 0..200_usize,
    ) {
        let model = model(name);
        check_mixture(model.causal_lm().unwrap(), &asked, &budgets, spare_rows);
    }
}
