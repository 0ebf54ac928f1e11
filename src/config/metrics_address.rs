//! Where Prometheus finds the counters: `ADDRESS:PORT`, or a port of loopback.

use super::units::AsWritten;
use serde::de::Deserializer;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// An address to listen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsAddress(pub SocketAddr);

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let of_loopback = || Some(SocketAddr::from((Ipv4Addr::LOCALHOST, text.parse().ok()?)));
        let address = text.parse().ok().or_else(of_loopback).filter(|address| address.port() != 0);
        address.map(Self).ok_or_else(|| {
            format!(
                "`{text}` is no address for metrics: write a port, such as 9464, or ADDRESS:PORT, such as [::1]:9464"
            )
        })
    }
}

impl<'de> serde::Deserialize<'de> for MetricsAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AsWritten::new("a port, or \"ADDRESS:PORT\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_loopbacks() {
        for (text, expected) in
            [("9464", "127.0.0.1:9464"), ("0.0.0.0:80", "0.0.0.0:80"), ("[2001:db8::1]:9464", "[2001:db8::1]:9464")]
        {
            assert_eq!(text.parse::<MetricsAddress>().unwrap().0.to_string(), expected);
        }
        for text in ["", "0", "127.0.0.1", "127.0.0.1:0", "localhost:9464", ":9464", "65536", "-1"] {
            assert!(text.parse::<MetricsAddress>().unwrap_err().contains("is no address for metrics"), "{text}");
        }
    }
}
