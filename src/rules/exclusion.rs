//! `--exclude 'tcp dport 22'`: which packets are not wanted, in nft's words.

use super::expression::{End, Expression, Prefix, TRANSPORTS};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// All of it must be true of a packet.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Exclusion(pub Vec<Expression>);

impl FromStr for Exclusion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let mut expressions = Vec::new();
        while let Some(word) = words.next() {
            match word {
                "ip" | "ip6" => expressions.push(address(word, &mut words)?),
                "meta" => expressions.push(protocol(&mut words)?),
                _ => expressions.extend(port(word, &mut words)?),
            }
        }
        if expressions.is_empty() {
            return Err(format!("nothing is said of the packets to exclude: {EXAMPLES}"));
        }
        once(&mut expressions)
            .map_err(|what| format!("no packet has two {what}, as `{text}` asks for: give several --exclude"))?;
        Ok(Self(expressions))
    }
}

impl TryFrom<String> for Exclusion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

const EXAMPLES: &str = "write `tcp dport 22`, `udp sport 5000-5100`, `ip saddr 10.0.0.0/8`, `ip6 daddr 2001:db8::1`, \
                        `meta l4proto icmp`, or several of them";

/// Leaves each protocol once; or says of what there are two that no packet has both of.
fn once(expressions: &mut Vec<Expression>) -> Result<(), &'static str> {
    let (mut protocols, mut versions) = (Vec::new(), Vec::new());
    expressions.retain(|expression| match expression {
        Expression::Protocol(protocol) => {
            let is_new = !protocols.contains(protocol);
            protocols.push(*protocol);
            is_new
        }
        Expression::Address(_, prefix) => {
            versions.push(prefix.address.is_ipv4());
            true
        }
        _ => true,
    });
    let differ = |first: Option<&bool>| versions.iter().any(|version| Some(version) != first);
    if protocols.iter().any(|protocol| *protocol != protocols[0]) {
        return Err("protocols");
    }
    if differ(versions.first()) { Err("versions of IP") } else { Ok(()) }
}

fn address<'a>(version: &str, words: &mut impl Iterator<Item = &'a str>) -> Result<Expression, String> {
    let end = end(words.next(), ["saddr", "daddr"])?;
    let text = words.next().unwrap_or_default();
    let wrong = || format!("`{text}` is no address of {version}, such as 10.0.0.0/8 or 2001:db8::1");
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let whole = Prefix::host(address.parse::<IpAddr>().map_err(|_| wrong())?);
    let length = length.map_or(Ok(whole.length), |length| length.parse().map_err(|_| wrong()))?;
    if length > whole.length || whole.address.is_ipv4() != (version == "ip") {
        return Err(wrong());
    }
    Ok(Expression::Address(end, Prefix { length, ..whole }))
}

fn protocol<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Expression, String> {
    let name = match (words.next(), words.next()) {
        (Some("l4proto"), Some(name)) => name,
        _ => return Err(format!("`meta` is about `l4proto`: {EXAMPLES}")),
    };
    let named = TRANSPORTS.iter().chain(&[("icmp", 1), ("icmpv6", 58), ("gre", 47), ("esp", 50)]);
    let number = named.into_iter().find_map(|&(known, number)| (known == name).then_some(number));
    let number = number.or_else(|| name.parse().ok()).filter(|number| *number != 0);
    number.map(Expression::Protocol).ok_or_else(|| {
        format!("`{name}` is no protocol that is known here by name: write its number, such as 89 for OSPF")
    })
}

fn port<'a>(name: &str, words: &mut impl Iterator<Item = &'a str>) -> Result<[Expression; 2], String> {
    let Some(&(_, protocol)) = TRANSPORTS.iter().find(|(known, _)| *known == name) else {
        return Err(format!("`{name}` is not understood: {EXAMPLES}"));
    };
    let end = end(words.next(), ["sport", "dport"])?;
    let ports = words.next().and_then(range).ok_or_else(|| format!("`{name}` wants a port or a range: {EXAMPLES}"))?;
    Ok([Expression::Protocol(protocol), Expression::Port(end, ports)])
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = first.parse().ok()?..=last.parse().ok()?;
    (!range.is_empty()).then_some(range)
}

fn end(word: Option<&str>, [source, destination]: [&str; 2]) -> Result<End, String> {
    match word {
        Some(word) if word == source => Ok(End::Source),
        Some(word) if word == destination => Ok(End::Destination),
        _ => Err(format!("`{source}` or `{destination}` is missing: {EXAMPLES}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nft_would_understand() {
        let read = |text: &str| text.parse::<Exclusion>().map(|exclusion| exclusion.0);
        let ssh = [Expression::Protocol(6), Expression::Port(End::Destination, 22..=22)];
        assert_eq!(read("tcp dport 22").unwrap(), ssh);
        let source = Expression::Port(End::Source, 1024..=65535);
        assert_eq!(read("meta l4proto tcp tcp dport 22 tcp sport 1024-65535").unwrap(), [&ssh[..], &[source]].concat());
        let net = Expression::Address(End::Source, Prefix { address: [10, 0, 0, 0].into(), length: 8 });
        assert_eq!(read(" ip saddr 10.0.0.0/8  tcp dport 22 ").unwrap(), [&[net], &ssh[..]].concat());
        assert_eq!(
            read("meta l4proto ospf").unwrap_err().split(':').next(),
            Some("`ospf` is no protocol that is known here by name")
        );
        assert_eq!(read("meta l4proto 89").unwrap(), [Expression::Protocol(89)]);
        let host = Prefix { address: "2001:db8::1".parse().unwrap(), length: 128 };
        assert_eq!(read("ip6 daddr 2001:db8::1").unwrap(), [Expression::Address(End::Destination, host)]);
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "",
            "ssh",
            "tcp",
            "tcp dport",
            "tcp dport x",
            "udp sport 9-1",
            "ip saddr ::1",
            "ip6 saddr 10.0.0.1",
            "ip saddr 10.0.0.0/33",
            "ip dport 22",
            "meta mark 1",
            "meta l4proto",
            "tcp dport 22 drop",
            "meta l4proto 0",
            "udp dport 1 tcp dport 1",
            "ip saddr 10.0.0.1 ip6 daddr ::1",
        ] {
            assert!(text.parse::<Exclusion>().is_err(), "{text}");
        }
    }
}
