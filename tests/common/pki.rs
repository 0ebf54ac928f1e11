//! Authorities and certificates, in files of a folder that goes with the test.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub struct Pki(TempDir);

/// A certificate and its key.
pub struct Identity {
    pub cert: PathBuf,
    pub key: PathBuf,
}

pub struct Authority {
    pub cert: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    pub fn new() -> Self {
        let pki = Self(tempfile::tempdir().unwrap());
        // the probe reads files as nobody
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(pki.0.path(), everybody).unwrap();
        pki
    }

    pub fn authority(&self, name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let cert = self.write(&format!("{name}.pem"), &params.self_signed(&key).unwrap().pem());
        Authority { cert, issuer: Issuer::new(params, key) }
    }

    /// Signed by an authority for a name or an address.
    pub fn identity(&self, file: &str, name: &str, authority: &Authority) -> Identity {
        self.sign(file, CertificateParams::new([name.to_owned()]).unwrap(), authority)
    }

    /// The same, but long past.
    pub fn expired(&self, file: &str, name: &str, authority: &Authority) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(file, params, authority)
    }

    fn sign(&self, file: &str, params: CertificateParams, authority: &Authority) -> Identity {
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &authority.issuer).unwrap();
        Identity {
            cert: self.write(&format!("{file}.pem"), &cert.pem()),
            key: self.write(&format!("{file}.key"), &key.serialize_pem()),
        }
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path: &Path = self.0.path();
        let path = path.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}
