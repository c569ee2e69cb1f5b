//! Dates in chat templates: Python's `strftime`, in UTC and in English.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// From the first day of the epoch, a Thursday.
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// `format` with its directives replaced; those that are not known stay as they are.
pub(super) fn strftime(now: SystemTime, format: &str) -> String {
    let time = Time::of(now);
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        // glibc's `%-d` is `%d` without a zero before it.
        let after = characters.next();
        let (directive, bare) = if after == Some('-') { (characters.next(), true) } else { (after, false) };
        match directive.map(|directive| (directive, time.field(directive))) {
            Some((_, Some(field))) if bare => text.push_str(match field.trim_start_matches('0') {
                "" => "0",
                stripped => stripped,
            }),
            Some((_, Some(field))) => text.push_str(&field),
            Some((directive, None)) => text.extend(["%", if bare { "-" } else { "" }, &directive.to_string()]),
            None => text.push('%'),
        }
    }
    text
}

struct Time {
    year: u64,
    /// From 0.
    month: usize,
    day: u64,
    /// From 0.
    day_of_year: u64,
    day_of_week: &'static str,
    second_of_day: u64,
}

impl Time {
    fn of(now: SystemTime) -> Self {
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (mut days, second_of_day) = (seconds / 86_400, seconds % 86_400);
        let day_of_week = DAYS[(days % 7) as usize];
        let mut year = 1970;
        while days >= days_of_year(year) {
            days -= days_of_year(year);
            year += 1;
        }
        let day_of_year = days;
        let mut month = 0;
        while days >= days_of_month(year, month) {
            days -= days_of_month(year, month);
            month += 1;
        }
        Self { year, month, day: days + 1, day_of_year, day_of_week, second_of_day }
    }

    fn field(&self, directive: char) -> Option<String> {
        let (hour, minute, second) = (self.second_of_day / 3600, self.second_of_day / 60 % 60, self.second_of_day % 60);
        let of = |inner: &str| {
            inner.chars().map(|it| if it.is_alphabetic() { self.field(it) } else { Some(it.into()) }).collect()
        };
        Some(match directive {
            'Y' => self.year.to_string(),
            'y' => format!("{:02}", self.year % 100),
            'm' => format!("{:02}", self.month + 1),
            'd' => format!("{:02}", self.day),
            'e' => format!("{:2}", self.day),
            'j' => format!("{:03}", self.day_of_year + 1),
            'B' => MONTHS[self.month].to_owned(),
            'b' | 'h' => MONTHS[self.month][..3].to_owned(),
            'A' => self.day_of_week.to_owned(),
            'a' => self.day_of_week[..3].to_owned(),
            'H' => format!("{hour:02}"),
            'I' => format!("{:02}", (hour + 11) % 12 + 1),
            'p' => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            'M' => format!("{minute:02}"),
            'S' => format!("{second:02}"),
            'F' => return of("Y-m-d"),
            'T' => return of("H:M:S"),
            'D' => return of("m/d/y"),
            'R' => return of("H:M"),
            '%' => "%".to_owned(),
            _ => return None,
        })
    }
}

fn days_of_year(year: u64) -> u64 {
    if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) { 366 } else { 365 }
}

fn days_of_month(year: u64, month: usize) -> u64 {
    match month {
        1 => days_of_year(year) - 337,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_read_as_python_writes_them() {
        // `datetime.fromtimestamp(T, UTC).strftime(FORMAT)` of Python 3.11.
        for (seconds, expected) in [
            (0, "Thu Thursday 01 Jan January 1970 70 001 00:00:00 12 AM 1970-01-01"),
            (951_782_400, "Tue Tuesday 29 Feb February 2000 00 060 00:00:00 12 AM 2000-02-29"),
            (1_735_689_599, "Tue Tuesday 31 Dec December 2024 24 366 23:59:59 11 PM 2024-12-31"),
            (4_107_585_600, "Mon Monday 01 Mar March 2100 00 060 12:00:00 12 PM 2100-03-01"),
        ] {
            let now = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(strftime(now, "%a %A %d %b %B %Y %y %j %H:%M:%S %I %p %F"), expected);
        }
        assert_eq!(strftime(UNIX_EPOCH, "%-d. %-m. %% %é %"), "1. 1. % %é %");
    }
}
