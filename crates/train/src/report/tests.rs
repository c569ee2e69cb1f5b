//! The page as a whole: what is on it, what is not, and that nothing on it can become markup or a request.

use super::*;
use tasks::metrics::{ACCURACY, F1_MACRO, MATTHEWS};
use tasks::{
    Cell, Guide, Histogram, Line, Mark, Marked, Part, Parts, Prediction, Sample, Scatter, Section, ShownRow, Table,
    TaskName, beginning,
};

fn steps(number: usize) -> Vec<Step> {
    let step = |step: usize| Step {
        step,
        epoch: step as f64 / 100.0,
        loss: 2.0 / (step as f64).sqrt() + (step as f64 * 12.9898).sin().abs() * 0.1,
        learning_rate: 2e-4 * (1.0 - step as f64 / number as f64),
        grad_norm: 1.0 + (step as f64).cos().abs(),
        tokens: 900,
        seconds: 0.25,
    };
    (1..=number).map(step).collect()
}

fn names(classes: usize) -> Vec<String> {
    (0..classes).map(|class| format!("a label with a long name {class}")).collect()
}

/// Answers that are right four times of five.
fn predictions(classes: usize, number: usize, text: &str) -> Vec<Prediction> {
    let prediction = |line: usize| {
        let target = line * 31 % classes;
        let chosen = if line.is_multiple_of(5) { (target + line) % classes } else { target };
        let logits = (0..classes).map(|class| if class == chosen { 4.0 } else { (class % 3) as f32 }).collect();
        let loss = (line % 97) as f64 / 20.0;
        Prediction { line, text: beginning(text), text_pair: None, target, logits, loss }
    };
    (1..=number).map(prediction).collect()
}

fn sample(text: &str) -> Sample {
    let (prompt, before) = (text.to_string(), Some(text.to_string()));
    Sample { prompt, before, written: format!("{text} and more"), expected: format!("{text} or less") }
}

/// One of each kind.
fn some_parts(text: &str) -> Parts {
    let line = |cell: Cell| Line { name: text.to_string(), cells: vec![cell] };
    let columns = vec![text.to_string(), text.to_string()];
    let table = |cell: Cell| {
        let (caption, columns, footer) = (text.to_string(), columns.clone(), vec![line(Cell::Bar(None))]);
        Part::Table(Table { caption, columns, lines: vec![line(cell)], footer })
    };
    let mark = |right| Marked {
        name: text.to_string(),
        marks: vec![Mark { start: 1, end: 3, label: text.to_string(), right }],
    };
    let row = |facts, marked| ShownRow { line: 1, text: text.to_string(), text_pair: None, facts, marked };
    let (axes, counted) = ([text.to_string(), text.to_string()], [text.to_string(), text.to_string()]);
    let points = vec![(0.0, 1.0), (2.0, -1.0)];
    Parts {
        title: text.to_string(),
        text: text.to_string(),
        parts: vec![
            table(Cell::Wrong { count: 1, whole: 2 }),
            table(Cell::Interval(None)),
            Part::Scatter(Scatter { title: text.to_string(), axes, points, guide: Guide::Zero }),
            Part::Histogram(Histogram { title: text.to_string(), counted, values: vec![1.0, -2.0] }),
            Part::Rows(vec![
                row(vec![(text.to_string(), text.to_string())], Vec::new()),
                row(Vec::new(), vec![mark(true), mark(false)]),
            ]),
        ],
    }
}

fn full(labels: &[String], number: usize, steps_number: usize, text: &str) -> Report {
    let scores = |n: usize| {
        let n = n as f64;
        Scores::new(1.0 / n, [(&ACCURACY, 0.5 + n * 0.05), (&F1_MACRO, 0.4 + n * 0.05), (&MATTHEWS, 0.3)])
    };
    let evaluation = |n: usize| Evaluation { step: n * steps_number / 8, scores: scores(n) };
    let update = |n: usize| Update {
        module: format!("model.layers.{}.self_attn.{}", n / 2, if n.is_multiple_of(2) { "q_proj" } else { "v_proj" }),
        norm: n as f64,
        relative: Some(n as f64 / 100.0),
    };
    let record = Record {
        task: Some(TaskName::default()),
        facts: vec![("Base".to_string(), "a model".to_string())],
        steps: steps_number,
        valid: Some(Split { file: "valid.csv".to_string(), examples: number, text: Some(beginning(text)) }),
        before: Some(Before { examples: number, scores: scores(1) }),
        end: Some(End { seconds: 9.0, peak_memory_bytes: 1 << 20, stopped_early: false, loss_error: None }),
        sections: vec![
            Section::Classification(Classification {
                labels: labels.to_vec(),
                predictions: predictions(labels.len(), number, text),
            }),
            Section::Samples(vec![sample("once upon a time")]),
            Section::Parts(some_parts("a part")),
        ],
        lengths: Some(Lengths {
            train: (5..500).map(|length| (length, 1)).collect(),
            valid: (5..100).map(|length| (length, 1)).collect(),
            max_length: 128,
        }),
        findings: vec![Finding {
            severity: Severity::Warning,
            message: "3 rows repeat an earlier one".to_string(),
            advice: Some("remove them".to_string()),
        }],
        updates: (0..8).map(update).collect(),
        ..Record::default()
    };
    Report {
        title: "run of a test".to_string(),
        place: "runs/test".to_string(),
        record,
        steps: steps(steps_number),
        evaluations: (1..=8).map(evaluation).collect(),
        best_step: Some(steps_number),
        finished: true,
        live: false,
        settings: "[train]\nepochs = 3\n".to_string(),
    }
}

fn page(report: &Report) -> String {
    html(report).expect("a page needs nothing but its report")
}

/// The ids of the sections, in order.
fn sections(page: &str) -> Vec<&str> {
    page.split("<section id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// What is wrong with the nesting of the elements, if anything.
fn misnested(page: &str) -> Option<String> {
    const EMPTY: [&str; 8] = ["meta", "br", "line", "polyline", "rect", "circle", "path", "polygon"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.split_once("<!DOCTYPE html>")?.1;
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, after) = after.split_once('>')?;
        rest = after;
        let name = tag.trim_start_matches('/').split([' ', '/']).next()?;
        match tag.starts_with('/') {
            true if open.last() == Some(&name) => drop(open.pop()),
            true => return Some(format!("</{name}> closes {open:?}")),
            false if EMPTY.contains(&name) => {}
            false => open.push(name),
        }
        let twice = tag.matches(" class=").count() > 1 || tag.matches(" id=").count() > 1;
        if twice || !tag.matches('"').count().is_multiple_of(2) {
            return Some(format!("<{tag}>"));
        }
    }
    (!open.is_empty()).then(|| format!("{open:?} stay open"))
}

#[test]
fn a_full_run_has_every_section_and_each_link_leads_to_one() {
    let labels = names(3);
    let page = page(&full(&labels, 200, 400, "a text"));
    let found = sections(&page);
    assert_eq!(
        found,
        [
            "training",
            "evaluations",
            "parts-1",
            "classes",
            "calibration",
            "examples",
            "samples",
            "data",
            "lengths-of-texts",
            "updates",
            "settings"
        ]
    );
    let links: Vec<&str> = page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(links, found);
}

#[test]
fn what_a_run_has_not_leaves_no_trace() {
    let titled = |title: &str| Report { title: title.to_string(), finished: true, ..Report::default() };
    let empty = page(&titled("nothing yet"));
    assert_eq!(sections(&empty), [""; 0]);
    let body = empty.split_once("<body>").expect("a page has a body").1;
    for element in ["<table", "<svg", "<figure", "<dl", "<p>", "href"] {
        assert!(!body.contains(element), "{element} in {body}");
    }
    let trained = page(&Report { steps: steps(3), ..titled("steps alone") });
    assert_eq!(sections(&trained), ["training"]);
    assert!(!trained.contains("class=\"key valid\""), "a legend of what is not drawn");
    let nothing_predicted = Classification { labels: names(2), predictions: Vec::new() };
    let record = Record { sections: vec![Section::Classification(nothing_predicted)], ..Record::default() };
    assert_eq!(sections(&page(&Report { record, ..titled("t") })), [""; 0]);
}

#[test]
fn numbers_of_the_page_are_those_of_the_run() {
    let labels = names(3);
    let report = full(&labels, 200, 400, "a text");
    let page = page(&report);
    let table = page.split("<section id=\"evaluations\">").nth(1).and_then(|rest| rest.split("</table>").next());
    let table = table.expect("there are evaluations");
    for evaluation in &report.evaluations {
        let row = format!(">{}", evaluation.step);
        let row = table.split("<tr").find(|text| text.contains(&row)).expect("each evaluation has a row");
        for (_, value) in evaluation.scores.named() {
            assert!(row.contains(&format!("<td>{value:.4}</td>")), "{value} in {row}");
        }
    }
    // 160 of 200 are right in the predictions; the kept evaluation says 0.9, and its interval is Wilson's of 200.
    assert!(page.contains("Accuracy 90.0\u{a0}% on 200 validation texts (95\u{a0}% interval 85.1\u{a0}%"), "{page}");
    assert!(page.contains("kindling predict --run runs/test 'a text'") || page.contains("&#x27;a text&#x27;"));
}

#[test]
fn few_answers_are_shown_but_not_judged() {
    let labels = names(3);
    let judgements = ["on average", "On average the model", "Wrong labels gather here"];
    let said = |number: usize| {
        let page = page(&full(&labels, number, 40, "a text"));
        let judged = judgements.iter().any(|it| page.contains(it)) || page.contains("label looks wrong");
        (judged, page.contains("1 validation text in"))
    };
    assert_eq!([said(200), said(49), said(1)], [(true, false), (false, false), (false, true)]);
}

/// What is no markup, whoever writes it.
const BAD: &str = "</pre></style></title><script>alert('x')</script><img src=x onerror=\"y\">&amp;{{ 7 * 7 }}";

#[test]
fn text_stays_text() {
    let labels = vec![BAD.to_string(), "other".to_string()];
    let many: Vec<String> = (0..30).map(|n| format!("{BAD}{n}")).collect();
    for labels in [&labels, &many] {
        let mut report = full(labels, 60, 30, BAD);
        report.title = BAD.to_string();
        report.place = BAD.to_string();
        report.settings = BAD.to_string();
        let record = &mut report.record;
        record.facts.push((BAD.to_string(), BAD.to_string()));
        record.findings[0].message = BAD.to_string();
        record.findings[0].advice = Some(BAD.to_string());
        record.updates.push(Update { module: BAD.to_string(), norm: 1.0, relative: None });
        record.updates.push(Update { module: format!("layers.1.{BAD}"), norm: 1.0, relative: None });
        record.valid = Some(Split { file: BAD.to_string(), examples: 60, text: Some("short".to_string()) });
        for section in &mut record.sections {
            match section {
                Section::Classification(found) => {
                    found.predictions.iter_mut().for_each(|prediction| prediction.text_pair = Some(BAD.to_string()));
                }
                Section::Samples(samples) => *samples = vec![sample(BAD)],
                Section::Parts(parts) => *parts = some_parts(BAD),
            }
        }
        let page = page(&report);
        assert!(!page.contains("<script") && !page.contains("<img"), "markup came through");
        assert!(page.contains("&lt;script&gt;") && page.contains("{{ 7 * 7 }}"));
        let policy = "content=\"default-src 'none'; style-src 'unsafe-inline'\"";
        assert!(
            page.contains(&format!("<meta http-equiv=\"Content-Security-Policy\" {policy}>")),
            "no script, no request"
        );
        assert_eq!(misnested(&page), None);
        let other = Report { settings: "seed = \"</code><script>\"".to_string(), ..full(labels, 60, 30, BAD) };
        let page = compared(&[report, other]).expect("a page needs nothing but its reports");
        assert!(!page.contains("<script") && !page.contains("<img"), "markup came through");
        assert_eq!(misnested(&page), None);
    }
}

#[test]
fn elements_are_nested_and_ids_are_unique() {
    for classes in [2, 20, 21] {
        let labels = names(classes);
        let page = page(&full(&labels, 200, 400, "a text"));
        assert_eq!(misnested(&page), None);
        let mut ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }
}

#[test]
fn the_page_asks_for_nothing_and_runs_nothing() {
    let labels = names(21);
    let page = page(&full(&labels, 200, 400, "a text"));
    for request in ["http:", "https:", "src=", "url(", "@import", "<link", "<script", "xmlns"] {
        assert!(!page.contains(request), "{request}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn every_colour_is_the_pages_own() {
    let labels = names(10);
    let page = page(&full(&labels, 200, 400, "a text"));
    let body = page.split_once("<body>").expect("a page has a body").1;
    assert!(!body.contains("#FE01") && !body.contains(" fill=\"") && !body.contains(" stroke=\""));
    let style = page.split_once("</style>").expect("a page has a style").0;
    for class in body.split("class=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        for class in class.split(' ') {
            assert!(style.contains(&format!(".{class}")), "the page has no rule for .{class}");
        }
    }
}

#[test]
fn a_long_run_with_many_classes_stays_small() {
    let labels = names(77);
    let text = "word ".repeat(2000);
    let page = page(&full(&labels, 3080, 5000, &text));
    assert!(page.len() < 400_000, "{} bytes", page.len());
}

#[test]
fn what_stands_in_backticks_is_code_and_a_single_backtick_is_a_backtick() {
    let finding = |severity, message: &str| Finding { severity, message: message.to_string(), advice: None };
    let findings =
        vec![finding(Severity::Note, "7 texts hold `&amp;`"), finding(Severity::Warning, "the label ` is given once")];
    let record = Record { findings, ..Record::default() };
    let page = page(&Report { record, ..Report::default() });
    assert!(
        page.contains("<li class=\"note\"><em>note</em><div><p>7 texts hold <code>&amp;amp;</code></p></div></li>")
    );
    assert!(page.contains("<p>the label ` is given once</p>"));
}
