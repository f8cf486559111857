//! Certificates: an authority of one's own, and one certificate for each host.
//!
//! An [`Authority`] signs a certificate for each host; hosts trust that authority and nothing else, so whoever
//! holds `ca.key` decides who may join. A host's certificate carries its NAME as a DNS name ([`dns_name`]) and
//! the addresses it may be dialled at without one. On disk it is a directory:
//!
//! | file | what | where |
//! |---|---|---|
//! | `ca.crt` | the authority's certificate (several, for a change of authority) | on every host |
//! | `ca.key` | the authority's key | only where it was made |
//! | `node.crt`, `node.key` | the host's certificate and key | on that host |
//!
//! Certificates do not expire: no clock is trusted here. To shut a host out, make a new authority and give the
//! others new certificates; while both authorities stand in `ca.crt`, certificates of either are accepted.

mod authority;
mod files;
mod names;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use webpki::EndEntityCert;

pub use authority::Authority;
pub use names::dns_name;

pub(crate) const CA_CERTIFICATE: &str = "ca.crt";
pub(crate) const CA_KEY: &str = "ca.key";
pub(crate) const NODE_CERTIFICATE: &str = "node.crt";
pub(crate) const NODE_KEY: &str = "node.key";

/// Why certificates cannot be made, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// The directory has no certificate of a host, or only a part of one.
    #[error("{} holds no host's certificate: {file} is missing", dir.display())]
    NoCertificate {
        /// The directory.
        dir: PathBuf,
        /// The missing file's name.
        file: &'static str,
    },
    /// The directory has no authority, or only a part of one.
    #[error("{} holds no certificate authority: {file} is missing", dir.display())]
    NoAuthority {
        /// The directory.
        dir: PathBuf,
        /// The missing file's name.
        file: &'static str,
    },
    /// The file exists and was not to be overwritten. Nothing was written.
    #[error("{} exists and is not overwritten unless forced", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// No host can have this name.
    #[error("{name:?} is no host name: 1 to 63 letters, digits, '-' or '_'")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// No certificate can be issued for this address.
    #[error("{host:?} is neither an IP address nor a DNS name that a certificate may carry")]
    InvalidHost {
        /// The address.
        host: String,
    },
    /// What should be a certificate or a key is something else, or does not belong to its counterpart.
    #[error("{what} is unusable: {reason}")]
    Malformed {
        /// Which one: a file's name.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key or a certificate could not be made.
    #[error("a certificate could not be made: {reason}")]
    Generate {
        /// What the library said.
        reason: String,
    },
}

/// What one host shows and trusts: its certificate, its key, and the authority's certificate.
#[derive(Clone)]
pub struct Certificates {
    name: Arc<str>,
    ca_pem: Arc<str>,
    node_pem: Arc<str>,
    key_pem: Arc<str>,
}

impl Certificates {
    /// A certificate for each of `names` under one new authority, without any file; every one may be dialled at
    /// the loopback addresses without a name too. To add hosts later keep an [`Authority::ephemeral`].
    ///
    /// # Errors
    /// [`CertError::InvalidName`], [`CertError::Generate`].
    pub fn ephemeral(names: &[impl AsRef<str>]) -> Result<Vec<Certificates>, CertError> {
        let authority = Authority::ephemeral()?;
        names.iter().map(|name| authority.issue(name.as_ref(), &["127.0.0.1", "::1", "localhost"])).collect()
    }

    /// Certificates from PEM texts: the trusted authorities, the host's certificate, its key (PKCS #8).
    ///
    /// # Errors
    /// [`CertError::Malformed`] when a text holds something else, or the certificate names no host or several.
    pub fn from_pem(ca: &str, node: &str, key: &str) -> Result<Certificates, CertError> {
        if parse_certificates(CA_CERTIFICATE, ca)?.is_empty() {
            return Err(malformed(CA_CERTIFICATE, "it holds no certificate"));
        }
        parse_key(key)?;
        let certificate = first_certificate(node)?;
        let name = subject_name(&certificate)
            .ok_or_else(|| malformed(NODE_CERTIFICATE, "it does not name exactly one host"))?;
        let (ca_pem, node_pem, key_pem) = (ca.into(), node.into(), key.into());
        Ok(Certificates { name: name.into(), ca_pem, node_pem, key_pem })
    }

    /// Reads `ca.crt`, `node.crt` and `node.key` of `dir`. A key that others may read is warned about.
    ///
    /// # Errors
    /// [`CertError::NoCertificate`], [`CertError::Malformed`], [`CertError::Io`].
    pub fn read(dir: impl AsRef<Path>) -> Result<Certificates, CertError> {
        let dir = dir.as_ref();
        let text = |file: &'static str| {
            files::read(dir, file)?.ok_or_else(|| CertError::NoCertificate { dir: dir.to_owned(), file })
        };
        let (ca, node, key) = (text(CA_CERTIFICATE)?, text(NODE_CERTIFICATE)?, text(NODE_KEY)?);
        files::warn_if_readable_by_others(&dir.join(NODE_KEY));
        Certificates::from_pem(&ca, &node, &key)
    }

    /// Writes `ca.crt`, `node.crt` and `node.key` into `dir`, which is made if need be. The key's file has the
    /// mode 0600 from its creation on. A `ca.crt` that is there already with the same content is left alone.
    ///
    /// # Errors
    /// [`CertError::Exists`] when a file is there and `force` is not set (nothing is written then),
    /// [`CertError::Io`].
    pub fn write(&self, dir: impl AsRef<Path>, force: bool) -> Result<(), CertError> {
        let dir = dir.as_ref();
        let mut wanted = vec![
            files::File::secret(NODE_KEY, &self.key_pem),
            files::File::public(NODE_CERTIFICATE, &self.node_pem),
        ];
        if files::read(dir, CA_CERTIFICATE)?.as_deref() != Some(&self.ca_pem) {
            wanted.push(files::File::public(CA_CERTIFICATE, &self.ca_pem));
        }
        files::write(dir, &wanted, force)
    }

    /// The host's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, CertError> {
        parse_certificates(CA_CERTIFICATE, &self.ca_pem)
    }

    pub(crate) fn chain(&self) -> Result<Vec<CertificateDer<'static>>, CertError> {
        parse_certificates(NODE_CERTIFICATE, &self.node_pem)
    }

    pub(crate) fn key(&self) -> Result<PrivateKeyDer<'static>, CertError> {
        parse_key(&self.key_pem)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The name of the host that `certificate` was issued to; `None` unless there is exactly one.
pub(crate) fn subject_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let mut names = certificate.valid_dns_names().filter(|dns| dns.ends_with(names::SUFFIX));
    match (names.next(), names.next()) {
        (Some(dns), None) => names::host_name(dns),
        _ => None,
    }
}

pub(crate) fn malformed(what: &'static str, reason: impl fmt::Display) -> CertError {
    CertError::Malformed { what, reason: reason.to_string() }
}

fn parse_certificates(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, CertError> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(|e| malformed(what, e))
}

fn first_certificate(pem: &str) -> Result<CertificateDer<'static>, CertError> {
    let mut chain = parse_certificates(NODE_CERTIFICATE, pem)?.into_iter();
    chain.next().ok_or_else(|| malformed(NODE_CERTIFICATE, "it holds no certificate"))
}

fn parse_key(pem: &str) -> Result<PrivateKeyDer<'static>, CertError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| malformed(NODE_KEY, e))
}
