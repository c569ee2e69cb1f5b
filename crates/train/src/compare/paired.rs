//! Whether one candidate is better than another: the paired bootstrap of the difference of their scores. Examples are drawn with
//! replacement, the same for both, so that what makes an example hard for both falls out (Efron and Tibshirani 1993; for scores of
//! language processing Koehn 2004, "Statistical Significance Tests for Machine Translation Evaluation").

use serde::Serialize;
use tasks::Judged;
use tasks::metrics::interval::{Interval, bootstrap};
use tasks::metrics::{Better, Score, Span};

/// Examples below which the middle 95 % of the draws says nothing.
pub(crate) const FEWEST: usize = 20;

/// A candidate against the first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Difference {
    pub(crate) candidate: String,
    pub(crate) against: String,
    /// Of the score, in its own unit.
    pub(crate) difference: f64,
    /// 95 %.
    pub(crate) interval: Interval,
    /// The interval does not hold 0, and the runs of each seed say the same.
    pub(crate) shown: bool,
    pub(crate) words: String,
}

/// Each candidate after the first against the first. `judged` has the score of each run of a candidate, in the order of the
/// seeds, of which the mean is taken in every draw.
pub(crate) fn differences(names: &[&str], judged: &[Vec<Judged>], examples: usize, score: &Score) -> Vec<Difference> {
    let (Some(first), Some(reference)) = (names.first(), judged.first()) else { return Vec::new() };
    let against_first = |(name, own): (&&str, &Vec<Judged>)| {
        let of = |drawn: &[usize]| mean(own, drawn) - mean(reference, drawn);
        let difference = of(&(0..examples).collect::<Vec<_>>());
        let work = examples * (own.len() + reference.len());
        // Where all draws differ alike, as where no answer does, that is the whole interval.
        let interval = bootstrap(examples, work, of).unwrap_or((difference, difference));
        let outside = interval.0 > 0.0 || interval.1 < 0.0;
        // Examples say nothing of what another seed would do: where one seed's runs differ the other way, it may be that.
        let all: Vec<usize> = (0..examples).collect();
        let agree = own.iter().zip(reference).all(|(own, other)| (own(&all) - other(&all)) * difference > 0.0);
        let shown = outside && agree;
        let verdict = match (shown, outside) {
            (true, _) if (difference > 0.0) == (score.better == Better::Higher) => "better",
            (true, _) => "worse",
            (false, true) => "no difference shown, for the seeds disagree",
            (false, false) => "no difference shown",
        };
        let words = words([name, first], difference, interval, score) + verdict;
        Difference { candidate: (*name).to_owned(), against: (*first).to_owned(), difference, interval, shown, words }
    };
    names.iter().zip(judged).skip(1).map(against_first).collect()
}

/// The 95 % interval of a candidate's score over its runs.
pub(super) fn interval(judged: &[Judged], examples: usize) -> Option<Interval> {
    bootstrap(examples, examples * judged.len(), |drawn| mean(judged, drawn))
}

fn mean(judged: &[Judged], drawn: &[usize]) -> f64 {
    judged.iter().map(|score| score(drawn)).sum::<f64>() / judged.len() as f64
}

/// `lora against full: -0.3 points, 95 % interval -1.1 to 0.5: `, without the verdict.
fn words([name, against]: [&str; 2], difference: f64, (low, high): Interval, score: &Score) -> String {
    let (scale, digits) = match score.span {
        Span::Share => (100.0, 1),
        Span::Hundred => (1.0, 1),
        Span::Correlation | Span::Open => (1.0, 4),
    };
    let [difference, low, high] = [difference, low, high].map(|value| scale * value);
    let digits = digits_apart_from_zero((low, high), digits);
    let shown = |value: f64| format!("{:.digits$}", clean(value, digits));
    let unit = match score.span {
        Span::Share | Span::Hundred => "points".to_owned(),
        Span::Correlation | Span::Open => format!("in {}", score.name),
    };
    let sign = if shown(difference).starts_with(['-', '0']) && difference <= 0.0 { "" } else { "+" };
    format!(
        "{name} against {against}: {sign}{} {unit}, 95 % interval {} to {}: ",
        shown(difference),
        shown(low),
        shown(high)
    )
}

/// So many digits that an interval without 0 does not end at 0 as it is written; one that begins nearer to 0 than `MOST_DIGITS` tell is 0 but for
/// rounding.
fn digits_apart_from_zero((low, high): Interval, digits: usize) -> usize {
    let nearest = if low > 0.0 { low } else { high };
    let holds_zero = low <= 0.0 && high >= 0.0;
    let is_apart = |digits: &usize| holds_zero || clean(nearest, *digits) != 0.0;
    (digits..=MOST_DIGITS).find(is_apart).unwrap_or(digits)
}

const MOST_DIGITS: usize = 9;

/// Not `-0.0`.
fn clean(value: f64, digits: usize) -> f64 {
    let scale = 10f64.powi(digits as i32);
    (value * scale).round() / scale + 0.0
}

#[cfg(test)]
mod tests {
    use tasks::metrics::{ACCURACY, LOSS};

    use super::*;

    fn accuracy(right: impl Fn(usize) -> bool + 'static) -> Vec<Judged> {
        vec![Box::new(move |drawn: &[usize]| {
            drawn.iter().filter(|index| right(**index)).count() as f64 / drawn.len() as f64
        })]
    }

    #[test]
    fn a_difference_on_a_fifth_of_the_examples_is_shown_and_that_of_two_examples_is_not() {
        let candidates =
            [accuracy(|index| index >= 40), accuracy(|index| index >= 80), accuracy(|index| !(2..40).contains(&index))];
        let found = differences(&["full", "none", "lora"], &candidates, 200, &ACCURACY);
        assert!((found[0].difference + 0.2).abs() < 1e-12 && found[0].shown);
        assert!(
            found[0].words.starts_with("none against full: -20.0 points, 95 % interval -2")
                && found[0].words.ends_with(": worse"),
            "{}",
            found[0].words
        );
        assert_eq!(found[1].words, "lora against full: +1.0 points, 95 % interval 0.0 to 2.5: no difference shown");
    }

    #[test]
    fn a_difference_that_a_seed_contradicts_is_not_shown() {
        let runs = |ends: [usize; 2]| ends.into_iter().flat_map(|end| accuracy(move |index| index < end)).collect();
        let reference: Vec<Judged> = runs([100, 100]);
        let mixed: Vec<Judged> = runs([180, 90]);
        let found = differences(&["full", "lora"], &[reference, mixed], 200, &ACCURACY);
        assert!(!found[0].shown && found[0].interval.0 > 0.0, "{:?}", found[0]);
        assert!(found[0].words.ends_with(": no difference shown, for the seeds disagree"), "{}", found[0].words);
    }

    #[test]
    fn an_end_that_would_be_written_as_0_has_the_digits_that_the_verdict_needs() {
        let said = |difference: f64, interval: Interval, score: &Score| words(["b", "a"], difference, interval, score);
        assert_eq!(
            said(0.0011, (0.0003, 0.0026), &ACCURACY),
            "b against a: +0.11 points, 95 % interval 0.03 to 0.26: "
        );
        assert_eq!(
            said(-0.0011, (-0.0026, -0.0003), &ACCURACY),
            "b against a: -0.11 points, 95 % interval -0.26 to -0.03: "
        );
        assert_eq!(
            said(0.00009, (0.00003, 0.0002), &LOSS),
            "b against a: +0.00009 in loss, 95 % interval 0.00003 to 0.00020: "
        );
        // Where it holds 0 the verdict is clear.
        assert_eq!(said(0.0011, (-0.0003, 0.0026), &ACCURACY), "b against a: +0.1 points, 95 % interval 0.0 to 0.3: ");
    }

    #[test]
    fn pairs_say_more_than_two_intervals_do() {
        // Nine in ten examples are alike for both: their share varies, the difference hardly.
        let [one, other] = [accuracy(|index| index % 2 == 0), accuracy(|index| index % 2 == 0 || index % 20 == 1)];
        let (low, high) = interval(&one, 200).unwrap();
        let found = differences(&["one", "other"], &[one, other], 200, &ACCURACY);
        assert!(found[0].shown && found[0].interval.1 - found[0].interval.0 < high - low, "{:?}", found[0]);
    }

    #[test]
    fn a_lower_loss_is_better_and_equal_answers_have_no_interval_but_nothing() {
        let losses = |loss: f64| -> Vec<Judged> {
            vec![Box::new(move |drawn: &[usize]| {
                drawn.iter().map(|index| loss + 0.001 * *index as f64).sum::<f64>() / drawn.len() as f64
            })]
        };
        let found = differences(&["a", "b", "c"], &[losses(1.0), losses(0.5), losses(1.0)], 50, &LOSS);
        assert!(found[0].words.ends_with(": better"), "{}", found[0].words);
        assert_eq!(found[1].words, "c against a: 0.0000 in loss, 95 % interval 0.0000 to 0.0000: no difference shown");
    }
}
