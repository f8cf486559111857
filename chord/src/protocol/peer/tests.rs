use super::*;

#[test]
fn host_names_are_1_to_63_letters_digits_dashes_and_underscores() {
    for name in ["a", "node_3", "A-1", &"x".repeat(63)] {
        assert_eq!(HostName::new(name).unwrap().as_str(), name);
    }
    for name in ["", "a b", "a.b", "ä", "a@b", "a/b", &"x".repeat(64)] {
        assert!(HostName::new(name).is_err(), "{name:?}");
    }
}

#[test]
fn a_refused_name_is_quoted_in_part_however_long_it_is() {
    let error = HostName::new(&"é".repeat(1_000_000)).unwrap_err();
    assert!(error.to_string().len() < 300);
}

#[test]
fn another_incarnation_of_a_host_is_another_host() {
    let (first, second) = (Host::named("a", 1), Host::named("a", 2));
    let id = Id::from_u128(7);
    assert!(Peer::new(id, first.clone()).same_host(&Peer::new(Id::ZERO, Host::named("a", 1))));
    assert!(!Peer::new(id, first.clone()).same_host(&Peer::new(id, second.clone())));
    assert_ne!(Peer::new(id, first), Peer::new(id, second));
}

#[test]
fn peers_are_shown_by_id_and_name() {
    let peer = Peer::new(Id::from_u128(255), Host::named("alpha", 1));
    assert_eq!((peer.to_string(), format!("{peer:?}")), ("0xff@alpha".into(), "0xff@alpha".into()));
    assert_eq!(Incarnation(0xab << 96).to_string(), "000000ab000000000000000000000000");
}

#[test]
fn a_peer_survives_its_encoding_and_a_bad_name_does_not_decode() {
    let peer = Peer::new(Id::from_u128(9), Host::named("alpha", 3));
    let text = serde_json::to_string(&peer).unwrap();
    assert_eq!(serde_json::from_str::<Peer>(&text).unwrap(), peer);
    let bad = text.replace(r#""name":"alpha""#, r#""name":"al pha""#);
    assert_ne!(bad, text);
    assert!(serde_json::from_str::<Peer>(&bad).is_err());
}
