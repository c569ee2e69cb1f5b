//! `docs/dependencies.md` names every direct dependency.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names under `[dependencies]` and `[dev-dependencies]` of the workspace's crates, on any system, without those crates.
fn direct() -> BTreeSet<String> {
    let manifests = fs::read_dir(root().join("crates"))
        .expect("the crates")
        .map(|entry| entry.expect("a crate").path().join("Cargo.toml"));
    let mut names = BTreeSet::new();
    let mut own = BTreeSet::new();
    for manifest in manifests {
        let manifest: toml::Table = fs::read_to_string(manifest).expect("a manifest").parse().expect("TOML");
        own.insert(manifest["package"]["name"].as_str().expect("a name").to_owned());
        let of_systems =
            manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values);
        for manifest in of_systems.filter_map(toml::Value::as_table).chain([&manifest]) {
            for section in ["dependencies", "dev-dependencies"] {
                let dependencies = manifest.get(section).and_then(toml::Value::as_table);
                names.extend(dependencies.into_iter().flat_map(toml::Table::keys).cloned());
            }
        }
    }
    names.difference(&own).cloned().collect()
}

#[test]
fn every_direct_dependency_is_in_the_list_and_nothing_else() {
    let page = fs::read_to_string(root().join("docs/dependencies.md")).expect("the page");
    let first_cell = |line: &str| Some(line.strip_prefix("| `")?.split(" |").next()?.to_owned());
    let cells: Vec<String> = page.lines().filter_map(first_cell).collect();
    let listed = cells.iter().flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`').to_owned());
    assert_eq!(listed.collect::<BTreeSet<_>>(), direct());
}
