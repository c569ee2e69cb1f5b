//! What Prometheus reads at `/metrics`: counters, gauges and histograms in its text format, by model.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::answered::Asked;
use crate::app::App;
use crate::engine::{Cache, Kind, Passes};

/// Bounds of the buckets of times, in seconds.
const TOKEN_SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
const ANSWER_SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<Answer, u64>>,
    models: Mutex<BTreeMap<Arc<str>, Arc<Mutex<OfModel>>>>,
}

/// Path, model and status of an answer.
type Answer = (String, Arc<str>, u16);

/// A metric of every model: its name, what it says, and its value.
type Metric<T> = (&'static str, &'static str, T);
type Count = fn(&OfModel) -> u64;
type Times = fn(&OfModel) -> &Histogram;

/// Of one model.
#[derive(Debug)]
struct OfModel {
    prompt_tokens: u64,
    /// Of these, the ones that did not have to be read.
    shared_tokens: u64,
    new_tokens: u64,
    classified: u64,
    /// From a request's arrival.
    first_token: Histogram,
    /// From one token of a request to the next.
    next_token: Histogram,
    /// From a request's arrival to the head of the answer, or of a stream to its end.
    answers: Histogram,
}

#[derive(Debug)]
struct Histogram {
    bounds: &'static [f64],
    /// One more than there are bounds.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    fn add(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = self.bounds.iter().position(|bound| seconds <= *bound).unwrap_or(self.bounds.len());
        self.counts[bucket] += 1;
        self.sum += seconds;
    }
}

impl Default for OfModel {
    fn default() -> Self {
        Self {
            prompt_tokens: 0,
            shared_tokens: 0,
            new_tokens: 0,
            classified: 0,
            first_token: Histogram::new(&ANSWER_SECONDS),
            next_token: Histogram::new(&TOKEN_SECONDS),
            answers: Histogram::new(&ANSWER_SECONDS),
        }
    }
}

/// A text that a model writes, watched from its request's arrival on.
#[derive(Debug)]
pub(crate) struct Progress {
    model: Arc<Mutex<OfModel>>,
    arrived: Instant,
    /// When each choice had its last token.
    last: BTreeMap<usize, Instant>,
}

impl Progress {
    pub(crate) fn prompt(&self, tokens: usize) {
        locked(&self.model).prompt_tokens += tokens as u64;
    }

    pub(crate) fn shared(&self, tokens: usize) {
        locked(&self.model).shared_tokens += tokens as u64;
    }

    pub(crate) fn token(&mut self, choice: usize) {
        let now = Instant::now();
        let mut model = locked(&self.model);
        model.new_tokens += 1;
        match self.last.insert(choice, now) {
            // The other choices are not what somebody waits for.
            None if self.last.len() > 1 => {}
            None => model.first_token.add(now - self.arrived),
            Some(last) => model.next_token.add(now - last),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        locked(&self.model).answers.add(self.arrived.elapsed());
    }
}

impl Metrics {
    pub(crate) fn progress(&self, model: &str) -> Progress {
        Progress { model: self.model(model), arrived: Instant::now(), last: BTreeMap::new() }
    }

    /// Texts that a model has classified, with the tokens that it read.
    pub(crate) fn classified(&self, model: &str, texts: usize, tokens: usize, time: Duration) {
        let model = self.model(model);
        let mut model = locked(&model);
        model.classified += texts as u64;
        model.prompt_tokens += tokens as u64;
        model.answers.add(time);
    }

    fn model(&self, name: &str) -> Arc<Mutex<OfModel>> {
        locked(&self.models).entry(name.into()).or_default().clone()
    }

    fn text(&self, app: &App) -> String {
        let mut page = Page(String::new());
        page.head("kindling_requests_total", "counter", "Requests that were answered.");
        for ((path, model, status), count) in locked(&self.requests).iter() {
            let status = status.to_string();
            page.line("kindling_requests_total", &[("path", path), ("model", model), ("status", &status)], count);
        }
        let statistics = app.engine.statistics();
        page.gauge("kindling_requests_waiting", "Requests in the queue.", statistics.waiting());
        page.gauge("kindling_queue_capacity", "Requests that may wait.", app.engine.limits().max_queue);
        page.gauge("kindling_requests_running", "Requests that the models work on.", statistics.running());
        page.gauge("kindling_models", "Models that are loaded, the base among them.", app.engine.models().len());
        let models: Vec<_> = locked(&self.models).iter().map(|(name, model)| (name.clone(), model.clone())).collect();
        page.passes(&statistics.passes());
        let counters: [Metric<Count>; 4] = [
            ("kindling_prompt_tokens_total", "Tokens of prompts and of classified texts.", |model| model.prompt_tokens),
            (
                "kindling_shared_prompt_tokens_total",
                "Tokens of prompts whose keys and values were there already.",
                |model| model.shared_tokens,
            ),
            ("kindling_generation_tokens_total", "Tokens that were written.", |model| model.new_tokens),
            ("kindling_texts_classified_total", "Texts that were classified.", |model| model.classified),
        ];
        for (name, help, count) in counters {
            page.head(name, "counter", help);
            models.iter().for_each(|(model, of)| page.line(name, &[("model", model)], count(&locked(of))));
        }
        let histograms: [Metric<Times>; 3] = [
            ("kindling_time_to_first_token_seconds", "From a request's arrival.", |model| &model.first_token),
            ("kindling_time_per_output_token_seconds", "From one token to the next.", |model| &model.next_token),
            ("kindling_request_seconds", "From a request's arrival to the end of its answer.", |model| &model.answers),
        ];
        for (name, help, histogram) in histograms {
            page.head(name, "histogram", help);
            models.iter().for_each(|(model, of)| page.histogram(name, model, histogram(&locked(of))));
        }
        page.0
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: usize) {
        self.head(name, "gauge", help);
        self.line(name, &[], value);
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
        match labels.is_empty() {
            true => self.write(format_args!("{name} {value}\n")),
            false => self.write(format_args!("{name}{{{}}} {value}\n", labels.join(","))),
        }
    }

    /// What the passes did, and what the cache holds.
    fn passes(&mut self, passes: &Passes) {
        type OfKind = fn(&Kind) -> u64;
        let counters: [Metric<OfKind>; 3] = [
            (
                "kindling_passes_total",
                "Passes over the base; of texts, a token of each with the pieces of prompts.",
                |kind| kind.passes,
            ),
            (
                "kindling_pass_sequences_total",
                "Texts and sequences in the passes: by the passes, the size of a batch.",
                |kind| kind.sequences,
            ),
            (
                "kindling_pass_tokens_total",
                "Tokens in the passes: of prompts, of texts to classify, and those written.",
                |kind| kind.tokens,
            ),
        ];
        for (name, help, count) in counters {
            self.head(name, "counter", help);
            for (kind, of) in [("generation", &passes.writing), ("classification", &passes.classifying)] {
                self.line(name, &[("kind", kind)], count(of));
            }
        }
        let Cache { rows, of_texts, of_prefixes, bytes_per_row } = passes.cache;
        self.gauge("kindling_cache_bytes", "Bytes of keys and values that there is room for.", rows * bytes_per_row);
        let name = "kindling_cache_used_bytes";
        self.head(name, "gauge", "Bytes of keys and values of texts, and of prompts that others may begin with.");
        for (of, rows) in [("texts", of_texts), ("prefixes", of_prefixes)] {
            self.line(name, &[("of", of)], rows * bytes_per_row);
        }
    }

    fn histogram(&mut self, name: &str, model: &str, histogram: &Histogram) {
        let bounds = histogram.bounds.iter().map(ToString::to_string).chain(["+Inf".to_string()]);
        let mut count = 0;
        for (bound, of_bucket) in bounds.zip(&histogram.counts) {
            count += of_bucket;
            self.line(&format!("{name}_bucket"), &[("model", model), ("le", &bound)], count);
        }
        self.line(&format!("{name}_sum"), &[("model", model)], histogram.sum);
        self.line(&format!("{name}_count"), &[("model", model)], count);
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a string can be written to");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

pub(crate) async fn show(State(app): State<Arc<App>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.metrics.text(&app))
}

/// Counts each answer. Paths that are none are one, so that nobody makes the page longer by asking.
pub(crate) async fn count(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_string();
    let asked = Asked::default();
    request.extensions_mut().insert(asked.clone());
    let response = next.run(request).await;
    *locked(&app.metrics.requests).entry((path, asked.model(), response.status().as_u16())).or_default() += 1;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_what_is_at_most_each_bound() {
        let mut histogram = Histogram::new(&[0.1, 1.0]);
        [50, 100, 500, 2000].into_iter().for_each(|milliseconds| histogram.add(Duration::from_millis(milliseconds)));
        let mut page = Page(String::new());
        page.histogram("t", "a\"b", &histogram);
        let expected = "t_bucket{model=\"a\\\"b\",le=\"0.1\"} 2\nt_bucket{model=\"a\\\"b\",le=\"1\"} 3\n\
                        t_bucket{model=\"a\\\"b\",le=\"+Inf\"} 4\nt_sum{model=\"a\\\"b\"} 2.65\nt_count{model=\"a\\\"b\"} 4\n";
        assert_eq!(page.0, expected);
    }
}
