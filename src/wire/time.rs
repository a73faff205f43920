//! Times as RFC 3339 text, in nanoseconds since 1970, before 1970 too.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::calendar::Date;

const NS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// Bytes of the longest text: `2026-02-03T04:05:06.789123456Z`.
const TEXT_BYTES: usize = 30;
/// Where year, month, day, hour, minute, second and nanosecond are in it.
const PLACES: [Range<usize>; 7] = [0..4, 5..7, 8..10, 11..13, 14..16, 17..19, 20..29];
const SECONDS_END: usize = 19;

/// Nanoseconds since 1970, written as `2026-02-03T04:05:06.789Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

/// Text that is no RFC 3339 time, or one outside the years 1678 to 2262.
#[derive(Debug, thiserror::Error)]
#[error("not an RFC 3339 time between 1678 and 2262: {0:?}")]
pub struct BadTime(String);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Text::of(*self).as_str())
    }
}

/// A time as text, made without the formatting machinery: a listing has thousands.
struct Text {
    bytes: [u8; TEXT_BYTES],
    len: usize,
}

impl Text {
    fn of(time: Time) -> Self {
        let (seconds, ns) = (time.0.div_euclid(NS_PER_SECOND), time.0.rem_euclid(NS_PER_SECOND));
        let Date { year, month, day } = Date::from_days(seconds.div_euclid(SECONDS_PER_DAY));
        let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        let mut text = Self { bytes: *b"0000-00-00T00:00:00.000000000Z", len: TEXT_BYTES };
        let numbers = [year, month, day, of_day / 3600, of_day / 60 % 60, of_day % 60, ns];
        for (number, place) in numbers.into_iter().zip(PLACES) {
            text.write(number.unsigned_abs(), place);
        }
        // A fraction ends with its last digit, and where there is none nothing separates it.
        while text.len > SECONDS_END + 1 && matches!(text.bytes.get(text.len - 2), Some(b'0' | b'.')) {
            text.len -= 1;
        }
        if let Some(last) = text.bytes.get_mut(text.len - 1) {
            *last = b'Z';
        }
        text
    }

    fn write(&mut self, mut number: u64, place: Range<usize>) {
        for digit in self.bytes.get_mut(place).into_iter().flatten().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }

    fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|text| str::from_utf8(text).ok()).unwrap_or_default()
    }
}

impl FromStr for Time {
    type Err = BadTime;

    fn from_str(text: &str) -> Result<Self, BadTime> {
        parse(text).map(Self).ok_or_else(|| BadTime(text.chars().take(64).collect()))
    }
}

fn parse(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.splitn(3, '-');
    let date =
        Date { year: number(parts.next()?, 4)?, month: number(parts.next()?, 2)?, day: number(parts.next()?, 2)? };
    if !(1..=12).contains(&date.month) || Date::from_days(date.days()) != date {
        return None;
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let mut parts = clock.splitn(3, ':');
    let (hour, minute, second) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (ns, zone) = fraction(rest)?;
    let seconds = date.days() * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset(zone)?;
    i64::try_from(i128::from(seconds) * i128::from(NS_PER_SECOND) + i128::from(ns)).ok()
}

/// Nanoseconds of a fraction, where there is one, and what follows it.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, zone) = rest.split_at_checked(digits)?;
    let kept: String = digits.chars().chain("000000000".chars()).take(9).collect();
    if digits.is_empty() { None } else { Some((kept.parse().ok()?, zone)) }
}

/// Seconds east of Greenwich.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) = if let Some(rest) = zone.strip_prefix('-') { (-1, rest) } else { (1, zone.strip_prefix('+')?) };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

fn number(text: &str, digits: usize) -> Option<i64> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Text::of(*self).as_str())
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::wire::text::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn known_times_read_and_write_the_same() {
        for (text, ns) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59.5Z", 951_868_799_500_000_000),
            ("2026-11-21T09:25:00.000000001Z", 1_795_253_100_000_000_001),
            ("1969-12-31T23:59:59.999999999Z", -1),
            ("1900-03-01T00:00:00Z", -2_203_891_200_000_000_000),
        ] {
            assert_eq!(text.parse::<Time>().unwrap().0, ns, "{text}");
            assert_eq!(Time(ns).to_string(), text);
        }
    }

    #[test]
    fn every_day_has_its_own_date_and_comes_back() {
        for days in (-100_000..100_000).step_by(13) {
            assert_eq!(Date::from_days(days).days(), days);
        }
    }

    #[test]
    fn a_time_zone_is_taken_off() {
        let utc: Time = "2026-01-01T22:30:00Z".parse().unwrap();
        assert_eq!("2026-01-02T00:00:00+01:30".parse::<Time>().unwrap(), utc);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+1:00",
            "9999-01-01T00:00:00Z",
            "+026-01-01T00:00:00Z",
            "2026-01-0\u{e9}T00:00:00Z",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }
}
