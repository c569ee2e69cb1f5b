//! The pages of `kindling inspect`: what an adapter changes, module by module, and how two adapters lie to one another.

use lora::peft::Program;
use lora::{Angles, Spectrum};
use serde::Serialize;

use super::heat::shade;
use super::number::{fixed, significant};
use super::record::Update;
use super::{Error, render, updates};
use crate::output::counted;

/// What an adapter does to a module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ModuleUpdate {
    pub(crate) module: String,
    /// The Frobenius norm.
    pub(crate) norm: f64,
    /// Over that of the weight, where that is known.
    pub(crate) relative: Option<f64>,
    /// Of a low-rank update.
    pub(crate) spectrum: Option<Spectrum>,
}

#[derive(Debug)]
pub(crate) struct AdapterPage<'a> {
    pub(crate) title: &'a str,
    pub(crate) facts: Vec<(&'a str, String)>,
    pub(crate) programs: &'a [Program],
    pub(crate) updates: &'a [ModuleUpdate],
    /// What it changes is known on its base alone, which was not at hand.
    pub(crate) needs_base: bool,
}

/// How the updates of a module lie to one another.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ModulePair {
    pub(crate) module: String,
    /// `None` where one of them is nothing, as are the angles.
    pub(crate) cosine: Option<f64>,
    pub(crate) angles: Option<Angles>,
}

#[derive(Debug)]
pub(crate) struct PairPage<'a> {
    pub(crate) names: &'a [String; 2],
    pub(crate) modules: &'a [ModulePair],
    /// Of all updates together.
    pub(crate) cosine: Option<f64>,
    /// Modules that one of them alone adapts.
    pub(crate) alone: &'a [Vec<String>; 2],
}

const STYLE: &str = concat!(include_str!("style.css"), include_str!("adapter.css"));

#[derive(Serialize)]
struct Page<'a> {
    style: &'static str,
    kind: &'static str,
    title: &'a str,
    facts: &'a [(&'a str, String)],
    programs: Vec<Loads<'a>>,
    moved: Option<updates::Section>,
    spectra: Vec<Row<'a>>,
    needs_base: bool,
    pair: Option<Pairs<'a>>,
}

#[derive(Serialize)]
struct Loads<'a> {
    name: &'a str,
    obstacles: Vec<String>,
}

#[derive(Serialize)]
struct Row<'a> {
    module: &'a str,
    rank: usize,
    effective: String,
    /// Of the rank, in per cent.
    length: f64,
    rank_90: usize,
    rank_99: usize,
    largest: String,
    columns: String,
    /// What the columns say, for whoever does not see them.
    values: String,
}

#[derive(Serialize)]
struct Pairs<'a> {
    names: &'a [String; 2],
    rows: Vec<PairRow<'a>>,
    alone: Vec<Alone<'a>>,
}

/// What one of the adapters alone adapts.
#[derive(Serialize)]
struct Alone<'a> {
    name: &'a str,
    count: String,
    modules: &'a [String],
}

#[derive(Serialize)]
struct PairRow<'a> {
    module: &'a str,
    cosine: String,
    /// `r3`, or `w3` of a negative one.
    class: String,
    outputs: Vec<String>,
    inputs: Vec<String>,
}

impl AdapterPage<'_> {
    pub(crate) fn html(&self) -> Result<String, Error> {
        let size = |update: &ModuleUpdate| Update {
            module: update.module.clone(),
            norm: update.norm,
            relative: update.relative,
        };
        let sizes: Vec<Update> = self.updates.iter().map(size).collect();
        let row = |update| Row::of(update);
        page(&Page {
            style: STYLE,
            kind: "Adapter",
            title: self.title,
            facts: &self.facts,
            programs: self.programs.iter().map(Loads::of).collect(),
            moved: updates::section(&sizes),
            spectra: self.updates.iter().filter_map(row).collect(),
            needs_base: self.needs_base,
            pair: None,
        })
    }
}

impl PairPage<'_> {
    pub(crate) fn html(&self) -> Result<String, Error> {
        let title = format!("{} and {}", self.names[0], self.names[1]);
        let alone = self.names.iter().zip(self.alone).filter(|(_, alone)| !alone.is_empty());
        let cosine = self.cosine.map_or("–".to_string(), |cosine| fixed(cosine, 4));
        page(&Page {
            style: STYLE,
            kind: "Two adapters",
            title: &title,
            facts: &[("Cosine of all updates", cosine), ("Modules of both", self.modules.len().to_string())],
            programs: Vec::new(),
            moved: None,
            spectra: Vec::new(),
            needs_base: false,
            pair: Some(Pairs {
                names: self.names,
                rows: self.modules.iter().map(PairRow::of).collect(),
                alone: alone.map(Alone::of).collect(),
            }),
        })
    }
}

fn page(page: &Page<'_>) -> Result<String, Error> {
    render(include_str!("adapter.html"), page)
}

impl<'a> Loads<'a> {
    /// Names stand out by themselves on a page.
    fn of(program: &'a Program) -> Self {
        let obstacles = program.obstacles.iter().map(|obstacle| obstacle.replace('`', ""));
        Self { name: program.name, obstacles: obstacles.collect() }
    }
}

/// The width of the drawing of singular values, and its height, in its own units.
const WIDTH: usize = 160;
const HEIGHT: f64 = 30.0;

impl<'a> Row<'a> {
    /// `None` for an update without singular values.
    fn of(update: &'a ModuleUpdate) -> Option<Self> {
        let spectrum = update.spectrum.as_ref()?;
        let values = &spectrum.singular_values;
        let largest = values.first().copied().unwrap_or_default();
        let effective = spectrum.effective_rank();
        let shown: Vec<String> = values.iter().take(8).map(|value| significant(*value, 3)).collect();
        let more = if values.len() > shown.len() { ", .." } else { "" };
        Some(Self {
            module: &update.module,
            rank: values.len(),
            effective: fixed(effective, 1),
            length: (effective / values.len().max(1) as f64 * 1000.0).round() / 10.0,
            rank_90: spectrum.rank_of_energy(0.9),
            rank_99: spectrum.rank_of_energy(0.99),
            largest: significant(largest, 3),
            columns: columns(values),
            values: format!("{}{more}", shown.join(", ")),
        })
    }
}

/// A path of columns as high as each value is of the first. Of more than there is room for every so manieth.
fn columns(values: &[f64]) -> String {
    let largest = values.first().copied().unwrap_or_default();
    let count = values.len().min(WIDTH / 2);
    let pitch = (WIDTH / count.max(1)).min(10);
    let column = |n: usize| {
        let share = if largest > 0.0 { values[n * values.len() / count] / largest } else { 0.0 };
        let height = (share * HEIGHT * 10.0).round() / 10.0;
        format!("M{} {HEIGHT}v-{height}h{}v{height}z", n * pitch, pitch - 1)
    };
    (0..count).map(column).collect()
}

impl<'a> Alone<'a> {
    fn of((name, modules): (&'a String, &'a Vec<String>)) -> Self {
        Self { name, count: counted(modules.len(), "module", "modules"), modules }
    }
}

impl<'a> PairRow<'a> {
    fn of(pair: &'a ModulePair) -> Self {
        let degrees = |angles: Option<&Vec<f64>>| {
            let Some(angles) = angles.filter(|angles| !angles.is_empty()) else { return vec!["–".to_string(); 3] };
            let mean = angles.iter().sum::<f64>() / angles.len() as f64;
            [angles[0], mean, angles[angles.len() - 1]].map(|angle| format!("{:.1}°", angle.to_degrees())).to_vec()
        };
        let angles = pair.angles.as_ref();
        let side = if pair.cosine.is_some_and(|cosine| cosine < 0.0) { 'w' } else { 'r' };
        Self {
            module: &pair.module,
            cosine: pair.cosine.map_or("–".to_string(), |cosine| fixed(cosine, 3)),
            class: format!("{side}{}", shade(pair.cosine.unwrap_or(0.0).abs())),
            outputs: degrees(angles.map(|angles| &angles.outputs)),
            inputs: degrees(angles.map(|angles| &angles.inputs)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(module: &str, values: &[f64]) -> ModuleUpdate {
        let spectrum = Spectrum { module: module.to_string(), singular_values: values.to_vec() };
        ModuleUpdate {
            module: module.to_string(),
            norm: spectrum.frobenius(),
            relative: Some(0.01),
            spectrum: Some(spectrum),
        }
    }

    #[test]
    fn a_page_has_the_programs_the_sizes_and_the_spectra_and_escapes_what_it_shows() {
        let programs = [
            Program { name: "PEFT", obstacles: Vec::new() },
            Program { name: "vLLM", obstacles: vec!["it knows no <head>".to_string()] },
        ];
        let updates = [update("layers.0.<q>", &[3.0, 4.0]), update("layers.1.<q>", &[1.0, 0.0])];
        let page = AdapterPage {
            title: "a & b",
            facts: Vec::new(),
            programs: &programs,
            updates: &updates,
            needs_base: false,
        };
        let page = page.html().expect("plain data");
        for shown in ["id=\"programs\"", "id=\"sizes\"", "id=\"spectra\"", "it knows no &lt;head&gt;", "a &amp; b"] {
            assert!(page.contains(shown), "{shown}");
        }
        assert!(!page.contains("<q>") && !page.contains("id=\"pair\""));
        assert!(page.contains("layers.<wbr>0.<wbr>&lt;q&gt;"), "names break at their dots");
        let unknown = AdapterPage { title: "a", facts: Vec::new(), programs: &[], updates: &[], needs_base: true };
        let page = unknown.html().expect("plain data");
        assert!(!page.contains("id=\"spectra\"") && page.contains("--model"));
    }

    #[test]
    fn two_adapters_have_a_row_for_each_module_of_both() {
        let angles = Angles { outputs: vec![0.0, std::f64::consts::FRAC_PI_2], inputs: vec![0.5, 1.0] };
        let modules = [
            ModulePair { module: "q".into(), cosine: Some(-0.5), angles: Some(angles) },
            ModulePair { module: "v".into(), cosine: None, angles: None },
        ];
        let row = PairRow::of(&modules[0]);
        assert_eq!((row.cosine.as_str(), row.class.as_str()), ("-0.500", "w5"));
        assert_eq!(row.outputs, ["0.0°", "45.0°", "90.0°"]);
        let names = ["a".to_string(), "b".to_string()];
        let alone = [vec!["k".to_string()], Vec::new()];
        let page = PairPage { names: &names, modules: &modules, cosine: Some(0.25), alone: &alone };
        let page = page.html().expect("plain data");
        assert!(page.contains("id=\"pair\"") && page.contains("0.2500") && page.contains("1 module of a alone"));
    }

    #[test]
    fn columns_are_as_high_as_their_values() {
        assert_eq!(columns(&[2.0, 1.0]), "M0 30v-30h9v30zM10 30v-15h9v15z");
        assert_eq!(columns(&[0.0]), "M0 30v-0h9v0z");
        assert_eq!(columns(&vec![1.0; 500]).matches('M').count(), WIDTH / 2);
        assert_eq!(columns(&[]), "");
    }
}
