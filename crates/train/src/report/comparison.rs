//! The page of `kindling compare`: scores with their intervals, what they cost, and curves over one another.

use serde::Serialize;
use tasks::metrics::interval::Interval;

use super::compare::{Curve, Setting, curves, settings};
use super::curve::Point;
use super::number::{count, fixed, interval, significant};
use super::plots::{Axis, Chart, Figure, Layer, Unit, around};
use super::svg::Role;
use super::{Error, Report, render};

const WIDE: (u32, u32) = (1080, 280);
const NARROW: (u32, u32) = (340, 220);

/// All that the page tells.
#[derive(Debug)]
pub(crate) struct Comparison<'a> {
    pub(crate) title: String,
    /// The name of the score by which candidates are compared.
    pub(crate) score: &'a str,
    /// The names of the scores of written answers.
    pub(crate) generated: Vec<&'a str>,
    /// What the figures are.
    pub(crate) note: String,
    /// The differences in words, and which candidates have no score.
    pub(crate) found: Vec<&'a str>,
    /// What they are of, where that is not what the scores are of.
    pub(crate) remark: Option<&'a str>,
    pub(crate) candidates: Vec<Candidate<'a>>,
}

#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) name: &'a str,
    pub(crate) score: f64,
    pub(crate) spread: Option<f64>,
    /// Of written answers, in the order of their names.
    pub(crate) generated: Vec<String>,
    pub(crate) interval: Option<Interval>,
    /// Of each run.
    pub(crate) scores: Vec<f64>,
    pub(crate) learning_rate: f64,
    pub(crate) trainable_parameters: usize,
    /// What a run of it takes: each with its value and as people read it.
    pub(crate) costs: Vec<(&'static str, f64, String)>,
    /// The first of its runs, whose curves are shown.
    pub(crate) run: Report,
    /// Of all its runs: a name and the path of the page from the comparison's directory.
    pub(crate) pages: Vec<(String, String)>,
    /// Rates with the smoothed losses that they came to, where they were tested.
    pub(crate) range_test: Vec<(f64, f64)>,
}

#[derive(Serialize)]
struct Page<'a> {
    style: &'static str,
    title: &'a str,
    score: &'a str,
    generated: &'a [&'a str],
    note: &'a str,
    found: &'a [&'a str],
    remark: Option<&'a str>,
    rows: Vec<Row<'a>>,
    ends: (String, String),
    parameters: Option<Figure>,
    costs: Vec<Cost<'a>>,
    curves: Vec<Curve>,
    rates: Option<Figure>,
    settings: Vec<Setting>,
    shared: usize,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    colour: &'static str,
    score: String,
    spread: Option<String>,
    generated: &'a [String],
    interval: Option<String>,
    scale: Scale,
    parameters: String,
    rate: String,
    pages: &'a [(String, String)],
}

/// Places between the ends of the scale that all rows have in common, in per cent.
#[derive(Debug, PartialEq, Serialize)]
struct Scale {
    at: f64,
    from: f64,
    width: f64,
    runs: Vec<f64>,
}

#[derive(Serialize)]
struct Cost<'a> {
    title: &'static str,
    bars: Vec<Bar<'a>>,
}

#[derive(Serialize)]
struct Bar<'a> {
    name: &'a str,
    colour: &'static str,
    length: f64,
    text: &'a str,
}

impl Comparison<'_> {
    pub(crate) fn html(&self) -> Result<String, Error> {
        let names: Vec<String> = self.candidates.iter().map(|candidate| candidate.name.to_owned()).collect();
        let reports: Vec<Report> = self.candidates.iter().map(|candidate| candidate.run.clone()).collect();
        let range = around(self.candidates.iter().flat_map(Candidate::values));
        let (settings, shared) = settings(&reports);
        let page = Page {
            style: concat!(include_str!("style.css"), include_str!("comparison.css")),
            title: &self.title,
            score: self.score,
            generated: &self.generated,
            note: &self.note,
            found: &self.found,
            remark: self.remark,
            rows: self.candidates.iter().enumerate().map(|(n, candidate)| candidate.row(n, &range)).collect(),
            ends: (significant(range.start, 3), significant(range.end, 3)),
            parameters: self.parameters()?,
            costs: self.costs(),
            curves: curves(&reports, &names)?,
            rates: self.rates()?,
            settings,
            shared,
        };
        render(include_str!("comparison.html"), &page)
    }

    /// The score by the number of trained parameters, whose axis is logarithmic.
    fn parameters(&self) -> Result<Option<Figure>, Error> {
        let place = |candidate: &Candidate<'_>| (candidate.trainable_parameters as f64).log10();
        let places: Vec<f64> = self.candidates.iter().map(place).filter(|place| place.is_finite()).collect();
        // Of candidates with the same size there is nothing to see.
        if places.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 1e-3) {
            return Ok(None);
        }
        let mut layers = Vec::new();
        for (n, candidate) in self.candidates.iter().enumerate().filter(|(_, candidate)| place(candidate).is_finite()) {
            let (role, x) = (Role::of_run(n), place(candidate));
            if let Some((low, high)) = candidate.interval {
                layers.push(Layer::Line(role, vec![(x, low), (x, high)]));
            }
            layers.push(Layer::Dots(role, vec![(x, candidate.score)]));
        }
        let chart = Chart {
            id: "parameters",
            title: "Score by trained parameters",
            description: format!(
                "{} of {} candidates by the parameters they train.",
                self.score,
                self.candidates.len()
            ),
            x: Axis { range: powers(&places), unit: Unit::Power },
            y: Axis { range: around(self.candidates.iter().flat_map(Candidate::values)), unit: Unit::Number },
            layers,
            readings: Vec::new(),
        };
        Ok(Some(chart.figure(WIDE, NARROW)?))
    }

    fn costs(&self) -> Vec<Cost<'_>> {
        let Some(first) = self.candidates.first() else { return Vec::new() };
        let cost = |k: usize| {
            let most = self.candidates.iter().map(|candidate| candidate.costs[k].1).fold(f64::MIN_POSITIVE, f64::max);
            Cost {
                title: first.costs[k].0,
                bars: self
                    .candidates
                    .iter()
                    .enumerate()
                    .map(|(n, candidate)| Bar {
                        name: candidate.name,
                        colour: Role::of_run(n).class(),
                        length: percent(candidate.costs[k].1 / most),
                        text: &candidate.costs[k].2,
                    })
                    .collect(),
            }
        };
        (0..first.costs.len()).map(cost).collect()
    }

    /// The losses of the range tests by the rate.
    fn rates(&self) -> Result<Option<Figure>, Error> {
        let line = |candidate: &Candidate<'_>| -> Vec<Point> {
            candidate.range_test.iter().map(|(rate, loss)| (rate.log10(), *loss)).collect()
        };
        let lines: Vec<Vec<Point>> = self.candidates.iter().map(line).collect();
        let places: Vec<f64> = lines.iter().flatten().map(|(x, _)| *x).collect();
        if places.is_empty() {
            return Ok(None);
        }
        // Where a loss goes off it would leave the falls no room.
        let start = lines.iter().filter_map(|line| line.first()).map(|(_, loss)| *loss).fold(0.0, f64::max);
        let seen = lines.iter().flatten().map(|(_, loss)| loss.min(1.5 * start));
        let range = around(seen);
        let mut layers = Vec::new();
        for (n, (line, candidate)) in lines.iter().zip(&self.candidates).enumerate() {
            let below: Vec<Point> = line.iter().copied().take_while(|(_, loss)| *loss <= range.end).collect();
            let chosen = candidate.learning_rate.log10();
            let nearest = below.iter().copied().min_by(|a, b| (a.0 - chosen).abs().total_cmp(&(b.0 - chosen).abs()));
            layers.push(Layer::Line(Role::of_run(n), below));
            layers.push(Layer::Dots(Role::of_run(n), nearest.into_iter().collect()));
        }
        let chart = Chart {
            id: "rates",
            title: "Loss by learning rate",
            description: "The smoothed loss of each candidate at rates that rise from step to step.".to_string(),
            x: Axis { range: powers(&places), unit: Unit::Power },
            y: Axis { range, unit: Unit::Number },
            layers,
            readings: Vec::new(),
        };
        Ok(Some(chart.figure(WIDE, NARROW)?))
    }
}

/// Whole powers around these logarithms.
fn powers(places: &[f64]) -> std::ops::Range<f64> {
    let (low, high) = places.iter().fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(*x), high.max(*x)));
    let (low, high) = ((low + 1e-9).floor(), (high - 1e-9).ceil());
    low..if high > low { high } else { low + 1.0 }
}

fn percent(share: f64) -> f64 {
    (share * 1000.0).round() / 10.0
}

impl<'a> Candidate<'a> {
    /// All that has to find room on the scale of scores.
    fn values(&self) -> Vec<f64> {
        let ends = self.interval.map_or(vec![], |(low, high)| vec![low, high]);
        [vec![self.score], ends, self.scores.clone()].concat()
    }

    fn row(&'a self, n: usize, range: &std::ops::Range<f64>) -> Row<'a> {
        Row {
            name: self.name,
            colour: Role::of_run(n).class(),
            score: fixed(self.score, 4),
            spread: self.spread.map(|spread| fixed(spread, 4)),
            generated: &self.generated,
            interval: self.interval.map(|ends| interval(ends, |end| fixed(end, 3))),
            scale: self.scale(range),
            parameters: count(self.trainable_parameters),
            rate: significant(self.learning_rate, 3),
            pages: &self.pages,
        }
    }

    fn scale(&self, range: &std::ops::Range<f64>) -> Scale {
        let at = |value: f64| percent((value - range.start) / (range.end - range.start));
        let (low, high) = self.interval.unwrap_or((self.score, self.score));
        let runs =
            if self.scores.len() > 1 { self.scores.iter().map(|score| at(*score)).collect() } else { Vec::new() };
        Scale { at: at(self.score), from: at(low), width: ((at(high) - at(low)) * 10.0).round() / 10.0, runs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &'static str, score: f64, parameters: usize) -> Candidate<'static> {
        Candidate {
            name,
            score,
            spread: Some(0.05),
            generated: vec!["12.5 ± 0.5".to_string(), "–".to_string()],
            interval: Some((score - 0.1, score + 0.1)),
            scores: vec![score - 0.05, score + 0.05],
            learning_rate: 1e-3,
            trainable_parameters: parameters,
            costs: vec![("Time of a step", 0.1 * score, "x".to_string())],
            run: Report { settings: format!("[adapter]\nmethod = \"{name}\"\n"), ..Report::default() },
            pages: vec![("seed 1".to_string(), format!("{name}/seed-1/report.html"))],
            range_test: vec![(1e-6, 1.0), (1e-3, 0.5), (1e-2, 9.0)],
        }
    }

    fn page(candidates: Vec<Candidate<'_>>) -> String {
        let comparison = Comparison {
            title: "a & b".to_string(),
            score: "accuracy",
            generated: vec!["BLEU", "ROUGE-L"],
            note: "accuracy on 40 examples".to_string(),
            found: vec!["b against a: +1 points"],
            remark: None,
            candidates,
        };
        comparison.html().expect("plain data")
    }

    #[test]
    fn the_page_has_every_section_and_escapes_what_it_shows() {
        let page = page(vec![candidate("<a>", 0.5, 1000), candidate("b", 0.75, 200_000)]);
        // A browser reads the one as the other.
        let page = page.replace("&#x2f;", "/");
        for shown in ["id=\"scores\"", "id=\"parameters\"", "id=\"costs\"", "id=\"rates\"", "id=\"settings\""] {
            assert!(page.contains(shown), "{shown}");
        }
        assert!(page.contains("&lt;a&gt;") && !page.contains("<a>") && page.contains("b against a: +1 points"));
        assert!(page.contains("href=\"b/seed-1/report.html\"") && page.contains("0.7500"));
        assert!(page.contains("<th scope=\"col\">BLEU</th>") && page.contains("<td>12.5 ± 0.5</td><td>–</td>"));
    }

    #[test]
    fn equal_sizes_have_no_figure_of_them_and_rates_that_were_not_tested_none() {
        let without = |name| Candidate { range_test: Vec::new(), ..candidate(name, 0.5, 1000) };
        let page = page(vec![without("a"), without("b")]);
        assert!(!page.contains("id=\"parameters\"") && !page.contains("id=\"rates\""));
    }

    #[test]
    fn a_scale_holds_interval_and_runs() {
        let found = candidate("a", 0.5, 1).scale(&(0.0..1.0));
        assert_eq!(found, Scale { at: 50.0, from: 40.0, width: 20.0, runs: vec![45.0, 55.0] });
        assert_eq!((powers(&[3.2, 5.0]), powers(&[2.0, 2.0])), (3.0..5.0, 2.0..3.0));
    }
}
