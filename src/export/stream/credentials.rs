//! What TLS and DTLS have in common: files with certificates and keys, the collector's name, and what the operator is told
//! where one of them is not accepted.

use crate::export::settings::Settings;
use crate::export::target::Target;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::error::Error;
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why a collector's certificate is refused.
pub const UNTRUSTED: &str =
    "its certificate comes from an authority that is not trusted here: name the right one with ?ca=FILE";
/// Why a collector's certificate is refused.
pub const MISNAMED: &str =
    "its certificate is for another name: its subjectAltName has to have the host of the URL, or what ?name=NAME says";
/// Why a collector's certificate is refused.
pub const EXPIRED: &str = "its certificate has expired: renew it at the collector";

/// The same for any other reason.
pub fn refused(reason: impl Display) -> String {
    format!("its certificate is refused ({reason}): renew it at the collector")
}

/// The collector has refused the probe's certificate by this alert.
pub fn unwelcome(alert: impl Display) -> String {
    format!("it does not accept the probe's certificate, or wants one ({alert}): name it with ?cert=FILE&key=FILE")
}

/// Why TLS or DTLS cannot be spoken as it was configured; the text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{file} cannot be read ({reason}): the user that the probe is or becomes (--user of `nfweir run`) has to be able to", file = .file.display())]
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
        reason: Box<dyn Error + Send + Sync>,
    },
    /// No certificates of authorities were found.
    #[error("this system has no list of authorities: name the collector's with ?ca=FILE")]
    NoRoots,
    /// The collector's name is none.
    #[error("`{0}` is no name that a certificate can have: give one with ?name=NAME")]
    Name(String),
    /// OpenSSL cannot do what it is asked for.
    #[cfg(feature = "dtls")]
    #[error("OpenSSL cannot speak DTLS 1.2 ({0}): check its version and openssl.cnf")]
    Library(#[from] openssl::error::ErrorStack),
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

/// The probe's own certificate.
pub struct Identity<'a> {
    /// It, and those between it and its authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
    /// The file that it is in.
    pub file: &'a Path,
}

/// The probe's own certificate, if it is to have one.
pub fn identity(settings: &Settings) -> Result<Option<Identity<'_>>, TlsError> {
    let (Some(cert), Some(key)) = (&settings.cert, &settings.key) else { return Ok(None) };
    let chain = certificates(cert)?;
    let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|reason| TlsError::Content {
        file: key.clone(),
        what: "private key",
        reason,
        hint: ": it must not be encrypted by a password",
    })?;
    Ok(Some(Identity { chain, key, file: cert }))
}

/// What a collector's certificate has to name.
pub fn server_name(target: &Target) -> Result<ServerName<'static>, TlsError> {
    let name = target.settings.name.as_ref().unwrap_or(&target.host);
    ServerName::try_from(name.clone()).map_err(|_| TlsError::Name(name.clone()))
}

/// All certificates in a file, at least one.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(&read(file)?).collect::<Result<Vec<_>, _>>();
    let wrong = |reason| TlsError::Content { file: file.to_owned(), what: "certificate", reason, hint: "" };
    match found.map_err(wrong)? {
        none if none.is_empty() => Err(wrong(pem::Error::NoItemsFound)),
        found => Ok(found),
    }
}

/// Those of the system's authorities; of some it may be that they cannot be used.
pub fn system_authorities() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|reason| TlsError::Unreadable { file: file.to_owned(), reason })
}

/// Lets an error name the file that it is about.
pub fn useless<E: Error + Send + Sync + 'static>(file: &Path) -> impl Fn(E) -> TlsError {
    let file = file.to_owned();
    move |reason| TlsError::Useless { file: file.clone(), reason: Box::new(reason) }
}
