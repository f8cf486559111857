//! The certificate authority.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use chord::transport::is_host_name;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::pki_types::ServerName;
use webpki::EndEntityCert;

use super::{
    CA_CERTIFICATE, CA_KEY, CertError, Certificates, dns_name, files, first_certificate, malformed, names,
};

/// A certificate authority: whoever it issues a certificate to may take part.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
}

impl Authority {
    /// A new authority that exists only in memory.
    ///
    /// # Errors
    /// [`CertError::Generate`].
    pub fn ephemeral() -> Result<Authority, CertError> {
        let key = KeyPair::generate().map_err(generate)?;
        let params = params(&key);
        let certificate_pem = params.self_signed(&key).map_err(generate)?.pem();
        Ok(Authority { issuer: Issuer::new(params, key), certificate_pem })
    }

    /// A new authority, written into `dir` (made if need be) as `ca.crt` and `ca.key`, the key with mode 0600.
    ///
    /// # Errors
    /// [`CertError::Exists`] when one is there and `force` is not set, [`CertError::Io`],
    /// [`CertError::Generate`].
    pub fn create(dir: impl AsRef<Path>, force: bool) -> Result<Authority, CertError> {
        let authority = Authority::ephemeral()?;
        let key_pem = authority.issuer.key().serialize_pem();
        let wanted = [
            files::File::secret(CA_KEY, &key_pem),
            files::File::public(CA_CERTIFICATE, &authority.certificate_pem),
        ];
        files::write(dir.as_ref(), &wanted, force)?;
        Ok(authority)
    }

    /// The authority in `dir`. It must be one that [`Authority::create`] made.
    ///
    /// # Errors
    /// [`CertError::NoAuthority`], [`CertError::Malformed`], [`CertError::Io`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Authority, CertError> {
        let dir = dir.as_ref();
        let text = |file: &'static str| {
            files::read(dir, file)?.ok_or_else(|| CertError::NoAuthority { dir: dir.to_owned(), file })
        };
        let (certificate_pem, key_pem) = (text(CA_CERTIFICATE)?, text(CA_KEY)?);
        files::warn_if_readable_by_others(&dir.join(CA_KEY));
        let key = KeyPair::from_pem(&key_pem).map_err(|e| malformed(CA_KEY, e))?;
        let params = params(&key);
        let expected = params.self_signed(&key).map_err(generate)?;
        let certificate = first_certificate(&certificate_pem)?;
        let (found, expected) = (
            EndEntityCert::try_from(&certificate).map_err(|e| malformed(CA_CERTIFICATE, e))?,
            EndEntityCert::try_from(expected.der()).map_err(|e| malformed(CA_CERTIFICATE, e))?,
        );
        if found.subject_public_key_info() != expected.subject_public_key_info() {
            return Err(malformed(CA_KEY, "it is not the key of ca.crt"));
        }
        if found.subject() != expected.subject() {
            return Err(malformed(CA_CERTIFICATE, "another tool made it; issue certificates with that"));
        }
        Ok(Authority { issuer: Issuer::new(params, key), certificate_pem })
    }

    /// A certificate with a new key for the host `name`, which may be dialled at `hosts` (IP addresses or DNS
    /// names) without a name.
    ///
    /// # Errors
    /// [`CertError::InvalidName`], [`CertError::InvalidHost`], [`CertError::Generate`].
    pub fn issue(&self, name: &str, hosts: &[impl AsRef<str>]) -> Result<Certificates, CertError> {
        if !is_host_name(name) {
            return Err(CertError::InvalidName { name: name.chars().take(80).collect() });
        }
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names.push(dns(&dns_name(name))?);
        for host in hosts {
            params.subject_alt_names.push(address(host.as_ref())?);
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(generate)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(generate)?;
        Certificates::from_pem(&self.certificate_pem, &certificate.pem(), &key.serialize_pem())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// The authority's parameters follow from its key alone, so that [`Authority::open`] needs no X.509 parser; its
/// name tells two authorities apart.
fn params(key: &KeyPair) -> CertificateParams {
    let digest = ring::digest::digest(&ring::digest::SHA256, &key.subject_public_key_info());
    let fingerprint: String = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("chord authority {fingerprint}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A subject name for an address. A DNS name that stands for a host's name is refused: it would let the
/// certificate's holder pass for that host.
fn address(host: &str) -> Result<SanType, CertError> {
    let invalid = || CertError::InvalidHost { host: host.chars().take(80).collect() };
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(ip));
    }
    let absolute = host.trim_end_matches('.').to_ascii_lowercase();
    let dotted = format!(".{absolute}");
    match ServerName::try_from(absolute.as_str()) {
        Ok(ServerName::DnsName(_)) if !dotted.ends_with(names::SUFFIX) => dns(&absolute),
        _ => Err(invalid()),
    }
}

fn dns(name: &str) -> Result<SanType, CertError> {
    Ok(SanType::DnsName(name.try_into().map_err(generate)?))
}

fn generate(error: rcgen::Error) -> CertError {
    CertError::Generate { reason: error.to_string() }
}
