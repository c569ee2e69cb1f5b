//! What people call the columns of data sets.

/// Labels, the likeliest first.
const LABELS: [&str; 18] = [
    "label",
    "labels",
    "class",
    "category",
    "target",
    "intent",
    "sentiment",
    "topic",
    "emotion",
    "stance",
    "polarity",
    "rating",
    "stars",
    "score",
    "answer",
    "type",
    "tag",
    "y",
];

/// Numbers of rows, which are as many as there are rows or point to some.
const ROW_NUMBERS: [&str; 11] = ["", "id", "idx", "index", "row", "guid", "uuid", "uid", "qid", "pairid", "unnamed: 0"];

/// Few values, but nothing that a text says about itself.
const NO_LABELS: [&str; 8] = ["split", "fold", "set", "source", "lang", "language", "year", "version"];

/// First and second text.
const PAIRS: [(&str, &str); 11] = [
    ("text", "text_pair"),
    ("premise", "hypothesis"),
    ("question", "answer"),
    ("question", "sentence"),
    ("question", "passage"),
    ("question", "context"),
    ("query", "passage"),
    ("query", "document"),
    ("claim", "evidence"),
    ("prompt", "response"),
    ("context", "response"),
];

/// How well a name says that it is a label; 0 is best. `Class Index` and `coarse_label` say it less well than all that
/// say nothing else.
pub(super) fn label_rank(name: &str) -> Option<usize> {
    let name = name.to_lowercase();
    if let Some(rank) = LABELS.iter().position(|label| *label == name) {
        return Some(rank);
    }
    let mut words = name.split(|c: char| !c.is_alphanumeric());
    words.any(|word| word.len() > 1 && LABELS.contains(&word)).then_some(LABELS.len())
}

/// Whether the name says that it is a label, and nothing else.
pub(super) fn is_label(name: &str) -> bool {
    label_rank(name).is_some_and(|rank| rank < LABELS.len())
}

pub(super) fn is_number_of_row(name: &str) -> bool {
    let name = name.trim().to_lowercase();
    ROW_NUMBERS.contains(&name.as_str()) || ["_id", "_idx", "-id", " id"].iter().any(|end| name.ends_with(end))
}

pub(super) fn is_no_label(name: &str) -> bool {
    NO_LABELS.contains(&name.to_lowercase().as_str())
}

/// Whether the names say that these are the first and the second of two texts.
pub(super) fn pair(first: &str, second: &str) -> bool {
    let (first, second) = (first.to_lowercase(), second.to_lowercase());
    PAIRS.contains(&(first.as_str(), second.as_str())) || counted(&first, &second)
}

/// `sentence1` and `sentence2`, `text_a` and `text_b`.
fn counted(first: &str, second: &str) -> bool {
    let stem = |name: &str, end: char| name.strip_suffix(end).filter(|stem| !stem.is_empty()).map(str::to_owned);
    let numbers = (stem(first, '1'), stem(second, '2'));
    let letters = (stem(first, 'a'), stem(second, 'b'));
    let is_apart = |stem: &String| stem.ends_with(|c: char| !c.is_alphanumeric());
    match (numbers, letters) {
        ((Some(one), Some(two)), _) => one == two,
        (_, (Some(one), Some(two))) => one == two && is_apart(&one),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_known_by_their_names_and_in_their_order() {
        for (first, second) in [("sentence1", "sentence2"), ("Premise", "hypothesis"), ("sentence_A", "sentence_B")] {
            assert!(pair(first, second) && !pair(second, first), "{first}, {second}");
        }
        for (first, second) in [("title", "description"), ("1", "2"), ("data", "datb"), ("text1", "title2")] {
            assert!(!pair(first, second), "{first}, {second}");
        }
    }

    #[test]
    fn a_name_that_is_a_label_goes_before_one_that_holds_it() {
        assert!(label_rank("Label") < label_rank("category"));
        assert!(label_rank("category") < label_rank("label-coarse"));
        assert_eq!(label_rank("Class Index"), label_rank("coarse_label"));
        assert_eq!((label_rank("text"), label_rank("subclass"), label_rank("x_y")), (None, None, None));
    }

    #[test]
    fn numbers_of_rows_are_known() {
        assert!(["idx", "ID", "Unnamed: 0", "review_id", "pairID"].into_iter().all(is_number_of_row));
        assert!(!["Class Index", "idea", "label"].into_iter().any(is_number_of_row));
    }
}
