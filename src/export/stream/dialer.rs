//! How a collector is connected to: in clear, or by TLS or DTLS with the files that its URL names.

use super::connection::Connection;
use super::credentials::TlsError;
#[cfg(feature = "dtls")]
use super::dtls::{self, DtlsConnection};
use super::sctp::SctpConnection;
use super::tcp::TcpConnection;
use super::tls;
use crate::export::target::{Target, Transport};
use rustls::ClientConfig;
use std::io;
use std::sync::Arc;

/// What it takes to make connections to a collector.
pub enum Dialer {
    Sctp,
    Tcp,
    Tls(Arc<ClientConfig>),
    #[cfg(feature = "dtls")]
    Dtls(openssl::ssl::SslContext),
}

impl Dialer {
    /// Reads the files that the collector's URL names.
    pub fn new(target: &Target) -> Result<Self, TlsError> {
        Ok(match target.transport {
            Transport::Sctp => Self::Sctp,
            Transport::Udp | Transport::Tcp => Self::Tcp,
            Transport::Tls => Self::Tls(tls::configure(target)?),
            #[cfg(feature = "dtls")]
            Transport::Dtls => Self::Dtls(dtls::configure(target)?),
        })
    }

    /// A connection that can be written to.
    pub fn open(&self, target: &Target) -> io::Result<Box<dyn Connection>> {
        Ok(match self {
            Self::Sctp => Box::new(SctpConnection::open(target)?),
            Self::Tcp => Box::new(TcpConnection::open(target, None)?),
            Self::Tls(config) => Box::new(TcpConnection::open(target, Some(config))?),
            #[cfg(feature = "dtls")]
            Self::Dtls(context) => Box::new(DtlsConnection::open(target, context)?),
        })
    }
}
