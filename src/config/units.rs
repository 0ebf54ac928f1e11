//! Values with a unit or bounds, as they stand on the command line and in the file.

use serde::de::{self, Deserializer, Visitor};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "i64")]
pub struct Bounded<const MIN: u32, const MAX: u32>(pub u32);

impl<const MIN: u32, const MAX: u32> TryFrom<i64> for Bounded<MIN, MAX> {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        u32::try_from(number)
            .ok()
            .filter(|number| (MIN..=MAX).contains(number))
            .map(Self)
            .ok_or_else(|| format!("{number} is not a number from {MIN} to {MAX}"))
    }
}

impl<const MIN: u32, const MAX: u32> FromStr for Bounded<MIN, MAX> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number: i64 = text.parse().map_err(|_| format!("`{text}` is not a number from {MIN} to {MAX}"))?;
        Self::try_from(number)
    }
}

/// A time with its unit, such as `15s` or `5min`: at least one second, at most a week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Interval(pub Duration);

const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text)
            .ok()
            .filter(|time| (Duration::from_secs(1)..=LONGEST).contains(time))
            .map(Self)
            .ok_or_else(|| {
                format!("`{text}` is not a time from 1s to 7days: write it with its unit, as in 15s or 5min")
            })
    }
}

impl TryFrom<String> for Interval {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// An amount of memory: octets, or with KiB, MiB or GiB behind it. At most 1 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub usize);

const LARGEST: usize = 1 << 30;

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match text[digits.len()..].trim() {
            "" => Some(1),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            _ => None,
        };
        let octets = unit.and_then(|unit: usize| digits.parse::<usize>().ok()?.checked_mul(unit));
        octets
            .filter(|octets| *octets <= LARGEST)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not a size up to 1GiB: write it as in 32MiB"))
    }
}

impl<'de> serde::Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

/// TOML has the size as a number or as a string.
struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a size such as \"32MiB\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, octets: i64) -> Result<Size, E> {
        octets.to_string().parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, octets) in [("0", 0), ("4096", 4096), ("32MiB", 32 << 20), ("1 GiB", 1 << 30)] {
            assert_eq!(text.parse(), Ok(Size(octets)));
        }
        for text in ["", "MiB", "2GiB", "32MB", "-1", "1.5MiB", "99999999999999999999"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn intervals() {
        assert_eq!("1min 30s".parse(), Ok(Interval(Duration::from_secs(90))));
        for text in ["15", "0s", "8days", "soon"] {
            assert!(text.parse::<Interval>().is_err(), "{text}");
        }
    }

    #[test]
    fn bounds() {
        assert_eq!("64".parse(), Ok(Bounded::<64, 100>(64)));
        for text in ["63", "101", "-1", "x"] {
            assert!(text.parse::<Bounded<64, 100>>().is_err(), "{text}");
        }
    }
}
