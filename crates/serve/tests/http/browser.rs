//! The page for people in a browser: what is typed, asked and shown. Skipped, with a line on standard error, where there is no
//! Chromium.

use serde_json::{Value, json};
use serve::{ApiKeys, Settings};

use crate::chromium::Browser;
use crate::served::{DECODER, Models, Served, fixture, trained_on, user};

const READY: &str = "!document.getElementById('composer').hidden";
const IDLE: &str = "document.getElementById('stop').hidden";

fn open(served: &Served) -> Option<Browser> {
    let mut browser = Browser::open(&served.url("/"), 1300, 900)?;
    browser.wait_until(READY);
    Some(browser)
}

/// A seed with which the base writes something to a message, and what: the small model often ends its turn at once.
fn answered(served: &Served, messages: &Value) -> (u32, String) {
    let ask = |seed| {
        let body = json!({ "model": DECODER, "messages": messages, "temperature": 1, "seed": seed, "max_tokens": 12 });
        let answer = served.post("/v1/chat/completions", &body).done();
        let is_long = answer["usage"]["completion_tokens"].as_u64().unwrap() > 5;
        is_long.then(|| (seed, answer["choices"][0]["message"]["content"].as_str().unwrap().to_string()))
    };
    (0..50).find_map(ask).unwrap()
}

fn set(browser: &mut Browser, id: &str, value: &str) {
    browser.value(&format!("document.getElementById({id:?}).value = {value:?}"));
}

/// As the page shows a text of a model: control characters by their signs.
fn shown(text: &str) -> String {
    let sign = |character: char| match character {
        '\n' | '\t' => character.to_string(),
        '\0'..'\u{20}' => char::from_u32(0x2400 + character as u32).unwrap().to_string(),
        '\u{7f}' => '\u{2421}'.to_string(),
        '\u{80}'..'\u{a0}' | '\u{ad}' => format!("U+{:04X}", character as u32),
        _ => character.to_string(),
    };
    text.chars().map(sign).collect()
}

#[test]
fn a_message_is_sent_with_enter_and_its_answer_comes_in_pieces() {
    let served = Models::decoder().serve();
    let message = "what is a lamp?";
    let (seed, expected) = answered(&served, &user(message));
    let Some(mut browser) = open(&served) else { return };
    for (id, value) in [("temperature", "1"), ("seed", &seed.to_string()), ("max-tokens", "12")] {
        set(&mut browser, id, value);
    }
    assert_eq!((browser.text("h1").as_str(), browser.focus().as_str()), (DECODER, "text"));
    // Every length of the answer that could be seen.
    browser.value(
        "window.seen = new Set(); new MutationObserver(() => { for (const it of document.querySelectorAll('.written')) \
         seen.add(it.textContent.length); }).observe(document.body, { subtree: true, childList: true, characterData: true }); 0",
    );
    browser.write(message);
    browser.press("Enter");
    browser.wait_until("document.querySelector('.written') !== null");
    browser.wait_until(IDLE);
    assert_eq!(browser.texts(".asked"), [message]);
    assert_eq!(browser.value("document.querySelector('.written').textContent"), shown(&expected));
    assert!(browser.value("seen.size").as_u64().unwrap() > 3, "it was seen only whole");
    let note = browser.text("article .note");
    assert!(note.contains(" tokens · ") && note.contains(" tokens/s · first after "), "{note}");
    // What listens to the page has heard it too, and the next message can be typed.
    let said = browser.value("[...document.querySelectorAll('#said p')].map((it) => it.textContent).join('')");
    let letters = |text: &str| text.chars().filter(|it| !it.is_whitespace()).collect::<String>();
    assert_eq!(letters(said.as_str().unwrap()), letters(&shown(&expected)));
    assert_eq!((browser.focus().as_str(), browser.value("document.activeElement.value")), ("text", json!("")));

    // The second message goes with the first and its answer, and Shift with Enter is a line.
    browser.write("and");
    browser.press_with("Enter", true);
    browser.write("then?");
    browser.press("Enter");
    browser.wait_until("document.querySelectorAll('.written').length === 2");
    browser.wait_until(IDLE);
    let said = |role: &str, content: &str| json!({ "role": role, "content": content });
    let messages = [said("user", message), said("assistant", &expected), said("user", "and\nthen?")];
    let body = json!({ "model": DECODER, "messages": messages, "temperature": 1, "seed": seed, "max_tokens": 12 });
    let expected = served.post("/v1/chat/completions", &body).done();
    let written = browser.value("[...document.querySelectorAll('.written')].at(-1).textContent");
    match expected["choices"][0]["message"]["content"].as_str().unwrap() {
        "" => assert_eq!(written, "nothing"),
        expected => assert_eq!(written, shown(expected)),
    }
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[test]
fn an_answer_is_stopped_by_escape_and_the_model_with_it() {
    let served = Models::decoder().serve();
    let Some(mut browser) = open(&served) else { return };
    // The small model often ends its text at once: one of whatever tokens, which is long.
    let length = |seed: &u64| {
        let body =
            json!({ "model": DECODER, "prompt": "a lamp is", "temperature": 2, "seed": seed, "max_tokens": 240 });
        served.post("/v1/completions", &body).done()["usage"]["completion_tokens"].as_u64().unwrap()
    };
    let seed = (0..20).max_by_key(length).unwrap();
    assert!(length(&seed) > 60, "{}", length(&seed));
    let written = "kindling_generation_tokens_total{model=\"tiny-decoder\"}";
    let before = served.metric(written);
    browser.value("document.querySelector('summary').click()");
    browser.press_with("Tab", true);
    for (id, value) in [("temperature", "2"), ("seed", &seed.to_string()), ("max-tokens", "240")] {
        browser.tab_to(id);
        browser.write(value);
    }
    browser.value("document.querySelector('[value=completion]').click()");
    browser.tab_to("text");
    browser.write("a lamp is");
    browser.press("Enter");
    browser.wait_until("document.querySelector('.written')?.textContent.length > 5");
    assert_eq!(browser.focus(), "text");
    browser.press("Escape");
    browser.wait_until(IDLE);
    assert!(browser.text("article .note").ends_with(" · stopped"), "{}", browser.text("article .note"));
    served.wait_for("kindling_requests_running", 0.0);
    assert!(served.metric(written) < before + length(&seed) as f64);
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[test]
fn two_models_write_side_by_side_to_the_same_text() {
    let served = Models::of("llama-lm").adapter("tuned", fixture("llama-lm/adapter")).serve();
    let Some(mut browser) = open(&served) else { return };
    assert_eq!(browser.value("document.getElementById('model').value"), "tuned", "an adapter is meant, not its base");
    browser.choose("other", "base");
    browser.tab_to("text");
    browser.write("the cat");
    browser.press("Enter");
    browser.wait_until("document.querySelectorAll('.written').length === 2");
    browser.wait_until(IDLE);
    assert_eq!(browser.texts("article h3"), ["tuned", "base"]);
    for (side, model) in ["tuned", "base"].into_iter().enumerate() {
        let body = json!({ "model": model, "prompt": "the cat", "max_tokens": 64, "temperature": 0 });
        let expected = served.post("/v1/completions", &body).done()["choices"][0]["text"].as_str().unwrap().to_string();
        let written = browser.value(&format!("document.querySelectorAll('.written')[{side}].textContent"));
        assert_eq!(written, shown(&expected), "{model}");
    }
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[test]
fn texts_are_classified_by_two_models_and_what_differs_is_marked() {
    let name = "<b>films</b>\u{202e}\u{1}";
    let served = Models::of("bert-cls").adapter(name, fixture("bert-cls/trained")).serve();
    let Some(mut browser) = open(&served) else { return };
    let texts = ["good", "a film that <i>never</i> ends", "bad bad film", "the sea"];
    browser.choose("other", "base");
    browser.tab_to("text");
    for text in texts {
        browser.write(text);
        browser.press_with("Enter", true);
    }
    browser.press("Enter");
    browser.wait_until(IDLE);
    browser.wait_until("document.querySelectorAll('.results li').length === 4");
    assert_eq!(browser.texts("blockquote"), texts);
    assert_eq!(browser.value("document.getElementById('text').value"), "", "the texts stand with their answers");
    let answers =
        |model: &str| served.post("/classify", &json!({ "model": model, "input": texts })).done()["data"].clone();
    let (of_adapter, of_base) = (answers(name), answers("base"));
    let differ = |n: &usize| of_adapter[*n]["label"] != of_base[*n]["label"];
    let count = (0..texts.len()).filter(differ).count();
    let expected = match count {
        0 => "All answers are the same".to_string(),
        count => format!("{count} of 4 answers differ"),
    };
    assert_eq!(browser.text(".lead"), expected);
    assert_eq!(browser.texts(".results em").len(), count);
    // A bar and a number for each model and class, the most probable class first.
    let share =
        |answers: &Value, class: usize| format!("{:.1} %", 100.0 * answers[0]["probs"][class].as_f64().unwrap());
    let most = |class: &usize| {
        [&of_adapter, &of_base].map(|it| it[0]["probs"][*class].as_f64().unwrap()).into_iter().fold(0.0, f64::max)
    };
    let first = (0..3).max_by(|a, b| most(a).total_cmp(&most(b))).unwrap();
    let cells = browser.value("[...document.querySelectorAll('.results li')[0].querySelectorAll('tbody tr')[0].querySelectorAll('.number')].map((it) => it.innerText.split('\\n')[0].replace(' answer', ''))");
    assert_eq!(cells, json!([share(&of_adapter, first), share(&of_base, first)]));
    // A name is a text: no markup, and nothing in it that is not seen.
    let shown = "<b>films</b>U+202E\u{2401}";
    assert_eq!(browser.texts(".legend .name"), [shown, "base"]);
    assert_eq!(browser.value("document.querySelector('#model option:checked').textContent"), shown);
    assert_eq!(browser.value("document.querySelectorAll('.name b, blockquote i').length"), 0);
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[test]
fn pairs_of_texts_are_typed_in_two_fields_and_are_as_many() {
    let directory = trained_on(&json!({ "text": "premise", "text_pair": "hypothesis" }));
    let served = Models::of("bert-cls").adapter("pairs", directory.path().to_path_buf()).serve();
    let Some(mut browser) = open(&served) else { return };
    browser.wait_until("!document.getElementById('second-text').hidden");
    let labels = ["text-label", "second-label"].map(|id| browser.text(&format!("#{id}")));
    assert_eq!(labels, ["premise, one a line", "hypothesis, one a line"]);
    browser.tab_to("text");
    browser.write("a cat sat");
    browser.press_with("Enter", true);
    browser.write("a film that never ends");
    browser.tab_to("second");
    browser.write("an animal sat");
    browser.press("Enter");
    browser.wait_until("document.getElementById('problem').textContent !== ''");
    let problem = "there are 2 first texts and 1 second: give as many of both";
    assert_eq!(browser.text("#problem"), problem);
    assert_eq!(served.metric("kindling_texts_classified_total{model=\"pairs\"}"), 0.0, "nothing was asked");
    browser.press_with("Enter", true);
    browser.write("it ends");
    browser.press("Enter");
    browser.wait_until("document.querySelectorAll('.results li').length === 2");
    browser.wait_until(IDLE);
    assert_eq!(browser.text("#problem"), "");
    let typed = "['text', 'second'].map((id) => document.getElementById(id).value)";
    assert_eq!(browser.value(typed), json!(["", ""]));
    assert_eq!(browser.texts("blockquote"), ["a cat sat", "an animal sat", "a film that never ends", "it ends"]);
    let pairs = json!([["a cat sat", "an animal sat"], ["a film that never ends", "it ends"]]);
    let answer = served.post("/classify", &json!({ "model": "pairs", "input": pairs })).done();
    let probability = 100.0
        * answer["data"][1]["probs"].as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).fold(0.0, f64::max);
    let shown = browser.value("document.querySelectorAll('.results li')[1].textContent");
    assert!(
        shown.as_str().unwrap().contains(&format!("{probability:.1}\u{a0}%"))
            || shown.as_str().unwrap().contains(&format!("{probability:.1} %")),
        "{shown}"
    );
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[test]
fn entities_are_marked_and_values_are_shown() {
    let text = "the cat sat on the mat";
    let served = Models::of("bert-tokcls").adapter("tags", fixture("bert-tokcls/adapter")).serve();
    let Some(mut browser) = open(&served) else { return };
    browser.write(text);
    browser.press("Enter");
    browser.wait_until("document.querySelector('blockquote') !== null");
    let answer = served.post("/classify", &json!({ "model": "tags", "input": text })).done();
    let entities = answer["data"][0]["entities"].as_array().unwrap();
    assert!(!entities.is_empty());
    let expected: Vec<String> = entities
        .iter()
        .map(|it| format!("{}{}", it["text"].as_str().unwrap(), it["label"].as_str().unwrap()))
        .collect();
    assert_eq!(browser.value("[...document.querySelectorAll('mark')].map((it) => it.textContent)"), json!(expected));

    let served = Models::of("bert-regression").adapter("stars", fixture("bert-regression/adapter")).serve();
    let Some(mut browser) = open(&served) else { return };
    browser.write(text);
    browser.press("Enter");
    browser.wait_until("document.querySelector('.values dd') !== null");
    let answer = served.post("/classify", &json!({ "model": "stars", "input": text })).done();
    let shown: f64 = browser.text(".values dd").parse().unwrap();
    assert!((shown - answer["data"][0]["value"].as_f64().unwrap()).abs() < 1e-5 * shown.abs(), "{shown}");
}

#[test]
fn an_error_is_shown_as_the_server_writes_it_and_the_message_is_kept() {
    let served = Models::decoder().serve();
    let Some(mut browser) = open(&served) else { return };
    browser.value("document.querySelector('summary').click()");
    browser.press_with("Tab", true);
    browser.tab_to("max-tokens");
    browser.write("100000");
    browser.tab_to("text");
    browser.write("what is a lamp?");
    browser.press("Enter");
    browser.wait_until("document.querySelector('.failed') !== null");
    assert_eq!(browser.text(".failed"), "`max_tokens` is 100000: expected an integer from 1 to 4096");
    assert_eq!(browser.text(".failed [role=alert]"), browser.text(".failed"));
    browser.wait_until(IDLE);
    assert_eq!(browser.value("document.getElementById('text').value"), "what is a lamp?");
    // One that may pass is asked again.
    drop(served);
    set(&mut browser, "max-tokens", "3");
    browser.press("Enter");
    browser.wait_until("document.querySelectorAll('.failed').length === 2");
    let expected = "the server does not answer: see whether it runs, then try again";
    assert_eq!(browser.texts(".failed [role=alert]")[1], expected);
    assert_eq!(browser.texts(".failed button"), ["Try again"]);
}

#[test]
fn the_page_asks_for_a_key_where_the_server_does() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys");
    std::fs::write(&file, "secret").unwrap();
    let settings = Settings { api_keys: Some(ApiKeys::read(&file).unwrap()), ..Settings::default() };
    let served = Models::of("bert-cls").adapter("films", fixture("bert-cls/trained")).serve_with(settings);
    let Some(mut browser) = Browser::open(&served.url("/"), 400, 800) else { return };
    browser.wait_until("document.activeElement.id === 'key'");
    assert_eq!(browser.text("#key-form"), "API key\nOpen");
    browser.write("sesame");
    browser.press("Enter");
    browser.wait_until("document.getElementById('key-problem').textContent !== ''");
    assert_eq!(browser.text("#key-problem"), "the API key is not one of this server's");
    browser.write("secret");
    browser.press("Enter");
    browser.wait_until(READY);
    assert_eq!(browser.value("document.getElementById('model').value"), "films");
    assert_eq!(browser.value("localStorage.length + document.cookie.length"), 0);
    // On a phone nothing is wider than the screen.
    browser.tab_to("text");
    browser.write(&"longwordwithoutspaces".repeat(2));
    browser.press("Enter");
    browser.wait_until("document.querySelector('.bars') !== null");
    assert_eq!(browser.value("document.documentElement.scrollWidth"), 400);
}
