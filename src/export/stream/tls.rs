//! TLS 1.2 and 1.3 (RFC 7011 section 11.3), by rustls.

use super::credentials::{self, Identity, TlsError, certificates, useless};
use crate::export::target::Target;
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, RootCertStore};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Reads the files that the collector's URL names.
pub fn configure(target: &Target) -> Result<Arc<ClientConfig>, TlsError> {
    let settings = &target.settings;
    let builder = ClientConfig::builder().with_root_certificates(roots(settings.ca.as_deref())?);
    let config = match credentials::identity(settings)? {
        Some(Identity { chain, key, file }) => builder.with_client_auth_cert(chain, key).map_err(useless(file))?,
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// A connection to be, that accepts the collector under its name alone.
pub fn client(target: &Target, config: &Arc<ClientConfig>) -> io::Result<ClientConnection> {
    let server = credentials::server_name(target)?;
    ClientConnection::new(config.clone(), server).map_err(io::Error::other)
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(useless(file))?;
            }
        }
        None => {
            roots.add_parsable_certificates(credentials::system_authorities());
            if roots.is_empty() {
                return Err(TlsError::NoRoots);
            }
        }
    }
    Ok(roots)
}

/// What an error of TLS means, in the operator's words.
pub fn explain(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(tls) = inner else { return error };
    let sentence = match tls {
        rustls::Error::InvalidCertificate(reason) => certificate(reason),
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "it speaks neither TLS 1.2 nor 1.3: let it do so".to_owned()
        }
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::CertificateRequired
            | AlertDescription::HandshakeFailure
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::AccessDenied),
        ) => credentials::unwelcome(format_args!("{alert:?}")),
        rustls::Error::InvalidMessage(_) => {
            "what it answers is not TLS: check its port, or use ipfix+tcp://".to_owned()
        }
        other => format!("TLS failed: {other}"),
    };
    io::Error::new(error.kind(), sentence)
}

/// Why the collector's certificate was refused.
fn certificate(reason: &CertificateError) -> String {
    let other = reason.to_string();
    match reason {
        CertificateError::UnknownIssuer => credentials::UNTRUSTED,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => credentials::MISNAMED,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => credentials::EXPIRED,
        _ if other.contains("CaUsedAsEndEntity") => {
            "its certificate is an authority's own: let the authority sign another for the collector"
        }
        _ if other.contains("UnsupportedCertVersion") => {
            "its certificate is not of X.509 version 3: sign it with extensions, such as its subjectAltName"
        }
        _ => return credentials::refused(other),
    }
    .to_owned()
}
