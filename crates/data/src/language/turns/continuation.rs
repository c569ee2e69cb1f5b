//! Where a turn begins in a rendering whose beginning is not the prompt that the model answers to.

use super::common_start;

/// The byte of `written` at which what follows on `prompt` begins.
///
/// Both are renderings of the same messages, `written` with the turn at its end. Behind what they have in common at their
/// beginning they differ, and then, up to the turn, agree again: `[ASK]Be brief. When?[/ASK]` and `[ASK]When?[/ASK]At nine.`
/// agree in `When?[/ASK]`. So the turn begins behind the longest text that the prompt ends in and that stands in `written`
/// before the turn's own words, which begin at `header`.
///
/// From `prompt_from` on the prompt is the generation prompt. It may begin what `written` leaves out, as `<think>` where
/// only the answer is kept, and so need not be found to its end.
///
/// `None`: what the two agree in is no end of the messages before the turn.
pub(super) fn start(prompt: &str, prompt_from: usize, written: &str, header: usize) -> Option<usize> {
    let parted = common_start(prompt, written).min(header);
    let (rest, of_turn) = (&prompt[parted..], &written[parted..header]);
    let ends = |text: &str, from: usize| -> Vec<usize> {
        (from..=text.len()).filter(|&end| text.is_char_boundary(end)).collect()
    };
    let mut best: Option<(usize, usize)> = None;
    for prompt_end in ends(rest, prompt_from.saturating_sub(parted).min(rest.len())) {
        for end in ends(of_turn, 0) {
            let agreed = common_end(&rest[..prompt_end], &of_turn[..end]);
            // Of ends that are equally good the last: it is the nearest to the turn.
            if best.is_none_or(|(longest, _)| agreed >= longest) {
                best = Some((agreed, end));
            }
        }
    }
    let (agreed, end) = best?;
    match agreed {
        // Nothing to go by; but where all of the messages is alike, the two part in the generation prompt.
        0 if parted < prompt_from => None,
        0 => Some(parted),
        _ => Some(parted + end),
    }
}

/// The number of bytes that both end in, in whole characters.
fn common_end(a: &str, b: &str) -> usize {
    a.chars().rev().zip(b.chars().rev()).take_while(|(a, b)| a == b).map(|(it, _)| it.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said behind the prompt; the turn's own words begin with `@`.
    fn said<'a>(prompt: &str, generation: &str, written: &'a str) -> Option<&'a str> {
        let header = written.find('@').unwrap();
        let prompt_from = prompt.len();
        start(&(prompt.to_owned() + generation), prompt_from, written, header).map(|start| &written[start..])
    }

    #[test]
    fn a_turn_follows_on_the_longest_end_that_both_have() {
        assert_eq!(said("[A]s q[/A]", "", "[A]q[/A]@</s>"), Some("@</s>"));
        assert_eq!(said("[A]s q[/A]", "", "[A]q[/A] @</s>"), Some(" @</s>"), "the space is the turn's");
        assert_eq!(said("[A]q[/A]b[A]s q[/A]", "", "[A]q[/A]b[A]q[/A]@"), Some("@"), "the last of two alike");
        assert_eq!(said("U:s q\n", "A:\n", "U:q\nA:\n<think>\n\n</think>\n\n@"), Some("<think>\n\n</think>\n\n@"));
    }

    #[test]
    fn a_generation_prompt_may_begin_what_is_left_out() {
        assert_eq!(said("U:q\n", "A:<think>\n", "U:q\nA:@b"), Some("@b"));
        assert_eq!(said("U:s q\n", "A:<think>\n", "U:q\nA:@b"), Some("@b"), "where the messages differ as well");
        assert_eq!(said("U:q\n", "[A]", "U:q\n-@"), Some("-@"), "a turn need not repeat it");
    }

    #[test]
    fn messages_that_agree_in_nothing_are_no_beginning() {
        assert_eq!(said("xq", "", "ry@"), None);
    }
}
