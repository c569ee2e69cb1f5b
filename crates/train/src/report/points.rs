//! Plots of numbers: points of two, and how often each size of one occurs.

use super::Error;
use super::number::{counted, significant};
use super::plots::{Axis, Chart, Figure, Layer, Reading, Unit, around, from_zero};
use super::svg::Role;
use tasks::{Guide, Histogram, Scatter};

const SQUARE: [(u32, u32); 2] = [(520, 400), (340, 300)];
const FLAT: [(u32, u32); 2] = [(520, 240), (340, 200)];
/// Points of a plot; of more, as many evenly spaced ones.
const POINTS: usize = 2000;
/// Bars of a histogram at most.
const BARS: usize = 30;

pub(super) fn scatter(scatter: &Scatter, id: &str) -> Result<Figure, Error> {
    let finite: Vec<(f64, f64)> =
        scatter.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    let step = finite.len().div_ceil(POINTS).max(1);
    let points: Vec<(f64, f64)> = finite.iter().copied().step_by(step).collect();
    let (xs, ys) = (|| finite.iter().map(|(x, _)| *x), || finite.iter().map(|(_, y)| *y));
    let (x, y, guide) = match scatter.guide {
        Guide::Diagonal => {
            let both = around(xs().chain(ys()));
            (both.clone(), both.clone(), vec![(both.start, both.start), (both.end, both.end)])
        }
        Guide::Zero => {
            let x = around(xs());
            (x.clone(), around(ys().chain([0.0])), vec![(x.start, 0.0), (x.end, 0.0)])
        }
    };
    let chart = Chart {
        id,
        title: &scatter.title,
        description: format!(
            "{}: {} to the right, {} upwards.",
            counted(points.len(), "point", "points"),
            scatter.axes[0],
            scatter.axes[1]
        ),
        x: Axis { range: x, unit: Unit::Number },
        y: Axis { range: y, unit: Unit::Number },
        layers: vec![Layer::Points(Role::Point, points), Layer::Line(Role::Guide, guide)],
        readings: Vec::new(),
    };
    chart.figure(SQUARE[0], SQUARE[1])
}

pub(super) fn histogram(histogram: &Histogram, id: &str) -> Result<Figure, Error> {
    let values: Vec<f64> = histogram.values.iter().copied().filter(|value| value.is_finite()).collect();
    let range = around(values.iter().copied());
    let bars = (values.len() as f64).sqrt().ceil().clamp(5.0, BARS as f64) as usize;
    let width = (range.end - range.start) / bars as f64;
    let mut counts = vec![0_usize; bars];
    values.iter().for_each(|value| counts[(((value - range.start) / width) as usize).min(bars - 1)] += 1);
    let edges = |n: usize| (range.start + n as f64 * width, range.start + (n + 1) as f64 * width);
    let gap = width * 0.06;
    let filled = || counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let [one, many] = &histogram.counted;
    let reading = |(n, count): (usize, &usize)| {
        let (from, to) = edges(n);
        let between = format!("{} to {}", significant(from, 3), significant(to, 3));
        let text = format!("{between}: {}", counted(*count, one, many));
        Reading { x: f64::midpoint(from, to), text, short: Vec::new(), points: Vec::new() }
    };
    let bar = |(n, count): (usize, &usize)| (edges(n).0 + gap..edges(n).1 - gap, 0.0..*count as f64);
    let top = from_zero(counts.iter().map(|count| *count as f64));
    let mut layers = vec![Layer::Bars(Role::Bar, filled().map(bar).collect())];
    if range.start < 0.0 && range.end > 0.0 {
        layers.push(Layer::Verticals(Role::Guide, vec![0.0]));
    }
    let chart = Chart {
        id,
        title: &histogram.title,
        description: format!("How often which of {} values occurs.", values.len()),
        readings: filled().map(reading).collect(),
        x: Axis { range: range.clone(), unit: Unit::Number },
        y: Axis { range: top, unit: Unit::Count },
        layers,
    };
    chart.figure(FLAT[0], FLAT[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(figure: &Figure) -> String {
        serde_json::to_string(figure).expect("a figure is text and numbers")
    }

    #[test]
    fn every_finite_point_is_drawn_until_there_are_too_many() {
        let of = |points: Vec<(f64, f64)>| {
            let axes = ["reference", "predicted"].map(str::to_string);
            let found = Scatter { title: "t".to_string(), axes, points, guide: Guide::Diagonal };
            drawn(&scatter(&found, "s").expect("drawn in memory")).matches("<circle").count()
        };
        // For wide and for narrow windows.
        assert_eq!(of(vec![(1.0, 2.0), (f64::NAN, 1.0), (3.0, 2.5)]), 4);
        assert_eq!(of((0..5000).map(|n| (f64::from(n), 0.0)).collect()), 2 * 5000_usize.div_ceil(3));
        assert_eq!(of(Vec::new()), 0);
    }

    #[test]
    fn every_value_is_in_a_bar() {
        let values = vec![-1.0, -0.5, 0.0, 0.0, 1.0];
        let counted = ["row", "rows"].map(str::to_string);
        let found = Histogram { title: "t".to_string(), counted, values };
        let drawn = drawn(&histogram(&found, "h").expect("drawn in memory"));
        // Five bars from -1 to 1: one, one, two, none, one.
        assert_eq!(drawn.matches("1 row<").count(), 3 * 2 * 2, "as title and as text, wide and narrow");
        assert_eq!(drawn.matches("2 rows<").count(), 2 * 2);
    }
}
