//! DTLS 1.2 (RFC 7011 section 11.3), by OpenSSL: whom it trusts, and what its errors mean.

mod connection;

use super::connection::closed;
use super::credentials::{self, Identity, TlsError, certificates, useless};
use crate::export::target::Target;
pub use connection::DtlsConnection;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{
    Error, ErrorCode, Ssl, SslAlert, SslContext, SslMethod, SslOptions, SslRef, SslVerifyMode, SslVersion,
};
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509CheckFlags, X509VerifyFlags};
use openssl::x509::{X509, X509VerifyResult};
use rustls::pki_types::ServerName;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::path::Path;

/// Those of TLS here: with forward secrecy, and authenticated encryption.
const CIPHERS: &str = "ECDHE+AESGCM:ECDHE+CHACHA20";

/// Results of the verification of a certificate, by their numbers in OpenSSL's `x509_vfy.h`: its issuer or the end of its
/// chain is not known, or not the one that signed it.
const UNTRUSTED: [i32; 6] = [2, 7, 18, 19, 20, 21];
const EXPIRED: i32 = 10;
/// A host name or an IP address is another.
const MISNAMED: [i32; 2] = [62, 64];

/// Reads the files that the collector's URL names.
pub fn configure(target: &Target) -> Result<SslContext, TlsError> {
    let settings = &target.settings;
    let mut context = SslContext::builder(SslMethod::dtls_client())?;
    context.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
    context.set_cipher_list(CIPHERS)?;
    // OpenSSL cannot ask a socket that is not its own for the MTU
    context.set_options(SslOptions::NO_QUERY_MTU | SslOptions::NO_RENEGOTIATION | SslOptions::NO_COMPRESSION);
    context.set_verify(SslVerifyMode::PEER);
    context.set_cert_store(authorities(settings.ca.as_deref())?);
    if let Some(Identity { chain, key, file }) = credentials::identity(settings)? {
        let chain = chain.iter().map(|der| X509::from_der(der)).collect::<Result<Vec<_>, _>>();
        let mut chain = chain.map_err(useless(file))?.into_iter();
        if let Some(own) = chain.next() {
            context.set_certificate(&own).map_err(useless(file))?;
        }
        chain.try_for_each(|between| context.add_extra_chain_cert(between)).map_err(useless(file))?;
        let key = PKey::private_key_from_der(key.secret_der()).map_err(useless(file))?;
        context.set_private_key(&key).map_err(useless(file))?;
    }
    Ok(context.build())
}

fn authorities(ca: Option<&Path>) -> Result<X509Store, TlsError> {
    let mut store = X509StoreBuilder::new()?;
    // whoever is named is trusted, be it a root or not
    store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    match ca {
        Some(file) => {
            for certificate in certificates(file)? {
                let certificate = X509::from_der(&certificate).map_err(useless(file))?;
                store.add_cert(certificate).map_err(useless(file))?;
            }
        }
        None => {
            let all = credentials::system_authorities();
            let mut usable = all.iter().filter_map(|certificate| X509::from_der(certificate).ok()).peekable();
            if usable.peek().is_none() {
                return Err(TlsError::NoRoots);
            }
            usable.try_for_each(|certificate| store.add_cert(certificate))?;
        }
    }
    Ok(store.build())
}

/// A session to be, that accepts the collector under its name alone.
fn client(context: &SslContext, name: &ServerName<'_>) -> Result<Ssl, ErrorStack> {
    let mut ssl = Ssl::new(context)?;
    let param = ssl.param_mut();
    param.set_hostflags(X509CheckFlags::NEVER_CHECK_SUBJECT | X509CheckFlags::NO_PARTIAL_WILDCARDS);
    match name {
        ServerName::IpAddress(address) => param.set_ip(IpAddr::from(*address))?,
        other => {
            param.set_host(&other.to_str())?;
            ssl.set_hostname(&other.to_str())?;
        }
    }
    Ok(ssl)
}

/// What an error of a session means, in the operator's words.
fn explain(error: Error, session: &SslRef) -> io::Error {
    if error.code() == ErrorCode::ZERO_RETURN {
        return closed();
    }
    let error = match error.into_io_error() {
        Ok(error) if error.kind() == ErrorKind::ConnectionRefused => {
            return io::Error::new(error.kind(), "its host answers that nobody listens there: start the collector");
        }
        Ok(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
            return io::Error::new(error.kind(), "the path has become narrower");
        }
        Ok(error) => return io::Error::new(error.kind(), format!("{error}: check the route to it")),
        Err(error) => error,
    };
    let errors = error.ssl_error().map_or(&[][..], ErrorStack::errors);
    let alert = errors.iter().find_map(|error| SslAlert::from_reason_code(error.reason_code()));
    let sentence = match (session.verify_result(), alert) {
        // before it has shown its own certificate it does not judge another
        (X509VerifyResult::OK, Some(SslAlert::PROTOCOL_VERSION | SslAlert::HANDSHAKE_FAILURE))
            if session.peer_certificate().is_none() =>
        {
            "it has no version or cipher that serves: let it speak DTLS 1.2 with ECDHE, and AES-GCM or ChaCha20-Poly1305"
                .to_owned()
        }
        (
            X509VerifyResult::OK,
            Some(
                alert @ (SslAlert::HANDSHAKE_FAILURE
                | SslAlert::BAD_CERTIFICATE
                | SslAlert::UNKNOWN_CA
                | SslAlert::CERTIFICATE_UNKNOWN
                | SslAlert::CERTIFICATE_EXPIRED
                | SslAlert::ACCESS_DENIED),
            ),
        ) => credentials::unwelcome(alert),
        (X509VerifyResult::OK, _) => match errors.first().and_then(|error| error.reason()) {
            Some(reason) => format!("DTLS failed: {reason}"),
            None => format!("DTLS failed: {error}"),
        },
        (refusal, _) => certificate(refusal),
    };
    io::Error::other(sentence)
}

/// Why the collector's certificate was refused.
fn certificate(refusal: X509VerifyResult) -> String {
    match refusal.as_raw() {
        number if UNTRUSTED.contains(&number) => credentials::UNTRUSTED.to_owned(),
        number if MISNAMED.contains(&number) => credentials::MISNAMED.to_owned(),
        EXPIRED => credentials::EXPIRED.to_owned(),
        _ => credentials::refused(refusal),
    }
}
