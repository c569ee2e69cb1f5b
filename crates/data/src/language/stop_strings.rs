//! Ends a text at a stop string, wherever the borders of tokens lie in it.

/// Looks for stop strings in a text that comes piece by piece. An empty stop string is never found.
#[derive(Debug, Clone)]
pub struct StopStrings {
    stops: Vec<String>,
    /// Text that may be the beginning of a stop string.
    held: String,
}

/// What may be shown after a piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub text: String,
    /// Whether a stop string was reached; `text` then ends before it.
    pub stopped: bool,
}

impl StopStrings {
    pub fn new(stops: Vec<String>) -> Self {
        Self { stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(), held: String::new() }
    }

    /// Takes the next piece of the text. Of several stop strings the one that is complete first counts, and of those that
    /// are so at once the longest, so that the pieces in which a text comes change nothing.
    pub fn push(&mut self, text: &str) -> Shown {
        self.held.push_str(text);
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop).map(|start| (start + stop.len(), start)));
        if let Some((_, start)) = found.min() {
            self.held.truncate(start);
            return Shown { text: std::mem::take(&mut self.held), stopped: true };
        }
        let rest = self.held.split_off(self.held.len() - self.beginning_of_a_stop());
        Shown { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// What was held back, when no more text comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// The length of the longest end of the text that is how a stop string begins.
    fn beginning_of_a_stop(&self) -> usize {
        let begins = |stop: &String| {
            let ends = self.held.char_indices().map(|(at, _)| &self.held[at..]);
            ends.filter(|end| stop.starts_with(end)).map(str::len).max()
        };
        self.stops.iter().filter_map(begins).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut matcher = StopStrings::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut text = String::new();
        for piece in pieces {
            let shown = matcher.push(piece);
            text.push_str(&shown.text);
            if shown.stopped {
                return (text, true);
            }
        }
        (text + &matcher.finish(), false)
    }

    #[test]
    fn a_stop_string_is_found_across_pieces_and_is_not_shown() {
        assert_eq!(run(&["\nUser:"], &["Hello", "\n", "Us", "er: x"]), ("Hello".to_owned(), true));
        assert_eq!(run(&["\nUser:"], &["Hello", "\n", "Us", "e"]), ("Hello\nUse".to_owned(), false));
        assert_eq!(run(&["aab"], &["aa", "ab"]), ("a".to_owned(), true), "a false start holds the true one");
        assert_eq!(run(&["abcd", "bc"], &["abcd"]), ("a".to_owned(), true), "`bc` is complete first");
        assert_eq!(run(&["b", "ab"], &["ab"]), (String::new(), true), "complete at once: the longer one");
        assert_eq!(run(&["", "ß"], &["aß"]), ("a".to_owned(), true));
        assert_eq!(run(&[], &["a", "b"]), ("ab".to_owned(), false));
    }

    #[test]
    fn what_cannot_be_a_stop_string_is_shown_at_once() {
        let mut matcher = StopStrings::new(vec!["###".to_owned()]);
        assert_eq!(matcher.push("a#"), Shown { text: "a".to_owned(), stopped: false });
        assert_eq!(matcher.push("b"), Shown { text: "#b".to_owned(), stopped: false });
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(
            text in "[abé]{0,30}", stops in prop::collection::vec("[abé]{1,4}", 0..4), cut in prop::collection::vec(1..5_usize, 30),
        ) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let characters: Vec<char> = text.chars().collect();
            let (mut pieces, mut rest) = (Vec::new(), characters.as_slice());
            for length in cut {
                let (piece, after) = rest.split_at(length.min(rest.len()));
                pieces.push(piece.iter().collect::<String>());
                rest = after;
            }
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let (shown, stopped) = run(&stops, &pieces);
            prop_assert_eq!((shown.clone(), stopped), run(&stops, &[&text]));
            prop_assert!(text.starts_with(&shown));
            prop_assert_eq!(stopped, stops.iter().any(|stop| text.contains(stop)));
            prop_assert!(!stops.iter().any(|stop| shown.contains(stop)));
        }
    }
}
