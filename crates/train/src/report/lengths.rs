//! How long the texts are, and what `max_length` cuts off.

use serde::Serialize;

use super::Error;
use super::curve::Point;
use super::number::{count, counted, percent};
use super::plots::{Axis, Chart, Figure, Layer, Reading, Unit, from_zero};
use super::record::Lengths;
use super::svg::Role;

/// Bars, about.
const BARS: usize = 48;

#[derive(Debug, Serialize)]
pub(super) struct Section {
    figure: Figure,
    rows: Vec<Row>,
    max_length: String,
    /// `max_length` is within the plot.
    marked: bool,
    /// How many examples are longer than the plot shows, all of them in its last bar.
    beyond: Option<String>,
    validated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Split {
    Training,
    Validation,
}

#[derive(Debug, Serialize)]
struct Row {
    split: Split,
    examples: String,
    median: String,
    /// 95 of 100 are no longer.
    most: String,
    longest: String,
    cut: String,
    cut_share: String,
    /// Of all tokens, those that are never seen.
    lost: String,
}

pub(super) fn section(lengths: &Lengths) -> Result<Option<Section>, Error> {
    let mut splits =
        vec![(Split::Training, Counted::of(&lengths.train)), (Split::Validation, Counted::of(&lengths.valid))];
    splits.retain(|(_, lengths)| !lengths.is_empty());
    if splits.is_empty() {
        return Ok(None);
    }
    let bins = Bins::new(&splits, lengths.max_length);
    let beyond: usize = splits.iter().map(|(_, of)| of.longer_than(bins.end())).sum();
    Ok(Some(Section {
        figure: figure(&splits, &bins, lengths.max_length)?,
        rows: splits.iter().map(|(split, of)| Row::new(*split, of, lengths.max_length)).collect(),
        max_length: count(lengths.max_length),
        marked: lengths.max_length <= bins.end(),
        beyond: (beyond > 0).then(|| counted(beyond, "text is", "texts are")),
        validated: splits.iter().any(|(split, _)| *split == Split::Validation),
    }))
}

/// Lengths with the number of examples that have each, ascending. A record that was damaged may name any numbers.
struct Counted(Vec<(usize, usize)>);

impl Counted {
    fn of(lengths: &[(usize, usize)]) -> Self {
        // So that they can be added up.
        const MOST: usize = 1 << 40;
        let there = lengths.iter().filter(|(_, examples)| *examples > 0);
        let mut counted: Vec<(usize, usize)> =
            there.map(|(length, examples)| (*length.min(&MOST), *examples.min(&MOST))).collect();
        counted.sort_unstable();
        Self(counted)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn examples(&self) -> usize {
        self.0.iter().map(|(_, examples)| examples).sum()
    }

    fn longest(&self) -> usize {
        self.0.last().map_or(0, |(length, _)| *length)
    }

    fn longer_than(&self, bound: usize) -> usize {
        self.0.iter().filter(|(length, _)| *length > bound).map(|(_, examples)| examples).sum()
    }

    /// The smallest length that `share` of the examples do not exceed.
    fn quantile(&self, share: f64) -> usize {
        let rank = ((share * self.examples() as f64).ceil() as usize).max(1);
        let mut seen = 0;
        let found = self.0.iter().find(|(_, examples)| {
            seen += examples;
            seen >= rank
        });
        found.map_or(self.longest(), |(length, _)| *length)
    }

    /// Of all examples what `of` says of a length.
    fn sum(&self, of: impl Fn(usize) -> usize) -> f64 {
        self.0.iter().map(|(length, examples)| of(*length) as f64 * *examples as f64).sum()
    }
}

/// Bins of equal width from 0 on; the last also holds what is longer.
struct Bins {
    width: usize,
    number: usize,
}

impl Bins {
    /// Wide enough for `max_length` if it cuts anything, and for all but the longest hundredth.
    fn new(splits: &[(Split, Counted)], max_length: usize) -> Self {
        let most = splits.iter().map(|(_, of)| of.quantile(0.99)).max().unwrap_or(1);
        let longest = splits.iter().map(|(_, of)| of.longest()).max().unwrap_or(1);
        let shown = most.max(max_length.min(longest)).max(1);
        // A few tokens more do not deserve a crowded last bar.
        let shown = if longest <= shown + shown / 4 { longest } else { shown + shown / 10 };
        let width = (shown + 1).div_ceil(BARS);
        Self { width, number: (shown + 1).div_ceil(width) }
    }

    /// The longest length the bins tell apart from others.
    fn end(&self) -> usize {
        self.width * self.number - 1
    }

    fn shares(&self, lengths: &Counted) -> Vec<f64> {
        let mut counts = vec![0_usize; self.number];
        for (length, examples) in &lengths.0 {
            counts[(length / self.width).min(self.number - 1)] += examples;
        }
        counts.into_iter().map(|count| count as f64 / lengths.examples() as f64).collect()
    }
}

fn figure(splits: &[(Split, Counted)], bins: &Bins, max_length: usize) -> Result<Figure, Error> {
    let width = bins.width as f64;
    let shares: Vec<(Split, Vec<f64>)> = splits.iter().map(|(split, of)| (*split, bins.shares(of))).collect();
    let mut layers: Vec<Layer> = shares
        .iter()
        .map(|(split, shares)| match split {
            Split::Training => Layer::Bars(Role::Bar, bars(shares, width)),
            Split::Validation => Layer::Line(Role::Valid, outline(shares, width)),
        })
        .collect();
    if max_length <= bins.end() {
        layers.push(Layer::Verticals(Role::Mark, vec![max_length as f64 + 1.0]));
    }
    let y = from_zero(shares.iter().flat_map(|(_, shares)| shares.iter().copied()));
    let described = |(split, of): &(Split, Counted)| {
        let split = match split {
            Split::Training => "training",
            Split::Validation => "validation",
        };
        let (half, longest) = (counted(of.quantile(0.5), "token", "tokens"), count(of.longest()));
        format!("Half of the {split} texts have no more than {half}, the longest has {longest}.")
    };
    let chart = Chart {
        id: "lengths",
        title: "Share of texts by number of tokens",
        description: splits.iter().map(described).collect::<Vec<_>>().join(" "),
        x: Axis { range: 0.0..width * bins.number as f64, unit: Unit::Count },
        y: Axis { range: y, unit: Unit::Percent },
        layers,
        readings: readings(&shares, bins),
    };
    chart.figure((1080, 240), (340, 220))
}

fn readings(shares: &[(Split, Vec<f64>)], bins: &Bins) -> Vec<Reading> {
    let reading = |n: usize| {
        let (from, to) = (n * bins.width, (n + 1) * bins.width - 1);
        let range = match n + 1 == bins.number {
            true => format!("{} tokens and more", count(from)),
            false if from == to => format!("{} tokens", count(from)),
            false => format!("{} – {} tokens", count(from), count(to)),
        };
        let share = |(split, shares): &(Split, Vec<f64>)| match split {
            Split::Training => format!("training {}", percent(shares[n])),
            Split::Validation => format!("validation {}", percent(shares[n])),
        };
        let text = format!("{range}: {}", shares.iter().map(share).collect::<Vec<_>>().join(", "));
        Reading { x: (n as f64 + 0.5) * bins.width as f64, text, short: Vec::new(), points: Vec::new() }
    };
    (0..bins.number).map(reading).collect()
}

fn bars(shares: &[f64], width: f64) -> Vec<(std::ops::Range<f64>, std::ops::Range<f64>)> {
    let bar = |(n, share): (usize, &f64)| {
        let from = n as f64 * width;
        (from + width * 0.06..from + width * 0.94, 0.0..*share)
    };
    shares.iter().enumerate().filter(|(_, share)| **share > 0.0).map(bar).collect()
}

/// The upper edge of the same bars, which may lie over other bars.
fn outline(shares: &[f64], width: f64) -> Vec<Point> {
    let edge = |(n, share): (usize, &f64)| [(n as f64 * width, *share), ((n + 1) as f64 * width, *share)];
    shares.iter().enumerate().flat_map(edge).collect()
}

impl Row {
    fn new(split: Split, lengths: &Counted, max_length: usize) -> Self {
        let (examples, cut) = (lengths.examples(), lengths.longer_than(max_length));
        let (lost, tokens) = (lengths.sum(|length| length.saturating_sub(max_length)), lengths.sum(|length| length));
        Self {
            split,
            examples: count(examples),
            median: count(lengths.quantile(0.5)),
            most: count(lengths.quantile(0.95)),
            longest: count(lengths.longest()),
            cut: count(cut),
            cut_share: percent(cut as f64 / examples as f64),
            lost: percent(lost / tokens.max(1.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_what_is_cut_off() {
        let lengths = Counted::of(&(1..=100).map(|length| (length, 1)).collect::<Vec<_>>());
        let row = Row::new(Split::Training, &lengths, 90);
        assert_eq!([row.median.as_str(), &row.most, &row.longest, &row.cut], ["50", "95", "100", "10"]);
        // 1 + 2 + .. + 10 of 5050 tokens
        assert_eq!((row.cut_share.as_str(), row.lost.as_str()), ("10.0\u{a0}%", "1.1\u{a0}%"));
    }

    #[test]
    fn one_very_long_text_does_not_squeeze_the_others() {
        let mut lengths: Vec<(usize, usize)> = (0..1000).map(|i| (20 + i % 30, 1)).collect();
        lengths.push((20_000, 1));
        let splits = [(Split::Training, Counted::of(&lengths))];
        let bins = Bins::new(&splits, 64);
        assert!((64..100).contains(&bins.end()), "{}", bins.end());
        let shares = bins.shares(&splits[0].1);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12 && shares[bins.number - 1] > 0.0);
    }

    #[test]
    fn empty_and_equal_lengths_can_be_drawn() {
        let none = Lengths { train: Vec::new(), valid: Vec::new(), max_length: 128 };
        assert!(section(&none).expect("drawn in memory").is_none());
        let zero = Lengths { train: vec![(0, 2)], valid: Vec::new(), max_length: 128 };
        assert!(section(&zero).expect("drawn in memory").is_some());
    }

    #[test]
    fn numbers_of_a_damaged_record_take_no_memory() {
        let train = vec![(3, usize::MAX), (usize::MAX, 1_000_000_000_000), (usize::MAX, usize::MAX), (5, 0)];
        let absurd = Lengths { train, valid: Vec::new(), max_length: usize::MAX };
        assert!(section(&absurd).expect("drawn in memory").is_some());
    }
}
