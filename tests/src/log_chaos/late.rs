//! Since when an edge answers players without waiting for their events: read from its log, which outlives it.
//!
//! Its counter of late events would tell the same, but dies with the process; the line is written before the first such answer goes out.

use crate::logs::text;

/// What the line says.
const LINE: &str = "players are answered before their access events stand";

/// The first time after `after_ms` that a log says so, in ms since 1970.
pub fn since(log: &str, after_ms: i64) -> Option<i64> {
    let lines = log.lines().filter(|line| line.contains(LINE));
    lines
        .map(|line| time_ms(line).unwrap_or_else(|| panic!("no time: {line}")))
        .find(|at_ms| *at_ms > after_ms)
}

/// The time a line begins with: `2026-11-22T03:04:05.678901Z`.
fn time_ms(line: &str) -> Option<i64> {
    let (date, rest) = line.split_once('T')?;
    let (time, rest) = rest.split_once('.')?;
    let seconds = text::moment(date, time).ok()?;
    let (fraction, _) = rest.split_once('Z')?;
    Some(seconds * 1000 + fraction.get(..3)?.parse::<i64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_after_a_time_is_the_one_that_counts() {
        let line = |time: &str| {
            format!(
                "2026-11-22T03:00:{time}Z  WARN penstock_control::client::spool::log: the spool's disk is slow: {LINE}\n"
            )
        };
        let log = format!(
            "2026-11-22T03:00:01.000001Z  INFO edge: serves\n{}{}",
            line("02.345678"),
            line("30.000999")
        );
        let hour_ms = 1_795_316_400_000;
        assert_eq!(since(&log, 0), Some(hour_ms + 2345));
        assert_eq!(since(&log, hour_ms + 2345), Some(hour_ms + 30_000));
        assert_eq!(since(&log, hour_ms + 30_000), None);
        assert_eq!(since("", 0), None);
    }
}
