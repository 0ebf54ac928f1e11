//! Where flows go, as the operator writes it: `SCHEME://HOST:PORT?SETTING=VALUE&…`.

use super::settings::Settings;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An export protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// NetFlow v5.
    NetFlow5,
    /// NetFlow v9.
    NetFlow9,
    /// IPFIX.
    Ipfix,
}

/// What carries its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// An SCTP association.
    Sctp,
    /// A TCP connection, in clear.
    Tcp,
    /// A TCP connection, encrypted.
    Tls,
    /// Datagrams, encrypted.
    #[cfg(feature = "dtls")]
    Dtls,
}

impl Transport {
    /// Whether messages can get lost on the way, and come faster than they are read.
    pub fn loses_messages(self) -> bool {
        match self {
            Self::Udp => true,
            Self::Sctp | Self::Tcp | Self::Tls => false,
            #[cfg(feature = "dtls")]
            Self::Dtls => true,
        }
    }

    /// Whether collector and probe show each other certificates.
    pub fn is_encrypted(self) -> bool {
        match self {
            Self::Udp | Self::Sctp | Self::Tcp => false,
            Self::Tls => true,
            #[cfg(feature = "dtls")]
            Self::Dtls => true,
        }
    }
}

/// A way to speak to a collector.
struct Scheme {
    name: &'static str,
    protocol: Protocol,
    transport: Transport,
    /// Where none is given: IANA's for IPFIX, the customary one for NetFlow.
    port: u16,
}

const SCHEMES: &[Scheme] = &[
    Scheme { name: "netflow5", protocol: Protocol::NetFlow5, transport: Transport::Udp, port: 2055 },
    Scheme { name: "netflow9", protocol: Protocol::NetFlow9, transport: Transport::Udp, port: 2055 },
    Scheme { name: "ipfix", protocol: Protocol::Ipfix, transport: Transport::Udp, port: 4739 },
    Scheme { name: "ipfix+sctp", protocol: Protocol::Ipfix, transport: Transport::Sctp, port: 4739 },
    Scheme { name: "ipfix+tcp", protocol: Protocol::Ipfix, transport: Transport::Tcp, port: 4739 },
    Scheme { name: "ipfix+tls", protocol: Protocol::Ipfix, transport: Transport::Tls, port: 4740 },
    #[cfg(feature = "dtls")]
    Scheme { name: "ipfix+dtls", protocol: Protocol::Ipfix, transport: Transport::Dtls, port: 4740 },
];

/// A collector.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Target {
    /// How to speak to it.
    pub protocol: Protocol,
    /// What carries that.
    pub transport: Transport,
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What is to be different.
    pub settings: Settings,
}

impl Target {
    /// A collector that is spoken to by UDP.
    pub fn udp(protocol: Protocol, host: String, port: u16) -> Self {
        Self { protocol, transport: Transport::Udp, host, port, settings: Settings::default() }
    }

    fn scheme(&self) -> &'static str {
        let own = SCHEMES.iter().find(|it| it.protocol == self.protocol && it.transport == self.transport);
        own.map_or("", |scheme| scheme.name)
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).map_err(|reason| format!("export target `{text}`: {reason}"))
    }
}

/// How targets are written.
fn forms() -> String {
    let forms: Vec<_> = SCHEMES.iter().map(|scheme| format!("{}://HOST:PORT", scheme.name)).collect();
    format!("write {}, file:PATH or json:PATH", forms.join(", "))
}

/// Or the reason why not.
fn parse(text: &str) -> Result<Target, String> {
    let (name, rest) = text.split_once("://").ok_or_else(|| format!("no protocol; {}", forms()))?;
    if cfg!(not(feature = "dtls")) && name.eq_ignore_ascii_case("ipfix+dtls") {
        return Err(
            "this nfweir was built without DTLS: build it with `--features dtls`, or use ipfix+tls://".to_owned()
        );
    }
    let scheme = SCHEMES
        .iter()
        .find(|scheme| scheme.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| format!("`{name}` is not a protocol that can be exported by; {}", forms()))?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, port) = host_and_port(place.strip_suffix('/').unwrap_or(place))?;
    let settings = Settings::parse(query, scheme.transport)?;
    let port = port.unwrap_or(scheme.port);
    // an IPv4 address in the form of IPv6 (RFC 4291 section 2.5.5.2) would take options of both for its socket
    let host = host.parse().map_or_else(|_| host.to_owned(), |address: IpAddr| address.to_canonical().to_string());
    Ok(Target { protocol: scheme.protocol, transport: scheme.transport, host, port, settings })
}

fn host_and_port(place: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match place.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or("a bracket is not closed")?;
            let port = rest.strip_prefix(':');
            if port.is_none() && !rest.is_empty() {
                return Err("only a port can follow the bracket".to_owned());
            }
            (host, port)
        }
        None if place.matches(':').count() > 1 => return Err("an IPv6 address needs brackets, as in [::1]".to_owned()),
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || "/#@".contains(c)) {
        return Err("no host name or address".to_owned());
    }
    let number = |port: &str| match port.parse() {
        Ok(0) | Err(_) => Err(format!("`{port}` is not a port from 1 to 65535")),
        Ok(number) => Ok(number),
    };
    Ok((host, port.map(number).transpose()?))
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Without its settings.
impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme();
        match self.host.contains(':') {
            true => write!(out, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(out, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_as_written() {
        for (text, host, port) in [
            ("netflow5://10.0.0.1", "10.0.0.1", 2055),
            ("netflow9://collector.example:9995", "collector.example", 9995),
            ("ipfix://[2001:db8::1]", "2001:db8::1", 4739),
            ("ipfix://[::1]:1", "::1", 1),
            ("ipfix://[::ffff:10.0.0.1]:1", "10.0.0.1", 1),
            ("IPFIX://10.0.0.1:4739/", "10.0.0.1", 4739),
            ("ipfix+sctp://10.0.0.1", "10.0.0.1", 4739),
            ("ipfix+tcp://10.0.0.1", "10.0.0.1", 4739),
            ("ipfix+tls://collector.example", "collector.example", 4740),
            #[cfg(feature = "dtls")]
            ("ipfix+dtls://collector.example", "collector.example", 4740),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.host.as_str(), target.port), (host, port));
            assert_eq!(target.to_string().parse(), Ok(target));
        }
    }

    #[test]
    fn settings_are_not_part_of_the_name() {
        let target: Target = "ipfix+tls://[::1]:9?name=e.example&queue=7".parse().unwrap();
        assert_eq!((target.settings.queue, target.settings.name.as_deref()), (7, Some("e.example")));
        assert_eq!(target.to_string(), "ipfix+tls://[::1]:9");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, reason) in [
            ("10.0.0.1:2055", "no protocol"),
            ("sflow://10.0.0.1", "`sflow` is not a protocol"),
            ("ipfix://::1", "needs brackets"),
            ("ipfix://[::1", "not closed"),
            ("ipfix://[::1]4739", "only a port"),
            ("ipfix://:4739", "no host"),
            ("ipfix://host/path", "no host"),
            ("ipfix://host:0", "`0` is not a port"),
            ("ipfix://host:65536", "`65536` is not a port"),
            ("ipfix://host?ca=x", "`ca` is for ipfix+tls://"),
            #[cfg(not(feature = "dtls"))]
            ("ipfix+dtls://host", "built without DTLS: build it with `--features dtls`"),
        ] {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
