//! The hint for a name that does not exist: the nearest known one, or the list of those that do. One function for the
//! whole workspace, so that options, columns and modules are suggested alike.

use indexmap::IndexSet;
use strsim::damerau_levenshtein;

/// Names beyond this many end in `...`.
const LISTED: usize = 12;

/// "did you mean `x`?" if a known name is within three edits and a third of the name's length, otherwise
/// "known: a, b, c".
///
/// A known name with dots is a module path: `name` is also compared with its last one and two segments and with as
/// many as `name` has, and what is suggested is that suffix, which names the module in every layer.
pub fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: IndexSet<&str> = known.into_iter().collect();
    match nearest_of(name, &known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => list(&known),
    }
}

/// The known name that [`suggest`] would ask about.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_of(name, &known.into_iter().collect())
}

fn nearest_of<'a>(name: &str, known: &IndexSet<&'a str>) -> Option<&'a str> {
    let reach = name.chars().count().div_ceil(3).min(3);
    let candidates: IndexSet<&str> = [1, 2, name.split('.').count()]
        .into_iter()
        .flat_map(|segments| known.iter().filter_map(move |path| suffix(path, segments)))
        .chain(known.iter().copied())
        .collect();
    candidates
        .into_iter()
        .map(|candidate| (damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= reach)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn list(known: &IndexSet<&str>) -> String {
    let names: IndexSet<&str> = known.iter().filter_map(|path| suffix(path, 1)).collect();
    if names.is_empty() {
        return "known: none".to_owned();
    }
    let mut shown: Vec<&str> = names.iter().copied().take(LISTED).collect();
    if names.len() > LISTED {
        shown.push("...");
    }
    format!("known: {}", shown.join(", "))
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
    use super::suggest;

    const BERT: [&str; 4] = [
        "bert.encoder.layer.0.attention.self.query",
        "bert.encoder.layer.0.attention.self.value",
        "bert.encoder.layer.0.attention.output.dense",
        "bert.encoder.layer.0.output.dense",
    ];

    #[test]
    fn the_nearest_name_is_suggested() {
        let schedules = ["constant", "linear", "cosine"];
        assert_eq!(suggest("cosin", schedules), "did you mean `cosine`?");
        assert_eq!(suggest("Linear", schedules), "did you mean `linear`?");
    }

    #[test]
    fn a_transposition_is_one_edit() {
        // Three letters allow one edit; two substitutions would be too many.
        assert_eq!(suggest("abc", ["acb"]), "did you mean `acb`?");
        assert_eq!(suggest("abc", ["axx"]), "known: axx");
    }

    #[test]
    fn four_edits_are_too_far_in_a_long_name() {
        assert_eq!(suggest("grad_accumulation", ["grad_accumulatioxyz"]), "did you mean `grad_accumulatioxyz`?");
        assert_eq!(suggest("grad_accumulation", ["grad_accumulatiwxyz"]), "known: grad_accumulatiwxyz");
    }

    #[test]
    fn a_path_is_suggested_by_its_last_segments() {
        assert_eq!(suggest("qurey", BERT), "did you mean `query`?");
        assert_eq!(suggest("output.dens", BERT), "did you mean `output.dense`?");
        assert_eq!(suggest("attention.outptu.dense", BERT), "did you mean `attention.output.dense`?");
    }

    #[test]
    fn a_full_path_is_corrected_in_full() {
        assert_eq!(
            suggest("bert.encoder.layer.0.attention.self.qurey", BERT),
            "did you mean `bert.encoder.layer.0.attention.self.query`?"
        );
    }

    #[test]
    fn distinct_last_segments_are_listed_when_nothing_is_near() {
        assert_eq!(suggest("q_proj", BERT), "known: query, value, dense");
        assert_eq!(suggest("q_proj", ["layers.0", "layers.1"]), "known: none");
    }

    #[test]
    fn twelve_names_are_listed_at_most() {
        let known: Vec<String> = ('a'..='m').map(|letter| letter.to_string().repeat(4)).collect();
        assert_eq!(
            suggest("zz", known.iter().map(String::as_str)),
            "known: aaaa, bbbb, cccc, dddd, eeee, ffff, gggg, hhhh, iiii, jjjj, kkkk, llll, ..."
        );
        assert_eq!(
            suggest("zz", known[1..].iter().map(String::as_str)),
            "known: bbbb, cccc, dddd, eeee, ffff, gggg, hhhh, iiii, jjjj, kkkk, llll, mmmm"
        );
    }
}
