//! Where packets can be logged, and on which ways one packet comes by several such places.

use std::fmt;

/// The family of a table: which packets its chains see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Both.
    Inet,
    /// Frames of a bridge.
    Bridge,
    /// Frames of a device.
    Netdev,
}

impl Family {
    /// By nft's name; that of ARP has no packets to count.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "ip" => Self::Ip,
            "ip6" => Self::Ip6,
            "inet" => Self::Inet,
            "bridge" => Self::Bridge,
            "netdev" => Self::Netdev,
            _ => return None,
        })
    }

    /// The only version of IP that it sees, by nft's name.
    pub fn version(self) -> Option<&'static str> {
        match self {
            Self::Ip => Some("ipv4"),
            Self::Ip6 => Some("ipv6"),
            _ => None,
        }
    }

    /// Whether one packet can come by chains of both.
    pub fn meets(self, other: Self) -> bool {
        !matches!((self, other), (Self::Ip, Self::Ip6) | (Self::Ip6, Self::Ip))
    }
}

/// A hook of netfilter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// What a device receives.
    Ingress,
    /// What comes in, before routing.
    Prerouting,
    /// What is for this host.
    Input,
    /// What is for others.
    Forward,
    /// What this host sends.
    Output,
    /// What goes out, after routing.
    Postrouting,
    /// What a device sends.
    Egress,
}

/// By the names of nft, which are those of iptables' chains in lower case.
const NAMES: [(Hook, &str); 7] = [
    (Hook::Ingress, "ingress"),
    (Hook::Prerouting, "prerouting"),
    (Hook::Input, "input"),
    (Hook::Forward, "forward"),
    (Hook::Output, "output"),
    (Hook::Postrouting, "postrouting"),
    (Hook::Egress, "egress"),
];

impl Hook {
    /// By its name, in upper or lower case.
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find_map(|(hook, its)| its.eq_ignore_ascii_case(name).then_some(*hook))
    }

    /// All.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(hook, _)| *hook)
    }

    /// Whether it sees what came in from elsewhere.
    pub fn sees_received(self) -> bool {
        !matches!(self, Self::Output | Self::Egress)
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(NAMES[*self as usize].1)
    }
}

/// A way of packets through the host.
#[derive(Debug, PartialEq, Eq)]
pub struct Way {
    /// Which packets go it.
    pub who: &'static str,
    /// The hooks that they come by, in order.
    pub hooks: &'static [Hook],
    /// Whether they come in by a device.
    pub input: bool,
    /// Whether they go out by a device.
    pub output: bool,
}

/// All ways but that by the loopback device, which is [`LOOPBACK`].
pub const WAYS: [Way; 3] = [
    Way {
        who: "forwarded",
        hooks: &[Hook::Ingress, Hook::Prerouting, Hook::Forward, Hook::Postrouting, Hook::Egress],
        input: true,
        output: true,
    },
    Way { who: "received", hooks: &[Hook::Ingress, Hook::Prerouting, Hook::Input], input: true, output: false },
    Way { who: "sent", hooks: &[Hook::Output, Hook::Postrouting, Hook::Egress], input: false, output: true },
];

/// What the host sends to itself.
pub const LOOPBACK: Way = Way {
    who: "loopback",
    hooks: &[Hook::Output, Hook::Postrouting, Hook::Egress, Hook::Ingress, Hook::Prerouting, Hook::Input],
    input: true,
    output: true,
};
