//! How long every candidate may train: so many steps, or as many as it takes in so many seconds.

use std::fmt;
use std::str::FromStr;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Budget {
    Steps(usize),
    Seconds(f64),
}

impl Budget {
    /// The steps of a candidate that needs so many seconds for one; at least one.
    pub(crate) fn steps(self, step_seconds: f64) -> usize {
        match self {
            Self::Steps(steps) => steps,
            Self::Seconds(seconds) => ((seconds / step_seconds) as usize).clamp(1, u32::MAX as usize),
        }
    }
}

/// As it is read, in the largest unit that is a whole number of them.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => write!(f, "{steps}"),
            Self::Seconds(seconds) if seconds % 3600.0 == 0.0 => write!(f, "{}h", seconds / 3600.0),
            Self::Seconds(seconds) if seconds % 60.0 == 0.0 => write!(f, "{}m", seconds / 60.0),
            Self::Seconds(seconds) => write!(f, "{seconds}s"),
        }
    }
}

impl FromStr for Budget {
    type Err = String;

    /// `200` is steps; `90s`, `15m` and `2h` are time.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a number of steps, 200, or a time for each run: 90s, 15m, 2h".to_string();
        let end = text.find(|character: char| character.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let scale = match unit {
            "" => {
                return number
                    .parse::<u32>()
                    .ok()
                    .filter(|steps| *steps > 0)
                    .map(|steps| Self::Steps(steps as usize))
                    .ok_or_else(wrong);
            }
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let seconds = number.parse::<f64>().ok().map(|number| number * scale);
        seconds.filter(|seconds| seconds.is_finite() && *seconds > 0.0).map(Self::Seconds).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_steps_and_with_a_unit_time() {
        let budget = |text: &str| text.parse::<Budget>();
        assert_eq!(budget("200"), Ok(Budget::Steps(200)));
        assert_eq!(budget("1.5m"), Ok(Budget::Seconds(90.0)));
        assert_eq!(budget("2h"), Ok(Budget::Seconds(7200.0)));
        for wrong in ["", "0", "-3", "1.5", "0s", "10 d", "s", "inf", "nans"] {
            assert!(budget(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        for (text, written) in
            [("200", "200"), ("90s", "90s"), ("1.5m", "90s"), ("15m", "15m"), ("7200s", "2h"), ("0.2s", "0.2s")]
        {
            let budget: Budget = text.parse().unwrap();
            assert_eq!((budget.to_string().as_str(), written.parse()), (written, Ok(budget)));
        }
    }

    #[test]
    fn time_becomes_the_steps_that_fit_into_it_and_one_at_least() {
        assert_eq!(
            (Budget::Seconds(10.0).steps(0.4), Budget::Seconds(1.0).steps(5.0), Budget::Steps(7).steps(9.0)),
            (25, 1, 7)
        );
    }
}
