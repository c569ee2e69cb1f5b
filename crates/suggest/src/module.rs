//! Modules of a model and tensors, whose names are paths. A name may be meant as the last segments of one, which are what
//! all layers have in common.

use indexmap::IndexSet;

use crate::{list, nearest};

/// The known path nearest to `name`, or its last segments: `name` is also compared with the last one and two segments of
/// each and with as many as it has, and what is found is that suffix, which names the module in every layer.
pub fn nearest_module<'a>(name: &str, paths: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_of(name, &paths.into_iter().collect())
}

/// ``did you mean `x`?``, or the last segments there are.
pub fn module_suggestion<'a>(name: &str, paths: impl IntoIterator<Item = &'a str>) -> String {
    let paths: IndexSet<&str> = paths.into_iter().collect();
    if let Some(near) = nearest_of(name, &paths) {
        return format!("did you mean `{near}`?");
    }
    let names: IndexSet<&str> = paths.iter().filter_map(|path| suffix(path, 1)).collect();
    match names.is_empty() {
        true => "known: none".to_owned(),
        false => format!("known: {}", list(names)),
    }
}

fn nearest_of<'a>(name: &str, paths: &IndexSet<&'a str>) -> Option<&'a str> {
    let suffixes = [1, 2, name.split('.').count()]
        .into_iter()
        .flat_map(|segments| paths.iter().filter_map(move |path| suffix(path, segments)));
    let candidates: IndexSet<&str> = suffixes.chain(paths.iter().copied()).collect();
    nearest(name, candidates)
}

/// The last `segments` segments of a path; none if it has fewer, or if they start with a layer's number, which says
/// nothing about the other layers.
fn suffix(path: &str, segments: usize) -> Option<&str> {
    let start = match path.rmatch_indices('.').nth(segments - 1) {
        Some((dot, _)) => dot + 1,
        None if path.split('.').count() == segments => 0,
        None => return None,
    };
    let suffix = &path[start..];
    let numbered = start > 0 && suffix.starts_with(|first: char| first.is_ascii_digit());
    (!numbered).then_some(suffix)
}

#[cfg(test)]
mod tests {
    use super::module_suggestion;

    const BERT: [&str; 4] = [
        "bert.encoder.layer.0.attention.self.query",
        "bert.encoder.layer.0.attention.self.value",
        "bert.encoder.layer.0.attention.output.dense",
        "bert.encoder.layer.0.output.dense",
    ];

    #[test]
    fn a_path_is_suggested_by_its_last_segments() {
        assert_eq!(module_suggestion("qurey", BERT), "did you mean `query`?");
        assert_eq!(module_suggestion("output.dens", BERT), "did you mean `output.dense`?");
        assert_eq!(module_suggestion("attention.outptu.dense", BERT), "did you mean `attention.output.dense`?");
    }

    #[test]
    fn a_full_path_is_corrected_in_full() {
        assert_eq!(
            module_suggestion("bert.encoder.layer.0.attention.self.qurey", BERT),
            "did you mean `bert.encoder.layer.0.attention.self.query`?"
        );
    }

    #[test]
    fn distinct_last_segments_are_listed_when_nothing_is_near() {
        assert_eq!(module_suggestion("q_proj", BERT), "known: query, value, dense");
        assert_eq!(module_suggestion("q_proj", ["layers.0", "layers.1"]), "known: none");
    }
}
