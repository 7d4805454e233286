//! Conversions of the system's times. The standard library reports times before 1970 as errors, and `chrono` panics on them.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Local, Utc};

/// The first and the last day of four-digit years that exist in every time zone.
const EARLIEST: i64 = -62_135_510_400;
const LATEST: i64 = 253_402_214_400;

/// The current time in the local time zone.
pub(crate) fn now() -> DateTime<Local> {
    local(SystemTime::now())
}

/// A time in the local time zone; years outside 1 to 9999, which damaged file systems report, are clamped.
pub(crate) fn local(time: SystemTime) -> DateTime<Local> {
    utc(time).with_timezone(&Local)
}

/// A time in UTC, clamped like that of `local`.
pub(crate) fn utc(time: SystemTime) -> DateTime<Utc> {
    let (seconds, nanoseconds) = since_1970(time);
    let seconds = seconds.clamp(EARLIEST, LATEST);
    DateTime::from_timestamp(seconds, nanoseconds).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_before_1970_and_far_away_are_converted_without_a_panic() {
        let before = UNIX_EPOCH - Duration::from_millis(1500);
        assert_eq!(since_1970(before), (-2, 500_000_000));
        assert_eq!(utc(before).to_rfc3339(), "1969-12-31T23:59:58.500+00:00");
        assert_eq!(since_1970(UNIX_EPOCH + Duration::new(7, 9)), (7, 9));
        for seconds in [1 << 40, 1 << 50, 1 << 60] {
            let far = Duration::from_secs(seconds);
            let ends = [UNIX_EPOCH.checked_add(far), UNIX_EPOCH.checked_sub(far)];
            for time in ends.into_iter().flatten() {
                let text = local(time).format("%Y-%m-%d %H:%M").to_string();
                let is_clamped = text.starts_with("0001-01-0") || text.starts_with("9999-12-3");
                assert!(is_clamped, "{text}");
            }
        }
    }
}
