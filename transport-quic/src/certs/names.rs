//! Host names as DNS names, which is the form in which a certificate carries them.
//!
//! DNS names are compared without regard to case, and a label may neither begin nor end with a hyphen, while a
//! host's name may be any of `[A-Za-z0-9_-]{1,63}`. So a name is written with lower-case letters, digits and
//! underscores as they are and every other byte, and the letter `z`, as `z` and two hexadecimal digits; the
//! result is cut into labels of 63 bytes and gets the suffix `.node.chord`. `node_0` becomes
//! `node_0.node.chord`, `Node-1` becomes `z4eodez2d1.node.chord`. Different names never share a DNS name.

use chord::transport::is_host_name;

/// What every DNS name of a host ends with; no other subject name of a certificate may end with it.
pub(crate) const SUFFIX: &str = ".node.chord";

const MAX_LABEL_BYTES: usize = 63;

/// The DNS name under which a certificate names the host `name`, for certificates made with other tools.
///
/// The name must be a host's name; see [`chord::transport::is_host_name`].
pub fn dns_name(name: &str) -> String {
    let mut escaped = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'y' | b'0'..=b'9' | b'_' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("z{byte:02x}")),
        }
    }
    let mut dns = String::new();
    for (i, character) in escaped.chars().enumerate() {
        if i > 0 && i % MAX_LABEL_BYTES == 0 {
            dns.push('.');
        }
        dns.push(character);
    }
    dns + SUFFIX
}

/// The host that `dns` names; `None` when it is not exactly what [`dns_name`] gives for some host.
pub(crate) fn host_name(dns: &str) -> Option<String> {
    let escaped: String = dns.strip_suffix(SUFFIX)?.chars().filter(|c| *c != '.').collect();
    let mut name = String::new();
    let mut rest = escaped.as_str();
    while let Some(character) = rest.chars().next() {
        if character == 'z' {
            let byte = u8::from_str_radix(rest.get(1..3)?, 16).ok()?;
            name.push(char::from(byte));
            rest = &rest[3..];
        } else {
            name.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    (is_host_name(&name) && dns_name(&name) == dns).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rustls::pki_types::ServerName;

    use super::*;

    #[test]
    fn every_host_name_has_a_dns_name_that_tls_accepts_and_that_leads_back() {
        let longest = ["-", "Z", "z", "0", "_", "a"].map(|c| c.repeat(63));
        let mut names: Vec<String> =
            ["node_0", "node-0", "Node_0", "a", "_", "-", "-a-", "0", "127", "0x1f", "z2d", "xn--a"]
                .map(String::from)
                .into();
        names.extend(longest);
        let mut seen = HashSet::new();
        for name in names {
            let dns = dns_name(&name);
            let accepted = ServerName::try_from(dns.as_str());
            assert!(matches!(accepted, Ok(ServerName::DnsName(_))), "{name} became {dns}");
            assert_eq!(host_name(&dns).as_deref(), Some(name.as_str()));
            assert!(seen.insert(dns.to_ascii_lowercase()), "{name} shares its DNS name");
        }
        assert_eq!(dns_name("node_0"), "node_0.node.chord");
        assert_eq!(dns_name("Node-1"), "z4eodez2d1.node.chord");
    }

    #[test]
    fn only_the_canonical_form_names_a_host() {
        let refused = [
            "node_0",
            ".node.chord",
            "NODE_0.node.chord",
            "no.de.node.chord",
            "z.node.chord",
            "z4.node.chord",
            "zzz.node.chord",
            "z61.node.chord",
            "z2E.node.chord",
            "z20.node.chord",
            "a-b.node.chord",
            "*.node.chord",
            "é.node.chord",
            "zé.node.chord",
        ];
        for dns in refused {
            assert_eq!(host_name(dns), None, "{dns}");
        }
    }
}
