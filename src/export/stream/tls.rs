//! TLS 1.2 and 1.3 (RFC 7011 section 11.3): whom a collector's certificate has to come from, what it has to name, and the
//! probe's own.

use crate::export::target::Target;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, RootCertStore};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why TLS cannot be spoken as it was configured; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{file} cannot be read ({reason}): the user that the probe becomes has to be able to, see --user", file = .file.display())]
    Unreadable {
        /// Its name.
        file: PathBuf,
        /// Why not.
        reason: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{file} holds no {what} in PEM ({reason}){hint}", file = .file.display())]
    Content {
        /// Its name.
        file: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong.
        reason: pem::Error,
        /// What may be the reason for that.
        hint: &'static str,
    },
    /// A certificate or key does not serve.
    #[error("{file} does not serve ({reason}): give a certificate with the key that belongs to it", file = .file.display())]
    Useless {
        /// The file it is in.
        file: PathBuf,
        /// What is wrong.
        reason: rustls::Error,
    },
    /// No certificates of authorities were found.
    #[error("this system has no list of authorities: name the collector's with ?ca=FILE")]
    NoRoots,
    /// The collector's name is none.
    #[error("`{0}` is no name that a certificate can have: give one with ?name=NAME")]
    Name(String),
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

/// Reads the files that the collector's URL names.
pub fn configure(target: &Target) -> Result<Arc<ClientConfig>, TlsError> {
    let settings = &target.settings;
    let builder = ClientConfig::builder().with_root_certificates(roots(settings.ca.as_deref())?);
    let config = match (&settings.cert, &settings.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|reason| TlsError::Content {
                file: key.clone(),
                what: "private key",
                reason,
                hint: ": it must not be encrypted by a password",
            })?;
            builder.with_client_auth_cert(chain, secret).map_err(useless(cert))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// A connection to be, that accepts the collector under its name alone.
pub fn client(target: &Target, config: &Arc<ClientConfig>) -> io::Result<ClientConnection> {
    let name = target.settings.name.as_ref().unwrap_or(&target.host);
    let server = ServerName::try_from(name.clone()).map_err(|_| TlsError::Name(name.clone()))?;
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
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(TlsError::NoRoots);
            }
        }
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(&read(file)?).collect::<Result<Vec<_>, _>>();
    let wrong = |reason| TlsError::Content { file: file.to_owned(), what: "certificate", reason, hint: "" };
    match found.map_err(wrong)? {
        none if none.is_empty() => Err(wrong(pem::Error::NoItemsFound)),
        found => Ok(found),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|reason| TlsError::Unreadable { file: file.to_owned(), reason })
}

fn useless(file: &Path) -> impl FnOnce(rustls::Error) -> TlsError {
    let file = file.to_owned();
    move |reason| TlsError::Useless { file, reason }
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
        ) => {
            format!(
                "it does not accept the probe's certificate, or wants one ({alert:?}): name it with ?cert=FILE&key=FILE"
            )
        }
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
        CertificateError::UnknownIssuer => {
            "its certificate comes from an authority that is not trusted here: name the right one with ?ca=FILE"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name: its subjectAltName has to have the host of the URL, or what ?name=NAME says"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired: renew it at the collector"
        }
        _ if other.contains("CaUsedAsEndEntity") => {
            "its certificate is an authority's own: let the authority sign another for the collector"
        }
        _ if other.contains("UnsupportedCertVersion") => {
            "its certificate is not of X.509 version 3: sign it with extensions, such as its subjectAltName"
        }
        _ => return format!("its certificate is refused ({other}): renew it at the collector"),
    }
    .to_owned()
}
