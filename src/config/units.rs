//! Values with a unit or bounds, as they stand on the command line and in the file.

use serde::de::{self, Deserializer, IntoDeserializer, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl<'de, const MIN: u32, const MAX: u32> serde::Deserialize<'de> for Bounded<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_i64(BoundedVisitor)
    }
}

struct BoundedVisitor<const MIN: u32, const MAX: u32>;

impl<const MIN: u32, const MAX: u32> Visitor<'_> for BoundedVisitor<MIN, MAX> {
    type Value = Bounded<MIN, MAX>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a number from {MIN} to {MAX} without quotes")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        number.try_into().map_err(E::custom)
    }
}

/// A sampling rate: one packet in so many, of one NFLOG group or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub group: Option<u16>,
    pub rate: u32,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a sampling rate: write N, or GROUP:N, with N from 1 to 4294967295");
        let (group, rate) = match text.split_once(':') {
            Some((group, rate)) => (Some(group.parse().map_err(|_| wrong())?), rate),
            None => (None, text),
        };
        match rate.parse() {
            Ok(rate @ 1..) => Ok(Self { group, rate }),
            _ => Err(wrong()),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AsWritten::new("a sampling rate: N, or \"GROUP:N\""))
    }
}

/// A value that TOML may have as a number or as a string; it is parsed as on the command line.
pub struct AsWritten<T>(&'static str, PhantomData<T>);

impl<T> AsWritten<T> {
    /// What it says that it expects.
    pub fn new(expected: &'static str) -> Self {
        Self(expected, PhantomData)
    }
}

impl<T: FromStr<Err = String>> Visitor<'_> for AsWritten<T> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// One value or a list of them, as TOML may have either.
pub fn one_or_many<'de, T: serde::Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(OneOrMany(PhantomData))
}

struct OneOrMany<T>(PhantomData<T>);

impl<'de, T: serde::Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
    type Value = Vec<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value or a list of them in brackets")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(values)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Vec<T>, E> {
        Ok(vec![T::deserialize(number.into_deserializer())?])
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
        Ok(vec![T::deserialize(text.into_deserializer())?])
    }
}

/// A time with its unit, such as `15s` or `5min`: at least one second, at most a week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl<'de> serde::Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AsWritten::new("a time such as \"15s\""))
    }
}

/// An amount of memory: octets, or with KiB, MiB or GiB behind it. 4096 octets to 1 GiB: less is a forgotten unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub usize);

const SIZES: RangeInclusive<usize> = 4096..=1 << 30;

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
        octets.filter(|octets| SIZES.contains(octets)).map(Self).ok_or_else(|| {
            format!("`{text}` is not a size from 4KiB to 1GiB: write a whole number of KiB, MiB or GiB, as in 32MiB")
        })
    }
}

impl<'de> serde::Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AsWritten::new("a size such as \"32MiB\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, octets) in [("4096", 4096), ("4KiB", 4096), ("32MiB", 32 << 20), ("1 GiB", 1 << 30)] {
            assert_eq!(text.parse(), Ok(Size(octets)));
        }
        for text in ["", "MiB", "32", "2GiB", "32MB", "-1", "1.5MiB", "99999999999999999999"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn units_that_there_are_are_said() {
        assert!("1MB".parse::<Size>().unwrap_err().ends_with("a whole number of KiB, MiB or GiB, as in 32MiB"));
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
