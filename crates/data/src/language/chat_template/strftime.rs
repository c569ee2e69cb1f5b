//! Dates in chat templates: Python's `strftime`, in UTC and in English.

use std::time::SystemTime;

use chrono::format::StrftimeItems;
use chrono::{DateTime, Utc};

/// `format` with its directives replaced; those that are not known stay as they are.
pub(super) fn strftime(now: SystemTime, format: &str) -> String {
    DateTime::<Utc>::from(now).format_with_items(StrftimeItems::new_lenient(format)).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

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
        assert_eq!(
            strftime(UNIX_EPOCH, "%-d. %-m. %-I %e %D %T %R %h %% %é %"),
            "1. 1. 12  1 01/01/70 00:00:00 00:00 Jan % %é %"
        );
        assert_eq!(strftime(UNIX_EPOCH, "%Q %-Q %-"), "%Q %-Q %-");
    }
}
