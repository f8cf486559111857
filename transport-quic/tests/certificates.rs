//! The certificate directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use chord_transport_quic::certs::{Authority, CertError, Certificates};

const HOSTS: &[&str] = &["127.0.0.1", "::1", "db.example.org"];

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file is there").permissions().mode() & 0o777
}

fn files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"))
        .collect();
    names.sort();
    names
}

#[test]
fn authority_and_host_may_share_a_directory_or_not_and_keys_are_their_owners_only() {
    let root = tempfile::tempdir().unwrap();
    let (shared, separate) = (root.path().join("a/b"), root.path().join("node"));
    Authority::create(&shared, false).unwrap();
    assert_eq!(files(&shared), ["ca.crt", "ca.key"]);
    let authority = Authority::open(&shared).unwrap();
    authority.issue("node_0", HOSTS).unwrap().write(&shared, false).unwrap();
    authority.issue("node_1", HOSTS).unwrap().write(&separate, false).unwrap();
    assert_eq!(files(&shared), ["ca.crt", "ca.key", "node.crt", "node.key"]);
    assert_eq!(files(&separate), ["ca.crt", "node.crt", "node.key"]);
    for key in [shared.join("ca.key"), shared.join("node.key"), separate.join("node.key")] {
        assert_eq!(mode(&key), 0o600, "{}", key.display());
    }
    assert_eq!(Certificates::read(&shared).unwrap().name(), "node_0");
    assert_eq!(Certificates::read(&separate).unwrap().name(), "node_1");
}

#[test]
fn nothing_is_overwritten_unless_forced() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let first = Authority::create(dir, false).unwrap();
    first.issue("first", HOSTS).unwrap().write(dir, false).unwrap();
    let names = ["ca.crt", "ca.key", "node.crt", "node.key"];
    let contents = || names.map(|name| fs::read(dir.join(name)).unwrap());
    let before = contents();

    let again = Authority::create(dir, false);
    assert!(matches!(again, Err(CertError::Exists { .. })), "{again:?}");
    let stranger = Authority::ephemeral().unwrap().issue("second", HOSTS).unwrap();
    assert!(matches!(stranger.write(dir, false), Err(CertError::Exists { .. })));
    fs::remove_file(dir.join("node.key")).unwrap();
    let half = first.issue("second", HOSTS).unwrap();
    assert!(matches!(half.write(dir, false), Err(CertError::Exists { path }) if path.ends_with("node.crt")));
    assert!(!dir.join("node.key").exists(), "a refused write leaves nothing behind");
    fs::write(dir.join("node.key"), &before[3]).unwrap();
    assert_eq!(contents(), before);

    fs::set_permissions(dir.join("node.key"), fs::Permissions::from_mode(0o644)).unwrap();
    stranger.write(dir, true).unwrap();
    assert_eq!(mode(&dir.join("node.key")), 0o600, "also when it replaces a file that was open to all");
    assert_eq!(Certificates::read(dir).unwrap().name(), "second");
    assert_eq!(files(dir), names, "no temporary file is left");
}

#[test]
fn what_is_missing_or_broken_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let missing = Certificates::read(dir);
    assert!(matches!(missing, Err(CertError::NoCertificate { file: "ca.crt", .. })), "{missing:?}");
    let missing = Authority::open(dir.join("absent"));
    assert!(matches!(missing, Err(CertError::NoAuthority { file: "ca.crt", .. })), "{missing:?}");

    let authority = Authority::create(dir, false).unwrap();
    let missing = Certificates::read(dir);
    assert!(matches!(missing, Err(CertError::NoCertificate { file: "node.crt", .. })), "{missing:?}");
    authority.issue("host", HOSTS).unwrap().write(dir, false).unwrap();
    fs::remove_file(dir.join("ca.key")).unwrap();
    let missing = Authority::open(dir);
    assert!(matches!(missing, Err(CertError::NoAuthority { file: "ca.key", .. })), "{missing:?}");

    for file in ["ca.crt", "node.crt", "node.key"] {
        let good = fs::read(dir.join(file)).unwrap();
        for bad in ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            fs::write(dir.join(file), bad).unwrap();
            if let Ok(read) = Certificates::read(dir) {
                assert_eq!(file, "ca.crt", "{bad:?} passes as {file}");
                assert_eq!(read.name(), "host");
            }
        }
        fs::write(dir.join(file), good).unwrap();
    }
    Certificates::read(dir).unwrap();
}

#[test]
fn an_authority_is_opened_only_with_its_own_key() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Authority::create(&one, false).unwrap();
    Authority::create(&other, false).unwrap();
    fs::copy(other.path().join("ca.key"), one.path().join("ca.key")).unwrap();
    let mixed = Authority::open(&one);
    assert!(matches!(mixed, Err(CertError::Malformed { what: "ca.key", .. })), "{mixed:?}");
}

#[test]
fn no_certificate_is_issued_for_what_is_no_name_or_address_or_another_hosts_name() {
    let authority = Authority::ephemeral().unwrap();
    for name in ["", "a b", "a.b", "ä", &"x".repeat(64)] {
        let refused = authority.issue(name, HOSTS);
        assert!(matches!(refused, Err(CertError::InvalidName { .. })), "{name:?}: {refused:?}");
    }
    for host in ["", "a b", "*.example.org", "1.2.3", "king.node.chord", "KING.Node.Chord.", "node.chord"] {
        let refused = authority.issue("host", &[host]);
        assert!(matches!(refused, Err(CertError::InvalidHost { .. })), "{host:?}: {refused:?}");
    }
}

#[test]
fn keys_are_not_printed() {
    let authority = Authority::ephemeral().unwrap();
    let certificates = authority.issue("host", HOSTS).unwrap();
    for text in [format!("{authority:?}"), format!("{certificates:?}")] {
        assert!(!text.contains("KEY") && text.len() < 60, "{text}");
    }
}
