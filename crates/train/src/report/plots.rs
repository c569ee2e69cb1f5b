//! Plots: axes, lines, bars and marks, drawn by plotters as the inside of an SVG. Titles and legends are the page's, whose
//! text wraps and is escaped; a plot has numbers only.

use std::ops::Range;

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::{
    Cartesian2d, ChartBuilder, ChartContext, Circle, DrawingArea, DrawingBackend, IntoDrawingArea, PathElement,
    Rectangle, SVGBackend,
};
use plotters::style::{Color, IntoFont, RGBColor, ShapeStyle, TRANSPARENT};
use serde::Serialize;

use super::Error;
use super::curve::Point;
use super::number::{count, significant};
use super::svg::{Role, themed};

/// Drawing units for each pixel: plotters rounds to whole units, and whole pixels would make stairs of flat curves.
const UNITS: u32 = 4;
/// plotters divides a text's size by this before it writes it as SVG's.
const OF_TEXT: f64 = 1.24;
const TEXT: f64 = 12.0;
/// Digits, and a hyphen, of a label on the left.
const LEFT: u32 = 46;
const BELOW: u32 = 24;
/// Room for a line of text above.
const READING: u32 = 22;

/// What an `<svg>` of the page holds.
#[derive(Debug, Serialize)]
pub(super) struct Plot {
    id: String,
    width: u32,
    height: u32,
    title: String,
    /// What there is to see, for those who do not see it.
    description: String,
    body: String,
}

/// The same plot for wide and for narrow windows: scaled down, its text could not be read.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    wide: Plot,
    narrow: Plot,
}

pub(super) struct Chart<'a> {
    /// Of the page's elements this one alone is called so.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    pub(super) description: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// From back to front.
    pub(super) layers: Vec<Layer>,
    /// In the order of their x: what is read off where the pointer is.
    pub(super) readings: Vec<Reading>,
}

/// The values at a place of the x axis, shown while the pointer is there.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) x: f64,
    pub(super) text: String,
    /// Shown in place of the text, each in the colour of its role, where the text is too long for a line.
    pub(super) short: Vec<(Role, String)>,
    pub(super) points: Vec<(Role, f64)>,
}

pub(super) struct Axis {
    pub(super) range: Range<f64>,
    pub(super) unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Steps, tokens, texts: no label between two of them.
    Count,
    /// A share of one.
    Percent,
    Number,
    /// The logarithm of what is shown, to base 10: labels are whole powers.
    Power,
}

pub(super) enum Layer {
    /// From one x to another, from one y to another.
    Bars(Role, Vec<(Range<f64>, Range<f64>)>),
    Line(Role, Vec<Point>),
    Dots(Role, Vec<Point>),
    /// Smaller ones, of which there may be many.
    Points(Role, Vec<Point>),
    /// Through the whole plot at these x.
    Verticals(Role, Vec<f64>),
}

impl Chart<'_> {
    pub(super) fn plot(&self, width: u32, height: u32) -> Result<Plot, Error> {
        self.named(self.id, width, height)
    }

    pub(super) fn figure(&self, wide: (u32, u32), narrow: (u32, u32)) -> Result<Figure, Error> {
        Ok(Figure {
            wide: self.named(&format!("{}-wide", self.id), wide.0, wide.1)?,
            narrow: self.named(&format!("{}-narrow", self.id), narrow.0, narrow.1)?,
        })
    }

    fn named(&self, id: &str, width: u32, height: u32) -> Result<Plot, Error> {
        let mut drawn = String::new();
        let readings;
        let (width, height) = (width * UNITS, height * UNITS);
        {
            let area = SVGBackend::with_string(&mut drawn, (width, height)).into_drawing_area();
            let mut chart = ChartBuilder::on(&area)
                .margin_top(if self.readings.is_empty() { 8 } else { READING } * UNITS)
                .margin_right(20 * UNITS)
                .margin_bottom(2 * UNITS)
                .x_label_area_size(BELOW * UNITS)
                .y_label_area_size(LEFT * UNITS)
                .build_cartesian_2d(self.x.shown(), self.y.shown())
                .map_err(failed)?;
            self.draw_axes(&mut chart, width / UNITS, height / UNITS)?;
            for layer in &self.layers {
                self.draw(&mut chart, layer)?;
            }
            readings = self.readings(chart.plotting_area(), width / UNITS);
            area.present().map_err(failed)?;
        }
        Ok(Plot {
            id: id.to_string(),
            width,
            height,
            title: self.title.to_string(),
            description: self.description.clone(),
            body: themed(&drawn) + &readings,
        })
    }

    /// Strips over the whole plot, one for each reading, that show it while the pointer is on them. Where there are more
    /// readings than strips can be hit, some are left out; those with a dot of validation stay.
    fn readings<B: DrawingBackend>(&self, area: &Area<B>, width: u32) -> String {
        let chosen = chosen(&self.readings, (width / 11).max(8) as usize);
        let (columns, rows) = area.get_pixel_range();
        // What lies beyond the axes is shown at their ends.
        let at = |x: f64, y: f64| {
            let (x, y) = area.map_coordinate(&(x, y));
            (x.clamp(columns.start, columns.end), y.clamp(rows.start, rows.end))
        };
        let middle = |left: &Reading, right: &Reading| (at(left.x, 0.0).0 + at(right.x, 0.0).0) / 2;
        let mut drawn = String::new();
        for (n, reading) in chosen.iter().enumerate() {
            let from = if n == 0 { columns.start } else { middle(chosen[n - 1], reading) };
            let to = chosen.get(n + 1).map_or(columns.end, |next| middle(reading, next));
            let x = at(reading.x, 0.0).0;
            let text = super::svg::escaped(&reading.text);
            let part = |(role, part): &(Role, String)| {
                format!("<tspan class=\"fill-{}\">{} </tspan>", role.class(), super::svg::escaped(part))
            };
            let shown = if reading.short.is_empty() { text.clone() } else { reading.short.iter().map(part).collect() };
            drawn.push_str(&format!(
                "<g class=\"reading\"><title>{text}</title><rect x=\"{from}\" y=\"{top}\" width=\"{size}\" height=\"{height}\"/>\
                 <path class=\"line-axis\" stroke-width=\"{UNITS}\" d=\"M{x} {top}V{bottom}\"/>\
                 <text class=\"fill-ink\" x=\"{right}\" y=\"{above}\" text-anchor=\"end\" font-size=\"{font}\">{shown}</text>",
                top = rows.start,
                size = (to - from).max(1),
                height = rows.end - rows.start,
                bottom = rows.end,
                right = columns.end,
                above = rows.start - 7 * UNITS as i32,
                font = TEXT * f64::from(UNITS),
            ));
            for (role, y) in &reading.points {
                let (x, y) = at(reading.x, *y);
                let radius = 4 * UNITS;
                drawn.push_str(&format!(
                    "<circle class=\"fill-{}\" cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"/>",
                    role.class()
                ));
            }
            drawn.push_str("</g>");
        }
        drawn
    }

    fn draw_axes<B: DrawingBackend>(&self, chart: &mut Context<'_, B>, width: u32, height: u32) -> Result<(), Error> {
        let text = ("sans-serif", TEXT * OF_TEXT * f64::from(UNITS)).into_font().color(&Role::Text.colour());
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(stroke(Role::Grid, 1.0))
            .axis_style(stroke(Role::Axis, 1.0))
            .label_style(text)
            .set_all_tick_mark_size(5 * UNITS)
            .x_labels(self.x.labels(width / 60))
            .y_labels(self.y.labels((height / 36).max(if height < 150 { 3 } else { 6 })))
            .x_label_formatter(&|x| self.x.label(*x))
            .y_label_formatter(&|y| self.y.label(*y))
            .draw()
            .map_err(failed)
    }

    fn draw<B: DrawingBackend>(&self, chart: &mut Context<'_, B>, layer: &Layer) -> Result<(), Error> {
        match layer {
            Layer::Bars(role, bars) => {
                let bar = |(x, y): &(Range<f64>, Range<f64>)| {
                    Rectangle::new([(x.start, y.end), (x.end, y.start)], role.colour().filled())
                };
                chart.draw_series(bars.iter().map(bar)).map_err(failed)?;
            }
            Layer::Line(role, points) => {
                let line = PathElement::new(points.clone(), stroke(*role, width(*role)));
                chart.draw_series([line]).map_err(failed)?;
            }
            Layer::Dots(role, points) => {
                let dot = |point: &Point| Circle::new(*point, 7 * UNITS / 2, role.colour().filled());
                chart.draw_series(points.iter().map(dot)).map_err(failed)?;
            }
            Layer::Points(role, points) => {
                let dot = |point: &Point| Circle::new(*point, 9 * UNITS / 4, role.colour().filled());
                chart.draw_series(points.iter().map(dot)).map_err(failed)?;
            }
            Layer::Verticals(role, places) => {
                let Range { start, end } = self.y.range;
                let line = |x: &f64| PathElement::new(vec![(*x, start), (*x, end)], stroke(*role, width(*role)));
                chart.draw_series(places.iter().map(line)).map_err(failed)?;
            }
        }
        Ok(())
    }
}

type Area<B> = DrawingArea<B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Context<'a, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

impl Axis {
    /// A little wider: a label at an end must not be lost because 0.6 + 4 * 0.2 is more than 1.4.
    fn shown(&self) -> Range<f64> {
        let Range { start, end } = self.range;
        let little = (end - start) * 1e-9;
        start - little..end + little
    }

    fn labels(&self, room: u32) -> usize {
        let room = room.max(2) as usize;
        // plotters steps by 1, 2 or 5 times a power of ten, the smallest that gives no more labels than this.
        match self.unit {
            Unit::Count | Unit::Power => room.min((self.range.end - self.range.start).floor() as usize + 1),
            Unit::Percent | Unit::Number => room,
        }
    }

    fn label(&self, value: f64) -> String {
        match self.unit {
            Unit::Count => count(value.round() as usize),
            Unit::Percent => format!("{}%", significant(value * 100.0, 2)),
            Unit::Number => significant(value, self.digits()),
            Unit::Power => significant(10_f64.powf(value), 2),
        }
    }

    /// As many digits as tell two labels apart: accuracies from 0.9001 to 0.9004 are not all 0.9.
    fn digits(&self) -> usize {
        let Range { start, end } = self.range;
        let spans = start.abs().max(end.abs()) / (end - start);
        (spans.log10().ceil() as usize + 2).clamp(3, 7)
    }
}

/// A range that shows all `values` and ends in round numbers; a single value gets some room around it.
pub(super) fn around(values: impl IntoIterator<Item = f64>) -> Range<f64> {
    let (low, high) = values
        .into_iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return 0.0..1.0;
    }
    // What differs by rounding alone is one value; plotters would not come to an end between two neighbours of f64.
    let same = high - low <= high.abs().max(low.abs()) * 1e-6;
    // Nothing but zeros: some height has to be.
    if high == 0.0 && same {
        return 0.0..1.0;
    }
    let air = if same { (high.abs() * 0.1).max(1e-6) } else { 0.0 };
    // What is never negative, such as a loss, is not shown as if it could be.
    let start = if low >= 0.0 { (low - air).max(0.0) } else { low - air };
    round(start..high + air)
}

/// The range made larger until it begins and ends with a label.
pub(super) fn round(range: Range<f64>) -> Range<f64> {
    let size = range.end - range.start;
    let power = 10_f64.powf((size / 5.0).log10().floor());
    let intervals = |step: f64| (range.end / step - 1e-6).ceil() - (range.start / step + 1e-6).floor();
    let step = [1.0, 2.0, 5.0, 10.0, 20.0].into_iter().map(|digit| digit * power).find(|step| intervals(*step) <= 5.0);
    let step = step.unwrap_or(size);
    // 0.30000000000000004 is on the label 0.3.
    let (start, end) = (range.start / step, range.end / step);
    let (start, end) = ((start + 1e-6).floor() * step, (end - 1e-6).ceil() * step);
    // Products of steps that are no binary fractions: as the label is written.
    let exact = |value: f64| format!("{value:.12e}").parse().unwrap_or(value);
    exact(start)..exact(end)
}

/// As many of the readings as can be told apart, those with a point of validation before others.
fn chosen(readings: &[Reading], most: usize) -> Vec<&Reading> {
    let is_rare = |reading: &Reading| reading.points.iter().any(|(role, _)| *role == Role::Valid);
    let rare = readings.iter().filter(|reading| is_rare(reading)).count();
    let room = most.saturating_sub(rare).max(1);
    let every = (readings.len() - rare).div_ceil(room).max(1);
    let every_rare = rare.div_ceil(most).max(1);
    let (mut seen, mut seen_rare) = (0_usize, 0_usize);
    let mut keep = |reading: &&Reading| {
        let (seen, every) = if is_rare(reading) { (&mut seen_rare, every_rare) } else { (&mut seen, every) };
        *seen += 1;
        (*seen - 1).is_multiple_of(every)
    };
    readings.iter().filter(|reading| keep(reading)).collect()
}

/// The same from zero, for what has a meaningful zero.
pub(super) fn from_zero(values: impl IntoIterator<Item = f64>) -> Range<f64> {
    let high = values.into_iter().fold(0.0, f64::max);
    if high > 0.0 { round(0.0..high) } else { 0.0..1.0 }
}

fn width(role: Role) -> f64 {
    match role {
        Role::Train | Role::Valid | Role::Run(_) => 1.75,
        Role::Mark => 1.25,
        Role::Text | Role::Axis | Role::Grid | Role::Raw | Role::Bar | Role::Point | Role::Gap | Role::Guide => 1.0,
    }
}

fn stroke(role: Role, pixels: f64) -> ShapeStyle {
    let colour: RGBColor = role.colour();
    colour.stroke_width((pixels * f64::from(UNITS)) as u32)
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Plot(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(x: Range<f64>, y: Range<f64>, layers: Vec<Layer>) -> Plot {
        let (x, y) = (Axis { range: x, unit: Unit::Count }, Axis { range: y, unit: Unit::Number });
        let chart = Chart { id: "c", title: "loss", description: String::new(), x, y, layers, readings: Vec::new() };
        chart.plot(300, 200).expect("drawn in memory")
    }

    /// The labels on the left, `end`, or those below, `middle`.
    fn labels<'a>(plot: &'a Plot, anchor: &str) -> Vec<&'a str> {
        let texts = plot.body.split("<text").skip(1).filter(|text| text.contains(anchor));
        texts.filter_map(|text| text.split_once('>')?.1.split('<').next()).collect()
    }

    #[test]
    fn only_classes_colour_a_plot() {
        let body = chart(1.0..9.0, 0.0..1.0, vec![Layer::Line(Role::Train, vec![(1.0, 0.0), (9.0, 1.0)])]).body;
        assert!(body.contains("class=\"line-train\""), "{body}");
        assert!(!body.contains('#') && !body.contains("xmlns"), "{body}");
    }

    #[test]
    fn three_steps_are_labelled_once_each() {
        assert_eq!(labels(&chart(1.0..3.0, 0.0..1.0, Vec::new()), "middle"), ["1", "2", "3"]);
    }

    #[test]
    fn labels_have_the_digits_that_tell_them_apart() {
        let plot = chart(1.0..3.0, around([0.9001, 0.9004]), Vec::new());
        assert_eq!(labels(&plot, "\"end\""), ["0.9001", "0.9002", "0.9003", "0.9004"]);
    }

    #[test]
    fn an_axis_begins_and_ends_with_a_label() {
        assert_eq!((round(0.0..2.7), round(0.31..0.48), round(3.2..41.7)), (0.0..3.0, 0.3..0.5, 0.0..50.0));
        assert_eq!((round(0.0..1.0), round(-0.05..0.93)), (0.0..1.0, -0.5..1.0));
        let plot = chart(1.0..3.0, around([0.75, 1.379]), Vec::new());
        assert_eq!(labels(&plot, "\"end\""), ["0.6", "0.8", "1", "1.2", "1.4"]);
        let plot = chart(1.0..3.0, around([3.2, 41.7]), Vec::new());
        assert_eq!(labels(&plot, "\"end\""), ["0", "10", "20", "30", "40", "50"]);
    }

    #[test]
    fn a_range_has_room_for_one_value_and_for_none() {
        let range = around([2.0]);
        assert!(range.start < 2.0 && range.end > 2.0 && range.start > 1.0 && range.end < 3.0, "{range:?}");
        assert_eq!(around([]), 0.0..1.0);
        assert_eq!((around([0.0, 0.0]), around([0.0, 1.0])), (0.0..1.0, 0.0..1.0));
        let third = 1.0 / 3.0_f64;
        assert!(around([third, third.next_up()]).end > 0.36, "two neighbours are one value");
        assert_eq!(from_zero([0.0]), 0.0..1.0);
    }

    #[test]
    fn of_many_readings_those_of_evaluations_stay() {
        let reading = |x: usize| Reading {
            x: x as f64,
            text: String::new(),
            short: Vec::new(),
            points: vec![(if x.is_multiple_of(100) { Role::Valid } else { Role::Train }, 0.0)],
        };
        let readings: Vec<Reading> = (1..=1000).map(reading).collect();
        let found = chosen(&readings, 50);
        assert!(found.len() <= 51, "{}", found.len());
        assert_eq!(found.iter().filter(|reading| reading.x % 100.0 == 0.0).count(), 10);
    }

    /// Steps of a `metrics.jsonl` that somebody changed may be any numbers.
    #[test]
    fn readings_far_beyond_the_axis_are_drawn() {
        let reading = |x: f64| Reading { x, text: String::new(), short: Vec::new(), points: vec![(Role::Train, 0.5)] };
        let readings = vec![reading(1.0), reading(1e300), reading(2e300)];
        let (x, y) = (Axis { range: 0.0..2.0, unit: Unit::Count }, Axis { range: 0.0..1.0, unit: Unit::Number });
        let chart = Chart { id: "c", title: "t", description: String::new(), x, y, layers: Vec::new(), readings };
        let body = chart.plot(300, 200).expect("drawn in memory").body;
        assert_eq!(body.matches("<g class=\"reading\">").count(), 3, "{body}");
    }

    #[test]
    fn what_is_read_off_is_text() {
        let (x, y) = (Axis { range: 0.0..2.0, unit: Unit::Count }, Axis { range: 0.0..1.0, unit: Unit::Number });
        let readings =
            vec![Reading { x: 1.0, text: "<b>&".to_string(), short: Vec::new(), points: vec![(Role::Train, 0.5)] }];
        let chart = Chart { id: "c", title: "t", description: String::new(), x, y, layers: Vec::new(), readings };
        let body = chart.plot(300, 200).expect("drawn in memory").body;
        assert!(body.contains("<title>&lt;b&gt;&amp;</title>") && body.contains("class=\"fill-train\""), "{body}");
    }
}
