//! What rules compare fields with.

use std::net::IpAddr;

/// Values of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A word; a `*` at the end stands for any end.
    Word(String),
    /// Numbers or addresses from one to another, which are among them.
    Range(u128, u128),
    /// Those of a set whose elements are not known, by its name.
    Set(String),
}

impl Value {
    /// A number, an address, or else a word.
    pub fn of(text: &str) -> Self {
        let address = || text.parse::<IpAddr>().ok().map(number);
        match text.parse().ok().or_else(address) {
            Some(number) => Self::Range(number, number),
            None => Self::Word(text.to_owned()),
        }
    }

    /// All addresses that begin with the first so many bits of this one; `None` if it has not as many.
    pub fn prefix(address: &str, length: u32) -> Option<Self> {
        let address: IpAddr = address.parse().ok()?;
        let rest = if address.is_ipv4() { 32_u32 } else { 128 }.checked_sub(length)?;
        let others = 1_u128.checked_shl(rest).map_or(u128::MAX, |first| first - 1);
        Some(Self::Range(number(address) & !others, number(address) | others))
    }

    /// From one to another; `None` if these are no numbers.
    pub fn range(from: &Self, to: &Self) -> Option<Self> {
        match (from, to) {
            (Self::Range(from, _), Self::Range(_, to)) => Some(Self::Range(*from, *to)),
            _ => None,
        }
    }

    /// Whether all that `other` stands for is certainly in what this stands for.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Word(pattern), Self::Word(word)) => match pattern.strip_suffix('*') {
                Some(beginning) => word.starts_with(beginning),
                None => pattern == word,
            },
            (Self::Range(from, to), Self::Range(first, last)) => from <= first && last <= to,
            (Self::Set(name), Self::Set(other)) => name == other,
            _ => false,
        }
    }

    /// Whether both may stand for the same: of a word and a number, or of a set, nobody knows.
    pub fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Word(_), Self::Word(_)) => self.covers(other) || other.covers(self),
            (Self::Range(from, to), Self::Range(first, last)) => from <= last && first <= to,
            _ => true,
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `10.0.0.0/8`, `1-5`, `@set`, or what [`Value::of`] takes.
    fn value(text: &str) -> Value {
        if let Some((address, length)) = text.split_once('/') {
            return Value::prefix(address, length.parse().unwrap()).unwrap();
        }
        if let Some((from, to)) = text.split_once('-') {
            return Value::range(&Value::of(from), &Value::of(to)).unwrap();
        }
        if text.starts_with('@') { Value::Set(text.to_owned()) } else { Value::of(text) }
    }

    #[test]
    fn what_covers_and_meets_what() {
        for (a, b, covers, meets) in [
            ("10.0.0.0/8", "10.1.0.0/16", true, true),
            ("10.0.0.0/8", "10.255.255.255", true, true),
            ("10.0.0.0/8", "11.0.0.0", false, false),
            ("10.1.0.0/16", "10.0.0.0/8", false, true),
            ("0.0.0.0/0", "192.0.2.1", true, true),
            ("fd00::/8", "fd00:1::1", true, true),
            ("::/0", "ffff::1", true, true),
            ("1-1023", "80", true, true),
            ("1-1023", "1023-2000", false, true),
            ("1-1023", "1024-2000", false, false),
            ("eth*", "eth0", true, true),
            ("eth0", "eth1", false, false),
            ("@a", "@a", true, true),
            ("@a", "@b", false, true),
            ("@a", "10.0.0.1", false, true),
            ("ssh", "22", false, true),
        ] {
            let (one, other) = (value(a), value(b));
            assert_eq!((one.covers(&other), one.meets(&other)), (covers, meets), "{a} {b}");
            assert_eq!(other.meets(&one), meets, "{b} {a}");
        }
        assert_eq!(Value::prefix("10.0.0.0", 33), None);
        assert_eq!(Value::range(&Value::of("a"), &Value::of("2")), None);
    }
}
