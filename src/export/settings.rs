//! What a collector's URL says behind its question mark: `SETTING=VALUE&…`.

use super::target::Transport;
use socket2::{SockAddr, Socket};
use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

/// The names of all settings.
const NAMES: &str = "source, device, dscp, ttl, domain, rate, queue, ca, cert, key, name";

/// What is to be different for one collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The probe's address that messages come from; `None` for the route's.
    pub source: Option<IpAddr>,
    /// The network device that they go by, whatever the route says.
    pub device: Option<String>,
    /// Their differentiated services code point (RFC 2474).
    pub dscp: Option<u8>,
    /// Their time to live or hop limit.
    pub ttl: Option<u8>,
    /// What the exporter is called: observation domain, source id, or engine type and id.
    pub domain: Option<u32>,
    /// Most messages a second, 0 for no limit; `None` for what all collectors have.
    pub rate: Option<u32>,
    /// Records that are kept at most while there is no connection.
    pub queue: u32,
    /// Certificates of the authorities that may have signed the collector's; `None` for the system's.
    pub ca: Option<PathBuf>,
    /// The probe's own certificate, and those between it and its authority.
    pub cert: Option<PathBuf>,
    /// The private key to that.
    pub key: Option<PathBuf>,
    /// What the collector's certificate has to name; `None` for its host.
    pub name: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let (source, device, dscp, ttl, domain, rate, ca, cert, key, name) = Default::default();
        Self { source, device, dscp, ttl, domain, rate, queue: 65_536, ca, cert, key, name }
    }
}

impl Settings {
    /// Reads them; or says what is wrong.
    pub fn parse(text: &str, transport: Transport) -> Result<Self, String> {
        let mut settings = Self::default();
        for setting in text.split('&').filter(|setting| !setting.is_empty()) {
            match setting.split_once('=') {
                Some((name, "")) => return Err(format!("`{name}` has no value")),
                Some((name, value)) => settings.set(name, value, transport)?,
                None => return Err(format!("`{setting}` is no SETTING=VALUE")),
            }
        }
        if settings.cert.is_some() != settings.key.is_some() {
            return Err("`cert` and `key` belong together".to_owned());
        }
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &str, transport: Transport) -> Result<(), String> {
        let (connected, encrypted) = (transport != Transport::Udp, transport.is_encrypted());
        let path = || Some(PathBuf::from(value));
        match name {
            "source" => {
                let address: IpAddr = value.parse().map_err(|_| format!("source={value} is no IP address"))?;
                self.source = Some(address.to_canonical());
            }
            "device" => self.device = Some(value.to_owned()),
            "dscp" => self.dscp = Some(number(name, value, 0..=63)?),
            "ttl" => self.ttl = Some(number(name, value, 1..=255)?),
            "domain" => self.domain = Some(number(name, value, 0..=u32::MAX)?),
            "rate" if transport.loses_messages() => self.rate = Some(number(name, value, 0..=10_000_000)?),
            "queue" if connected => self.queue = number(name, value, 1..=10_000_000)?,
            "ca" if encrypted => self.ca = path(),
            "cert" if encrypted => self.cert = path(),
            "key" if encrypted => self.key = path(),
            "name" if encrypted => self.name = Some(value.to_owned()),
            "rate" => return Err("`rate` is not for SCTP, TCP and TLS, which pace themselves".to_owned()),
            "queue" => return Err("`queue` is not for UDP, which keeps nothing".to_owned()),
            "ca" | "cert" | "key" | "name" => {
                return Err(format!("`{name}` is for ipfix+tls:// and ipfix+dtls:// alone"));
            }
            _ => return Err(format!("`{name}` is no setting: there are {NAMES}")),
        }
        Ok(())
    }

    /// Makes a socket that is to be connected to `address` as it is wanted.
    pub fn apply(&self, socket: &Socket, address: &SocketAddr) -> io::Result<()> {
        if let Some(device) = &self.device {
            socket.bind_device(Some(device.as_bytes())).map_err(about("device", device))?;
        }
        if let Some(source) = self.source {
            if source.is_ipv4() != address.is_ipv4() {
                let wrong = io::Error::other("the collector's address is of the other IP version");
                return Err(about("source", source)(wrong));
            }
            socket.bind(&SockAddr::from(SocketAddr::from((source, 0)))).map_err(about("source", source))?;
        }
        if let Some(dscp) = self.dscp.map(u32::from) {
            // the upper six bits of the octet
            let set = if address.is_ipv6() { Socket::set_tclass_v6 } else { Socket::set_tos_v4 };
            set(socket, dscp << 2).map_err(about("dscp", dscp))?;
        }
        if let Some(ttl) = self.ttl.map(u32::from) {
            let set = if address.is_ipv6() { Socket::set_unicast_hops_v6 } else { Socket::set_ttl_v4 };
            set(socket, ttl).map_err(about("ttl", ttl))?;
        }
        Ok(())
    }
}

/// A number within its bounds.
fn number<T>(name: &str, value: &str, bounds: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    let number = value.parse().ok().filter(|number| bounds.contains(number));
    number.ok_or_else(|| format!("{name}={value} is no number from {} to {}", bounds.start(), bounds.end()))
}

/// Lets an error name the setting that it is about.
fn about(name: &'static str, value: impl Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{name}={value} cannot be used ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_as_written() {
        let text = "source=::1&device=lo&dscp=46&ttl=1&domain=7&queue=9&ca=/a/b.pem&cert=c&key=d&name=e.example";
        let [ca, cert, key] = ["/a/b.pem", "c", "d"].map(|path| Some(PathBuf::from(path)));
        let expected = Settings {
            source: "::1".parse().ok(),
            device: Some("lo".to_owned()),
            dscp: Some(46),
            ttl: Some(1),
            domain: Some(7),
            rate: None,
            queue: 9,
            ca,
            cert,
            key,
            name: Some("e.example".to_owned()),
        };
        assert_eq!(Settings::parse(text, Transport::Tls), Ok(expected));
        #[cfg(feature = "dtls")]
        assert_eq!(
            Settings::parse("rate=5&queue=9&ca=/a/b.pem", Transport::Dtls).map(|settings| settings.rate),
            Ok(Some(5))
        );
        assert_eq!(Settings::parse("rate=0", Transport::Udp).map(|settings| settings.rate), Ok(Some(0)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, transport, reason) in [
            ("ca=x", Transport::Udp, "`ca` is for ipfix+tls://"),
            ("queue=5", Transport::Udp, "`queue` is not for UDP"),
            ("rate=5", Transport::Tcp, "`rate` is not for SCTP, TCP and TLS"),
            ("rate=5", Transport::Sctp, "`rate` is not for SCTP, TCP and TLS"),
            ("ca=x", Transport::Sctp, "`ca` is for ipfix+tls://"),
            ("queue=0", Transport::Tcp, "queue=0 is no number from 1 to 10000000"),
            ("dscp=64", Transport::Udp, "dscp=64 is no number from 0 to 63"),
            ("ttl=0", Transport::Udp, "ttl=0 is no number from 1 to 255"),
            ("domain=-1", Transport::Udp, "domain=-1 is no number from 0 to 4294967295"),
            ("source=eth0", Transport::Udp, "source=eth0 is no IP address"),
            ("ca", Transport::Tls, "`ca` is no SETTING=VALUE"),
            ("ca=", Transport::Tls, "`ca` has no value"),
            ("colour=red", Transport::Tls, "`colour` is no setting: there are source, device"),
            ("cert=x", Transport::Tls, "belong together"),
        ] {
            let error = Settings::parse(text, transport).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
