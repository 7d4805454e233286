//! Points in time: in files as UTC with its offset, so that they mean the same wherever they are read, and for people in local
//! time.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Local, SecondsFormat, Utc};

/// The current time for files: `2026-11-23T10:15:02.123456789+00:00`.
pub(crate) fn now() -> String {
    now_utc().to_rfc3339()
}

/// The current time for files, in whole seconds.
pub(crate) fn now_in_seconds() -> String {
    now_utc().to_rfc3339_opts(SecondsFormat::Secs, false)
}

/// The current local time.
pub(crate) fn now_local() -> DateTime<Local> {
    now_utc().with_timezone(&Local)
}

/// The current time. Not `Utc::now`, which panics if the clock is before 1970.
fn now_utc() -> DateTime<Utc> {
    of_file(SystemTime::now()).unwrap_or_default()
}

/// Converts the time of a file, which may be any number; `None` if it is outside the range of the calendar.
pub(crate) fn of_file(time: SystemTime) -> Option<DateTime<Utc>> {
    let (seconds, nanoseconds) = since_1970(time);
    DateTime::from_timestamp(seconds, nanoseconds)
}

/// Whole seconds since 1970, rounded down, and the nanoseconds after them.
pub(crate) fn since_1970(time: SystemTime) -> (i64, u32) {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (
            i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            after.subsec_nanos(),
        ),
        Err(error) => {
            let before = error.duration();
            let seconds = i64::try_from(before.as_secs()).map_or(i64::MIN, |seconds| -seconds);
            match before.subsec_nanos() {
                0 => (seconds, 0),
                nanoseconds => (seconds.saturating_sub(1), 1_000_000_000 - nanoseconds),
            }
        }
    }
}

/// Parses a time with any offset. Text that is not a time becomes `None`, which sorts before all others.
pub(crate) fn parse(text: &str) -> Option<DateTime<Utc>> {
    let moment = DateTime::parse_from_rfc3339(text).ok()?;
    Some(moment.to_utc())
}

/// Formats a time from a file in local time: `2026-11-23 10:15:02`. Text that is not a time stays as it is.
pub(crate) fn shown(text: &str) -> String {
    parse(text).map_or_else(
        || text.to_owned(),
        |moment| local(moment, "%Y-%m-%d %H:%M:%S"),
    )
}

/// Formats a time in local time.
pub(crate) fn local(moment: DateTime<Utc>, format: &str) -> String {
    moment.with_timezone(&Local).format(format).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn order_is_that_of_the_points_in_time_and_not_of_their_texts() {
        let mut texts = [
            "2026-10-25T02:10:00+01:00",
            "2026-10-25T02:50:00+02:00",
            "2026-10-24T23:59:59-11:00",
            "yesterday",
            "1969-12-31T23:59:59+00:00",
            "2026-10-25T01:05:00.5Z",
        ];
        texts.sort_by_key(|text| parse(text));
        assert_eq!(
            texts,
            [
                "yesterday",
                "1969-12-31T23:59:59+00:00",
                "2026-10-25T02:50:00+02:00",
                "2026-10-25T01:05:00.5Z",
                "2026-10-25T02:10:00+01:00",
                "2026-10-24T23:59:59-11:00",
            ]
        );
    }

    #[test]
    fn the_time_of_a_file_may_be_before_1970_or_in_no_calendar() {
        let hour = Duration::from_hours(1);
        let of = |time| of_file(time).map(|moment| moment.to_rfc3339());
        let epoch = UNIX_EPOCH;
        assert_eq!(of(epoch - hour).unwrap(), "1969-12-31T23:00:00+00:00");
        assert_eq!(of(epoch + hour).unwrap(), "1970-01-01T01:00:00+00:00");
        assert_eq!(of(epoch + Duration::from_secs(1 << 55)), None);
    }

    #[test]
    fn now_is_written_in_utc_and_read_back() {
        let text = now();
        assert!(text.ends_with("+00:00"), "{text}");
        assert!(parse(&text).is_some());
        assert_eq!(shown(&text).len(), "2026-11-23 10:15:02".len());
        assert_eq!(shown("yesterday"), "yesterday");
        assert_eq!(shown("9999999-01-01T00:00:00Z"), "9999999-01-01T00:00:00Z");
    }
}
