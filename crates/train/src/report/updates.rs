//! How far training moved each module: a table of layers by modules where the paths have that form, as a transformer's
//! do, and a list of bars for the rest.

use std::collections::BTreeMap;

use serde::Serialize;

use super::heat::shade;
use super::number::fixed;
use super::record::Update;

/// Of a norm as of its per cent.
const DECIMALS: usize = 2;

#[derive(Debug, Serialize)]
pub(super) struct Section {
    /// In per cent of the weight's norm.
    relative: bool,
    tables: Vec<Table>,
    bars: Vec<Bar>,
}

#[derive(Debug, Serialize)]
struct Table {
    /// What the paths begin with, up to the layer's number.
    prefix: String,
    columns: Vec<Column>,
    rows: Vec<Row>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Column {
    path: String,
    /// As much of the path's end as no other column has.
    name: String,
}

#[derive(Debug, Serialize)]
struct Row {
    layer: usize,
    /// `None` where the layer has no such module.
    cells: Vec<Option<Cell>>,
    mean: Bar,
}

#[derive(Debug, Serialize)]
struct Cell {
    size: String,
    shade: u8,
}

#[derive(Debug, PartialEq, Serialize)]
struct Bar {
    name: String,
    size: String,
    /// Of the largest, in per cent.
    length: f64,
}

/// A module's path, taken apart at its layer's number.
struct InLayer<'a> {
    prefix: &'a str,
    layer: usize,
    rest: &'a str,
}

pub(super) fn section(updates: &[Update]) -> Option<Section> {
    let relative = updates.iter().all(|update| update.relative.is_some());
    let size = |update: &Update| match update.relative {
        Some(share) if relative => share * 100.0,
        _ => update.norm,
    };
    let sized: Vec<(&str, f64)> = updates.iter().map(|update| (update.module.as_str(), size(update))).collect();
    if sized.is_empty() {
        return None;
    }
    let mut tables: BTreeMap<&str, Vec<(InLayer<'_>, f64)>> = BTreeMap::new();
    let mut rest = Vec::new();
    for (module, size) in &sized {
        match in_layer(module) {
            Some(place) => tables.entry(place.prefix).or_default().push((place, *size)),
            None => rest.push((*module, *size)),
        }
    }
    let rest_largest = largest(rest.iter().map(|(_, size)| *size));
    Some(Section {
        relative,
        tables: tables.into_iter().map(|(prefix, modules)| table(prefix, &modules)).collect(),
        bars: rest.into_iter().map(|(module, size)| Bar::new(module, size, rest_largest)).collect(),
    })
}

/// The first part of a path that is a number, with something behind it.
fn in_layer(module: &str) -> Option<InLayer<'_>> {
    let mut start = 0;
    for part in module.split('.') {
        let end = start + part.len();
        if let (Ok(layer), Some(rest)) = (part.parse(), module.get(end + 1..)) {
            return Some(InLayer { prefix: module[..start].trim_end_matches('.'), layer, rest });
        }
        start = end + 1;
    }
    None
}

fn largest(sizes: impl Iterator<Item = f64>) -> f64 {
    sizes.filter(|size| size.is_finite()).fold(0.0, f64::max)
}

fn table(prefix: &str, modules: &[(InLayer<'_>, f64)]) -> Table {
    let mut paths: Vec<&str> = Vec::new();
    let mut layers: BTreeMap<usize, Vec<(&str, f64)>> = BTreeMap::new();
    for (place, size) in modules {
        if !paths.contains(&place.rest) {
            paths.push(place.rest);
        }
        layers.entry(place.layer).or_default().push((place.rest, *size));
    }
    let greatest = largest(modules.iter().map(|(_, size)| *size));
    let mean = |of: &[(&str, f64)]| of.iter().map(|(_, size)| size).sum::<f64>() / of.len() as f64;
    let greatest_mean = largest(layers.values().map(|of| mean(of)));
    let row = |(layer, of): (&usize, &Vec<(&str, f64)>)| {
        let cell = |path: &&str| {
            let (_, size) = of.iter().find(|(other, _)| other == path)?;
            Some(Cell { size: fixed(*size, DECIMALS), shade: shade(size / greatest) })
        };
        let mean = Bar::new("", mean(of), greatest_mean);
        Row { layer: *layer, cells: paths.iter().map(cell).collect(), mean }
    };
    Table { prefix: prefix.to_string(), columns: columns(&paths), rows: layers.iter().map(row).collect() }
}

fn columns(paths: &[&str]) -> Vec<Column> {
    let ends_others = |path: &str, end: &str| {
        paths.iter().any(|other| *other != path && (*other == end || other.ends_with(&format!(".{end}"))))
    };
    let name = |path: &str| {
        let ends = path.rmatch_indices('.').map(|(dot, _)| &path[dot + 1..]);
        ends.chain([path]).find(|end| !ends_others(path, end)).unwrap_or(path).to_string()
    };
    paths.iter().map(|path| Column { path: path.to_string(), name: name(path) }).collect()
}

impl Bar {
    fn new(name: &str, size: f64, largest: f64) -> Self {
        let length = if largest > 0.0 && size.is_finite() { (size / largest * 1000.0).round() / 10.0 } else { 0.0 };
        Self { name: name.to_string(), size: fixed(size, DECIMALS), length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(module: &str, norm: f64) -> Update {
        Update { module: module.to_string(), norm, relative: None }
    }

    #[test]
    fn modules_of_layers_form_a_table_and_others_a_list() {
        let updates = [
            update("model.layers.0.self_attn.q_proj", 1.0),
            update("model.layers.0.self_attn.v_proj", 3.0),
            update("model.layers.10.self_attn.q_proj", 4.0),
            update("score", 0.5),
        ];
        let found = section(&updates).expect("there are updates");
        let table = &found.tables[0];
        assert_eq!(table.prefix, "model.layers");
        assert_eq!(table.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["q_proj", "v_proj"]);
        assert_eq!(table.rows.iter().map(|row| row.layer).collect::<Vec<_>>(), [0, 10]);
        assert!(table.rows[1].cells[1].is_none());
        assert_eq!((table.rows[0].mean.size.as_str(), table.rows[0].mean.length), ("2.00", 50.0));
        assert_eq!(found.bars, [Bar { name: "score".to_string(), size: "0.50".to_string(), length: 100.0 }]);
        assert!(section(&[]).is_none());
    }

    #[test]
    fn a_column_is_called_by_what_tells_it_from_others() {
        let found = columns(&["attention.self.query", "attention.output.dense", "intermediate.dense", "output.dense"]);
        let names: Vec<&str> = found.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["query", "attention.output.dense", "intermediate.dense", "output.dense"]);
    }

    #[test]
    fn relative_sizes_are_shown_only_if_all_are_known() {
        let known = Update { relative: Some(0.01), ..update("a", 1.0) };
        let found = section(std::slice::from_ref(&known)).expect("there is an update");
        assert_eq!((found.relative, found.bars[0].size.as_str()), (true, "1.00"));
        assert!(section(&[known, update("b", 1.0)]).is_some_and(|found| !found.relative));
    }

    #[test]
    fn nothing_moved_is_shown_as_nothing() {
        let found = section(&[update("layers.0.q", 0.0), update("head", 0.0)]).expect("there are updates");
        assert_eq!(found.bars[0].length, 0.0);
        assert!(found.tables[0].rows[0].cells[0].as_ref().is_some_and(|cell| cell.shade == 0));
    }
}
