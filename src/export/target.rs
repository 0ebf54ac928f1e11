//! Where flows go, as the operator writes it: `netflow5://HOST:PORT`, `netflow9://…`, `ipfix://…`.

use std::fmt;
use std::str::FromStr;

/// An export protocol over UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// NetFlow v5.
    NetFlow5,
    /// NetFlow v9.
    NetFlow9,
    /// IPFIX.
    Ipfix,
}

impl Protocol {
    const ALL: [Self; 3] = [Self::NetFlow5, Self::NetFlow9, Self::Ipfix];

    fn scheme(self) -> &'static str {
        match self {
            Self::NetFlow5 => "netflow5",
            Self::NetFlow9 => "netflow9",
            Self::Ipfix => "ipfix",
        }
    }

    /// The port where none is given: IANA's for IPFIX, the customary one for NetFlow.
    fn default_port(self) -> u16 {
        match self {
            Self::NetFlow5 | Self::NetFlow9 => 2055,
            Self::Ipfix => 4739,
        }
    }
}

/// A collector.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Target {
    /// How to speak to it.
    pub protocol: Protocol,
    /// Its name or address, without brackets.
    pub host: String,
    /// Its UDP port.
    pub port: u16,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |reason: &str| {
            format!(
                "export target `{text}`: {reason}; write netflow5://HOST:PORT, netflow9://HOST:PORT or ipfix://HOST:PORT"
            )
        };
        let (scheme, place) = text.split_once("://").ok_or_else(|| wrong("no protocol"))?;
        let place = place.strip_suffix('/').unwrap_or(place);
        let protocol = Protocol::ALL
            .into_iter()
            .find(|protocol| protocol.scheme().eq_ignore_ascii_case(scheme))
            .ok_or_else(|| wrong(&format!("`{scheme}` is not a protocol that can be exported by")))?;
        let (host, port) = match place.strip_prefix('[') {
            Some(bracketed) => {
                let (host, rest) = bracketed.split_once(']').ok_or_else(|| wrong("a bracket is not closed"))?;
                let port = rest.strip_prefix(':');
                if port.is_none() && !rest.is_empty() {
                    return Err(wrong("only a port can follow the bracket"));
                }
                (host, port)
            }
            None if place.matches(':').count() > 1 => return Err(wrong("an IPv6 address needs brackets, as in [::1]")),
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || "/?#@".contains(c)) {
            return Err(wrong("no host name or address"));
        }
        let port = match port {
            None => protocol.default_port(),
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => return Err(wrong(&format!("`{port}` is not a port from 1 to 65535"))),
                Ok(port) => port,
            },
        };
        Ok(Self { protocol, host: host.to_owned(), port })
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.protocol.scheme();
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
            ("IPFIX://10.0.0.1:4739/", "10.0.0.1", 4739),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.host.as_str(), target.port), (host, port));
            assert_eq!(target.to_string().parse(), Ok(target));
        }
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
        ] {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
