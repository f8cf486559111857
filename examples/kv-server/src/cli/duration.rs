//! Durations on the command line: `250ms`, `5s`, `1.5m`, `2h`; a bare number counts seconds.

use std::time::Duration;

/// The duration that `text` names.
///
/// # Errors
/// A sentence that says what was expected.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?} is not a duration: expected for instance 250ms, 5s, 1.5m or 2h");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds: f64 = number.parse().map_err(|_| expected())?;
    let scale = match unit {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(expected()),
    };
    Duration::try_from_secs_f64(seconds * scale).map_err(|_| expected())
}

/// A duration that something can live: a millisecond at least.
///
/// # Errors
/// As [`parse_duration`].
pub(crate) fn parse_lifetime(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        lifetime if lifetime < Duration::from_millis(1) => Err("expected at least 1ms".into()),
        lifetime => Ok(lifetime),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_bare_numbers_are_seconds() {
        for (text, millis) in
            [("250ms", 250), ("5s", 5_000), ("5", 5_000), ("1.5m", 90_000), ("1h", 3_600_000), ("0", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "5 s", "1d", "1.2.3s", "9e99s", "99999999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
