//! What a rule asks of packets, as far as it tells whether two rules can log the same one.

use super::value::Value;

/// The device that a packet came in by, by nft's word.
pub const INPUT_DEVICE: &str = "iifname";
/// The device that it goes out by.
pub const OUTPUT_DEVICE: &str = "oifname";
/// The index of no device, as in `iif 0`.
pub const NO_DEVICE: &str = "0";
/// The protocol above IP.
pub const PROTOCOL: &str = "l4proto";
/// Which version of IP it is.
pub const IP_VERSION: &str = "nfproto";
/// What connection tracking thinks of the packet, as nft says it in JSON.
pub const CONNECTION_STATE: &str = r#"{"ct":{"key":"state"}}"#;
/// A packet's or a connection's mark: what one rule sets so that another knows.
pub const MARK: &str = "mark";

/// A field of the packet has, or has not, one of these values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The field.
    pub field: String,
    /// Whether it is to have none of the values.
    pub negated: bool,
    /// The values.
    pub values: Vec<Value>,
}

impl Condition {
    /// The field has this value.
    pub fn is(field: &str, value: &str) -> Self {
        Self { field: field.to_owned(), negated: false, values: vec![Value::of(value)] }
    }

    /// Something is asked of the mark.
    pub fn of_mark() -> Self {
        Self { field: MARK.to_owned(), negated: true, values: Vec::new() }
    }

    /// The opposite.
    pub fn negated(&self) -> Self {
        Self { negated: !self.negated, ..self.clone() }
    }

    /// Whether it is about a device.
    pub fn is_of_device(&self) -> bool {
        [INPUT_DEVICE, OUTPUT_DEVICE].contains(&self.field.as_str())
    }

    /// Whether no packet fulfils both.
    pub fn contradicts(&self, other: &Self) -> bool {
        if self.field != other.field {
            return false;
        }
        match (self.negated, other.negated) {
            (false, false) => !self.values.iter().any(|a| other.values.iter().any(|b| a.meets(b))),
            (false, true) => self.values.iter().all(|a| other.values.iter().any(|b| b.covers(a))),
            (true, false) => other.contradicts(self),
            (true, true) => false,
        }
    }
}

/// Whether no packet fulfils all of both lists: by a contradiction, by a mark that one asks for, as the operator will have
/// thought of that, or because a packet rarely goes out by the device that it came in by.
pub fn exclude_each_other(a: &[Condition], b: &[Condition]) -> bool {
    let mut all = a.iter().chain(b);
    a.iter().any(|a| b.iter().any(|b| a.contradicts(b)))
        || all.any(|condition| condition.field == MARK)
        || match (only_device(a, b, INPUT_DEVICE), only_device(a, b, OUTPUT_DEVICE)) {
            (Some(input), Some(output)) => input == output,
            _ => false,
        }
}

/// The one device that either asks for in this field.
fn only_device<'a>(a: &'a [Condition], b: &'a [Condition], field: &str) -> Option<&'a str> {
    a.iter().chain(b).filter(|condition| condition.field == field).find_map(|condition| match &condition.values[..] {
        [Value::Word(name)] if !condition.negated && !name.ends_with('*') => Some(name.as_str()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(text: &str) -> Condition {
        let words: Vec<_> = text.split(' ').collect();
        let values = words[2..].iter().map(|value| Value::of(value)).collect();
        Condition { field: words[0].to_owned(), negated: words[1] == "!=", values }
    }

    #[test]
    fn conditions_that_no_packet_fulfils_together() {
        for (a, b, expected) in [
            ("iifname == eth0", "iifname == eth1", true),
            ("iifname == eth0 eth1", "iifname == eth1 eth2", false),
            ("iifname == eth*", "iifname == eth1", false),
            ("iifname == eth*", "iifname == ppp*", true),
            ("iifname == eth0", "iifname != eth*", true),
            ("iifname == eth*", "iifname != eth0", false),
            ("iifname == eth0", "iifname != eth0 eth1", true),
            ("iifname == eth0 eth2", "iifname != eth0 eth1", false),
            ("iifname != eth0", "iifname != eth1", false),
            ("iifname == eth0", "oifname == eth0", true),
            ("iifname == eth0", "oifname == eth1", false),
            ("iifname == eth*", "oifname == eth*", false),
            ("mark != 1", "iifname == eth1", true),
            ("l4proto == tcp", "l4proto == udp", true),
            ("daddr == 10.0.0.1 10.0.0.2", "daddr == 10.0.0.3", true),
        ] {
            let (a, b) = ([condition(a)], [condition(b)]);
            assert_eq!(exclude_each_other(&a, &b), expected, "{a:?} {b:?}");
            assert_eq!(exclude_each_other(&b, &a), expected, "{b:?} {a:?}");
        }
    }
}
