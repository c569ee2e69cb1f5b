//! What to suggest for a name that does not exist: the nearest one where one is near, otherwise the names there are. One
//! rule and one wording for the whole workspace, as there is for numbers in messages.

mod count;
mod module;

use std::fs;
use std::path::{Path, PathBuf};

pub use count::{counted, thousands};
pub use module::{module_suggestion, nearest_module};

/// A list longer than this is cut: nobody reads a thousand class names, and the count says how many there are.
const LISTED: usize = 20;

/// More letters that differ are another word.
const MOST_EDITS: usize = 3;

/// A word of this many letters or more says what was meant when another name goes on after it.
const SHORTEST_BEGINNING: usize = 4;

/// The known name nearest to `name`, if it is near enough to be a slip of the finger: at most a third of the longer
/// name's letters differ, and never more than three. Where there is none, the first name of which `name` is a
/// beginning, or the reverse (`validation` for `valid`). Letter case does not count as a difference.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = name.to_lowercase();
    let mut begins_alike = None;
    let slip = known
        .into_iter()
        .filter_map(|candidate| {
            let lower = candidate.to_lowercase();
            if begins_alike.is_none() && (goes_on(&typed, &lower) || goes_on(&lower, &typed)) {
                begins_alike = Some(candidate);
            }
            let (of_typed, of_candidate) = (typed.chars().count(), lower.chars().count());
            let most = (of_typed.max(of_candidate) / 3).min(MOST_EDITS);
            // Each letter more is an edit. The distance's table has a row for each letter: for megabytes there should be none.
            let is_near = of_typed.abs_diff(of_candidate) <= most;
            let edits = is_near.then(|| strsim::damerau_levenshtein(&typed, &lower))?;
            (edits <= most).then_some((edits, candidate))
        })
        // The first of several equally near ones, so that a message does not depend on anything but the order given.
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate);
    slip.or(begins_alike)
}

/// Whether `longer` is `word` with more letters after it: `validation` of `valid`, but not `model.path` of `model`.
fn goes_on(word: &str, longer: &str) -> bool {
    word.chars().count() >= SHORTEST_BEGINNING
        && longer.strip_prefix(word).is_some_and(|rest| rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// The path in the same directory whose name is nearest to that of `path`, among those that `is_meant` takes.
pub fn nearest_path(path: &Path, is_meant: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = fs::read_dir(directory).ok()?.flatten().filter(|entry| is_meant(&entry.path()));
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    // The order of a directory is nobody's.
    names.sort();
    Some(path.with_file_name(nearest(name, names.iter().map(String::as_str))?))
}

/// ``did you mean `x`?`` or `known: a, b, c`.
pub fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(name, known.clone()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => format!("known: {}", list(known)),
    }
}

/// `a, b, c`, cut after twenty.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    if names.len() <= LISTED {
        return names.join(", ");
    }
    format!("{}, ... ({} in all)", names[..LISTED].join(", "), names.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [&str; 3] = ["negative", "neutral", "positive"];

    #[test]
    fn a_slip_of_the_finger_finds_its_name() {
        assert_eq!(nearest("positve", LABELS), Some("positive"));
        assert_eq!(nearest("NEUTRAL", LABELS), Some("neutral"));
        assert_eq!(nearest("txet", ["label", "text"]), Some("text"));
        // Three letters allow one edit, which a transposition is; two substitutions would be too many.
        assert_eq!((nearest("abc", ["acb"]), nearest("abc", ["axx"])), (Some("acb"), None));
    }

    #[test]
    fn a_name_that_goes_on_finds_its_beginning_unless_another_is_nearer() {
        assert_eq!(nearest("validation", ["train", "valid", "valid_fraction"]), Some("valid"));
        assert_eq!(nearest("warmup", ["warmup_ratio", "weight_decay"]), Some("warmup_ratio"));
        assert_eq!(nearest("labels", ["label_smoothing", "label"]), Some("label"));
        assert_eq!(nearest("model.path", ["model"]), None, "a path is another thing than its first name");
        assert_eq!(nearest("abcdef", ["abc"]), None, "three letters are the beginning of too much");
    }

    #[test]
    fn a_different_word_finds_none() {
        assert_eq!(nearest("sentence", ["text", "label"]), None);
        assert_eq!(nearest("ab", ["ac"]), None, "one of two letters is half the name");
        assert_eq!(nearest(&"a".repeat(1 << 22), ["temperature"]), None, "however long it is");
        assert_eq!(nearest("abcdefghijkl", ["abcdefghwxyz"]), None, "four edits are too many at any length");
    }

    #[test]
    fn a_path_is_suggested_as_it_was_typed() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("train.csv"), "").unwrap();
        fs::create_dir(directory.path().join("trains")).unwrap();
        let typed = directory.path().join("trian.csv");
        assert_eq!(nearest_path(&typed, |_| true), Some(directory.path().join("train.csv")));
        assert_eq!(nearest_path(&directory.path().join("train"), Path::is_dir), Some(directory.path().join("trains")));
        assert_eq!(nearest_path(&typed, Path::is_dir), None);
        assert_eq!(nearest_path(&directory.path().join("none/train.csv"), |_| true), None);
    }

    #[test]
    fn a_suggestion_names_the_nearest_or_lists_all() {
        assert_eq!(suggestion("positve", LABELS), "did you mean `positive`?");
        assert_eq!(suggestion("spam", LABELS), "known: negative, neutral, positive");
    }

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let names: Vec<String> = (0..22).map(|n| n.to_string()).collect();
        let listed = list(names.iter().map(String::as_str));
        assert!(listed.ends_with("18, 19, ... (22 in all)"), "{listed}");
    }
}
