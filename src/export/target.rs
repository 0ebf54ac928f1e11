//! Where flows go, as the operator writes it: `SCHEME://HOST:PORT?SETTING=VALUE&…`.

use std::fmt;
use std::path::PathBuf;
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
    /// A connection, in clear.
    Tcp,
    /// A connection, encrypted.
    Tls,
}

/// A way to speak to a collector.
struct Scheme {
    name: &'static str,
    protocol: Protocol,
    transport: Transport,
    /// Where none is given: IANA's for IPFIX, the customary one for NetFlow.
    port: u16,
}

const SCHEMES: [Scheme; 5] = [
    Scheme { name: "netflow5", protocol: Protocol::NetFlow5, transport: Transport::Udp, port: 2055 },
    Scheme { name: "netflow9", protocol: Protocol::NetFlow9, transport: Transport::Udp, port: 2055 },
    Scheme { name: "ipfix", protocol: Protocol::Ipfix, transport: Transport::Udp, port: 4739 },
    Scheme { name: "ipfix+tcp", protocol: Protocol::Ipfix, transport: Transport::Tcp, port: 4739 },
    Scheme { name: "ipfix+tls", protocol: Protocol::Ipfix, transport: Transport::Tls, port: 4740 },
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

/// What a collector's URL says behind its question mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Certificates of the authorities that may have signed the collector's; `None` for the system's.
    pub ca: Option<PathBuf>,
    /// The probe's own certificate, and those between it and its authority.
    pub cert: Option<PathBuf>,
    /// The private key to that.
    pub key: Option<PathBuf>,
    /// What the collector's certificate has to name; `None` for its host.
    pub name: Option<String>,
    /// Records that are kept at most while there is no connection.
    pub queue: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { ca: None, cert: None, key: None, name: None, queue: 65_536 }
    }
}

impl Settings {
    /// Sets one; or says why it cannot be.
    fn set(&mut self, setting: &str, transport: Transport) -> Result<(), String> {
        let (name, value) = setting.split_once('=').ok_or_else(|| format!("`{setting}` is no SETTING=VALUE"))?;
        let (connected, encrypted) = (transport != Transport::Udp, transport == Transport::Tls);
        let path = || Some(PathBuf::from(value));
        match name {
            "ca" if encrypted => self.ca = path(),
            "cert" if encrypted => self.cert = path(),
            "key" if encrypted => self.key = path(),
            "name" if encrypted => self.name = Some(value.to_owned()),
            "queue" if connected => match value.parse() {
                Ok(records @ 1..=10_000_000) => self.queue = records,
                _ => return Err(format!("queue={value} is no number of records from 1 to 10000000")),
            },
            "ca" | "cert" | "key" | "name" => return Err(format!("`{name}` is for ipfix+tls:// alone")),
            "queue" => return Err(format!("`{name}` is for ipfix+tcp:// and ipfix+tls:// alone")),
            _ => return Err(format!("`{name}` is no setting: there are ca, cert, key, name, queue")),
        }
        if value.is_empty() { Err(format!("`{name}` has no value")) } else { Ok(()) }
    }
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
        parse(text).map_err(|reason| {
            let forms: Vec<_> = SCHEMES.iter().map(|scheme| format!("{}://HOST:PORT", scheme.name)).collect();
            format!("export target `{text}`: {reason}; write {}", forms.join(", "))
        })
    }
}

/// Or the reason why not.
fn parse(text: &str) -> Result<Target, String> {
    let (name, rest) = text.split_once("://").ok_or("no protocol")?;
    let scheme = SCHEMES
        .iter()
        .find(|scheme| scheme.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| format!("`{name}` is not a protocol that can be exported by"))?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, port) = host_and_port(place.strip_suffix('/').unwrap_or(place))?;
    let mut settings = Settings::default();
    for setting in query.split('&').filter(|setting| !setting.is_empty()) {
        settings.set(setting, scheme.transport)?;
    }
    if settings.cert.is_some() != settings.key.is_some() {
        return Err("`cert` and `key` belong together".to_owned());
    }
    let port = port.unwrap_or(scheme.port);
    Ok(Target { protocol: scheme.protocol, transport: scheme.transport, host: host.to_owned(), port, settings })
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
            ("IPFIX://10.0.0.1:4739/", "10.0.0.1", 4739),
            ("ipfix+tcp://10.0.0.1", "10.0.0.1", 4739),
            ("ipfix+tls://collector.example", "collector.example", 4740),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.host.as_str(), target.port), (host, port));
            assert_eq!(target.to_string().parse(), Ok(target));
        }
    }

    #[test]
    fn settings_as_written() {
        let target: Target = "ipfix+tls://[::1]:9?ca=/a/b.pem&cert=c&key=d&name=e.example&queue=7".parse().unwrap();
        let [ca, cert, key] = ["/a/b.pem", "c", "d"].map(|path| Some(PathBuf::from(path)));
        assert_eq!(target.settings, Settings { ca, cert, key, name: Some("e.example".to_owned()), queue: 7 });
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
            ("ipfix://host?queue=5", "`queue` is for ipfix+tcp://"),
            ("ipfix+tcp://host?queue=0", "queue=0 is no number of records"),
            ("ipfix+tls://host?ca", "`ca` is no SETTING=VALUE"),
            ("ipfix+tls://host?ca=", "`ca` has no value"),
            ("ipfix+tls://host?colour=red", "`colour` is no setting: there are ca, cert"),
            ("ipfix+tls://host?cert=x", "belong together"),
        ] {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
