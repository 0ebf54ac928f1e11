//! TLS 1.2 and 1.3 (RFC 7011 section 11.3): whom a collector's certificate has to come from, what it has to name, and the
//! probe's own.

use crate::export::target::Target;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, RootCertStore};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why TLS cannot be spoken as it was configured; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or does not hold what it should.
    #[error("{file} holds no {what} in PEM that can be read: {reason}", file = .file.display())]
    File {
        /// Its name.
        file: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong.
        reason: pem::Error,
    },
    /// A certificate or key does not serve.
    #[error("{file} does not serve: {reason}", file = .file.display())]
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
            let secret = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key, "private key"))?;
            builder.with_client_auth_cert(chain, secret).map_err(useless(cert))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// A connection to be, that accepts the collector under its name alone.
pub fn client(target: &Target) -> io::Result<ClientConnection> {
    let name = target.settings.name.as_ref().unwrap_or(&target.host);
    let server = ServerName::try_from(name.clone()).map_err(|_| TlsError::Name(name.clone()))?;
    ClientConnection::new(configure(target)?, server).map_err(io::Error::other)
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
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found.map_err(unreadable(file, "certificate"))? {
        none if none.is_empty() => Err(unreadable(file, "certificate")(pem::Error::NoItemsFound)),
        found => Ok(found),
    }
}

fn unreadable(file: &Path, what: &'static str) -> impl FnOnce(pem::Error) -> TlsError {
    let file = file.to_owned();
    move |reason| TlsError::File { file, what, reason }
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
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate comes from an authority that is not trusted here: name the right one with ?ca=FILE"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another name: correct the URL, or give the name with ?name=NAME".to_owned(),
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired: renew it at the collector".to_owned()
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
                "it does not accept the probe's certificate ({alert:?}): give one that it trusts with ?cert=FILE&key=FILE"
            )
        }
        other => format!("TLS failed: {other}"),
    };
    io::Error::new(error.kind(), sentence)
}
