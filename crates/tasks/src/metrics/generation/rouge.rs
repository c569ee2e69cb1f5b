//! ROUGE-L (Lin 2004): how much of a text and a reference stands in both in the same order. Words are those of Google's
//! rouge_score without its stemmer: lower case, runs of ASCII letters and digits. So `naïve` is two words, and a text in
//! a script that is not Latin has none.

use super::Generated;

/// The F-measure with the reference that gives the largest, 0 to 1.
pub(super) fn rouge_l(generated: &Generated<'_>) -> f64 {
    let text = generated.text.to_lowercase();
    let text = words(&text);
    generated.references.iter().map(|reference| f_measure(&text, &words(&reference.to_lowercase()))).fold(0.0, f64::max)
}

fn words(lowercase: &str) -> Vec<&str> {
    lowercase.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect()
}

/// 2PR / (P + R), where P = common / text and R = common / reference.
fn f_measure(text: &[&str], reference: &[&str]) -> f64 {
    match text.len() + reference.len() {
        0 => 0.0,
        both => 2.0 * longest_common_subsequence(text, reference) as f64 / both as f64,
    }
}

fn longest_common_subsequence(a: &[&str], b: &[&str]) -> usize {
    // `lengths[j]` is the length for the words of `a` so far and the first `j` of `b`.
    let mut lengths = vec![0; b.len() + 1];
    for word in a {
        let mut diagonal = 0;
        for (j, other) in b.iter().enumerate() {
            let above = lengths[j + 1];
            lengths[j + 1] = if word == other { diagonal + 1 } else { above.max(lengths[j]) };
            diagonal = above;
        }
    }
    lengths[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(text: &str, references: &[&str]) -> f64 {
        let references: Vec<String> = references.iter().map(ToString::to_string).collect();
        rouge_l(&Generated { text, references: &references })
    }

    #[test]
    fn order_counts_and_gaps_do_not() {
        // In common, in this order: "police the gunman", "the gunman", "a b c".
        assert_eq!(score("police kill the gunman", &["police ended the gunman"]), 0.75);
        assert_eq!(score("the gunman kill police", &["police killed the gunman"]), 0.5);
        assert_eq!(score("a b x c", &["a y b c d e"]), 0.6);
        assert_eq!(score("a", &["a a a"]), 0.5);
    }

    #[test]
    fn words_are_lower_case_runs_of_ascii_letters_and_digits() {
        assert_eq!(words(&"It's a NAÏVE 3.5-fold".to_lowercase()), ["it", "s", "a", "na", "ve", "3", "5", "fold"]);
    }

    #[test]
    fn the_best_reference_counts_and_nothing_is_like_an_empty_text() {
        assert_eq!(score("a b", &["c d", "a b", "a"]), 1.0);
        assert_eq!(score("", &["a"]), 0.0);
        assert_eq!(score("?!", &["…"]), 0.0);
    }
}
