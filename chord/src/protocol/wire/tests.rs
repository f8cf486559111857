//! Golden bytes, hostile bytes, and the way there and back.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::protocol::entry::{Condition, Expiry, Version};
use crate::protocol::group::{Group, TransferId};
use crate::protocol::id::{Id, Interval};
use crate::protocol::message::{
    ActionHead, Description, GetItem, ItemReply, MAX_ASKS, MAX_ITEMS, MAX_LEAVING, MAX_PIECES,
    NodeDescription, OperationId, Trail, UpdateItem,
};
use crate::protocol::peer::{Host, HostName, Peer};
use crate::protocol::ring::Neighbours;
use crate::protocol::routing::{Answer, Ask};

fn header() -> Header {
    Header { ring_tag: 0x0102, from: Incarnation(3), to: Incarnation(4), remaining_ms: 5000 }
}

fn update() -> Request {
    Request::Update {
        trail: Trail { min_epoch: 7, forwarded: true },
        items: vec![UpdateItem {
            operation: OperationId { caller: Incarnation(9), counter: 2 },
            id: Id::from_u128(0xabcd),
            key: Bytes::from_static(b"k"),
            action: ActionHead::Set(Expiry::InMillis(10)),
            condition: Condition::Version(Version { epoch: 1, counter: 6 }),
            return_previous: true,
            value_bytes: 5,
        }],
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_header_and_a_get_have_these_bytes() {
    let items = vec![GetItem { id: Id::from_u128(0xabcd), key: Bytes::from_static(b"key") }];
    let frame = encode_request(header(), &Request::Get { trail: Trail::default(), items }, Bytes::new())
        .expect("it fits");
    let golden = [
        "43485244",
        "01",
        "05",
        "0000",
        "0000000000000102",
        "00000000000000000000000000000003",
        "00000000000000000000000000000004",
        "00001388",
        "00000034",
        "00000000",
        // The message: variant, trail, one item, its id, its key.
        "04000000",
        "0000000000000000",
        "00",
        "0100000000000000",
        "000000000000000000000000000000000000abcd",
        "0300000000000000",
        "6b6579",
    ];
    assert_eq!(hex(&frame.head), golden.concat());
}

#[test]
fn a_short_read_has_these_bytes() {
    let items = vec![GetItem { id: Id::from_u128(0xabcd), key: Bytes::from_static(b"key") }];
    let trail = Trail { min_epoch: 0, forwarded: false };
    let request = Request::get(trail, items, Some(0x10203));
    let frame = encode_request(header(), &request, Bytes::new()).expect("it fits");
    let message = [
        "0b000000",
        "0000000000000000",
        "00",
        "0100000000000000",
        "000000000000000000000000000000000000abcd",
        "0300000000000000",
        "6b6579",
        "03020100",
    ];
    assert!(hex(&frame.head).ends_with(&message.concat()), "{}", hex(&frame.head));
    let answer = Response::Items(vec![ItemReply::Long { value_bytes: 0x10204 }]);
    let frame = encode_response(header(), &answer, Bytes::new()).expect("it fits");
    assert_eq!(
        hex(&frame.head[HEADER_BYTES..]),
        ["04000000", "0100000000000000", "07000000", "04020100"].concat()
    );
}

/// Most of what maintenance sends is this.
#[test]
fn a_verified_finger_has_these_bytes() {
    let node = Id::from_u128(0xabcd);
    let host = Arc::new(Host {
        name: HostName::new("a").expect("a name"),
        endpoint: "zmq://a@127.0.0.1:1".parse().expect("an endpoint"),
        incarnation: Incarnation(3),
    });
    let asks = vec![Ask::Owns { node, id: Id::from_u128(0xabcc) }];
    let frame = encode_request(header(), &Request::Round { host, asks }, Bytes::new()).expect("it fits");
    let ask = ["04000000", &hex(node.as_bytes()), &hex(Id::from_u128(0xabcc).as_bytes())].concat();
    assert!(hex(&frame.head).ends_with(&ask));
    let answer = Response::Round(vec![Answer::Owns]);
    let frame = encode_response(header(), &answer, Bytes::new()).expect("it fits");
    assert_eq!(hex(&frame.head[HEADER_BYTES..]), ["01000000", "0100000000000000", "05000000"].concat());
}

#[test]
fn the_answer_to_an_unknown_version_has_these_bytes_for_ever() {
    assert_eq!(hex(&unsupported_version().head), "4348524401ff00000101");
    let mut frame = encode_request(header(), &Request::Describe, Bytes::new()).expect("it fits");
    let mut head = frame.head.to_vec();
    head[4] = 9;
    frame.head = head.into();
    assert_eq!(decode_request(&frame), Err(WireError::UnsupportedVersion { version: 9 }));
    assert_eq!(decode_response(&unsupported_version()), Err(WireError::Unsupported { min: 1, max: 1 }));
}

#[test]
fn a_request_with_a_value_comes_back_as_it_went() {
    let frame = encode_request(header(), &update(), Bytes::from_static(b"value")).expect("it fits");
    assert_eq!(decode_request(&frame), Ok((header(), update())));
    assert_eq!(split_values(&frame.body, [5].into_iter()), Ok(vec![Bytes::from_static(b"value")]));
}

#[test]
fn a_response_comes_back_as_it_went_and_is_no_request() {
    let response = Response::Items(vec![ItemReply::Absent, ItemReply::TryAgain("later".into())]);
    let frame = encode_response(header(), &response, Bytes::new()).expect("it fits");
    assert_eq!(decode_response(&frame), Ok((header(), response)));
    assert!(decode_request(&frame).is_err());
}

#[test]
fn bytes_behind_the_message_are_refused() {
    let frame = encode_request(header(), &update(), Bytes::new()).expect("it fits");
    let mut head = frame.head.to_vec();
    head.push(0);
    let length = u32::try_from(head.len() - HEADER_BYTES).expect("short");
    head[52..56].copy_from_slice(&length.to_be_bytes());
    assert!(matches!(decode_request(&Frame::new(head, Bytes::new())), Err(WireError::Malformed(_))));
}

#[test]
fn values_must_fill_the_body_exactly() {
    let body = Bytes::from_static(b"abcdef");
    assert!(split_values(&body, [2, 3].into_iter()).is_err());
    assert!(split_values(&body, [2, 5].into_iter()).is_err());
    assert!(split_values(&body, [u32::MAX, u32::MAX].into_iter()).is_err());
    let values = split_values(&body, [2, 0, 4].into_iter()).expect("they fit");
    assert_eq!(join_values(values.iter()), body);
}

#[test]
fn a_large_value_is_kept_in_its_body_only_where_it_is_most_of_it() {
    let body = Bytes::from(vec![7; 100_000]);
    let values = split_values(&body, [5_000, 60_000, 35_000].into_iter()).expect("they fit");
    assert_eq!(values.concat(), body);
    let shares = |value: &Bytes| body.as_ptr_range().contains(&value.as_ptr());
    assert_eq!(values.iter().map(shares).collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn a_message_that_does_not_fit_is_an_error_and_not_a_panic() {
    let response = Response::Items(vec![ItemReply::Storage("x".repeat(MAX_MESSAGE_BYTES))]);
    let error = encode_response(header(), &response, Bytes::new()).expect_err("it does not fit");
    assert!(error.len > MAX_MESSAGE_BYTES && error.len < MAX_MESSAGE_BYTES + 100, "{error}");
}

#[test]
fn a_request_for_more_than_one_message_may_ask_is_refused() {
    let item = GetItem { id: Id::ZERO, key: Bytes::new() };
    let gets = |count| Request::Get { trail: Trail::default(), items: vec![item.clone(); count] };
    let short = |count| Request::get(Trail::default(), vec![item.clone(); count], Some(1));
    let Request::Update { trail, items } = update() else { panic!("it is an update") };
    let updates = |count| Request::Update { trail, items: vec![items[0].clone(); count] };
    let host = Arc::new(Host {
        name: HostName::new("a").expect("a name"),
        endpoint: "mem://a@a:1".parse().expect("an endpoint"),
        incarnation: Incarnation(1),
    });
    let rounds = |count| Request::Round { host: host.clone(), asks: vec![Ask::Ping; count] };
    let node = (Peer::new(Id::ZERO, host.clone()), Neighbours::default());
    let leaves = |count| Request::Leave { nodes: vec![node.clone(); count] };
    let transfer = TransferId { source: host.incarnation, number: 1 };
    let piece = Interval::new(Id::ZERO, Id::from_u128(1));
    let offers = |count| Request::Offer {
        transfer,
        from: host.clone(),
        pieces: vec![(piece, 1); count],
        leaving: false,
    };
    let group = Group::of_one(1, host.clone());
    let installs = |count| Request::Install { transfer, groups: vec![(piece, group.clone()); count] };
    for (most, more) in [
        (offers(MAX_PIECES), offers(MAX_PIECES + 1)),
        (installs(MAX_PIECES), installs(MAX_PIECES + 1)),
        (gets(MAX_ITEMS), gets(MAX_ITEMS + 1)),
        (short(MAX_ITEMS), short(MAX_ITEMS + 1)),
        (updates(MAX_ITEMS), updates(MAX_ITEMS + 1)),
        (rounds(MAX_ASKS), rounds(MAX_ASKS + 1)),
        (leaves(MAX_LEAVING), leaves(MAX_LEAVING + 1)),
    ] {
        let decoded =
            |request| decode_request(&encode_request(header(), &request, Bytes::new()).expect("it fits"));
        assert!(decoded(most).is_ok());
        assert!(matches!(decoded(more), Err(WireError::Malformed(_))));
    }
}

/// The most virtual nodes, the longest successor lists and endpoints, a finger a power.
#[test]
fn the_description_of_the_largest_host_fits_and_comes_back_as_it_went() {
    let host = |number: u128| {
        let name = HostName::new(&format!("host{number}")).expect("a name");
        let address = format!("{}.example.org:7001", "a".repeat(200));
        let endpoint = format!("mem://{name}@{address}").parse().expect("an endpoint");
        Arc::new(Host { name, endpoint, incarnation: Incarnation(number) })
    };
    let hosts: Vec<Arc<Host>> = (0..100).map(host).collect();
    let peers = |from: u128, count: u128| -> Vec<Peer> {
        (from..from + count).map(|i| Peer::new(Id::from_u128(i), hosts[i as usize % 100].clone())).collect()
    };
    let node = |i: u128| NodeDescription {
        label: format!("host0/{i}"),
        peer: Peer::new(Id::from_u128(i), hosts[0].clone()),
        neighbours: Neighbours { predecessor: peers(i + 3, 1).pop(), successors: peers(i + 1, 64) },
        fingers: peers(i, 160),
    };
    let groups = (0..1024u128)
        .map(|i| (Interval::new(Id::from_u128(i), Id::from_u128(i + 1)), Group::of_one(1, hosts[0].clone())));
    let description = Description {
        host: hosts[0].clone(),
        nodes: (0..1024).map(node).collect(),
        groups: groups.collect(),
        keys: 7,
        transfers: 1,
        leaving: false,
    };
    let response = Response::Description(Box::new(description));
    let frame = encode_response(header(), &response, Bytes::new()).expect("it fits");
    assert_eq!(decode_response(&frame), Ok((header(), response)));
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(head in prop::collection::vec(any::<u8>(), 0..200)) {
        let frame = Frame::new(head, Bytes::new());
        let _ = decode_request(&frame);
        let _ = decode_response(&frame);
    }

    #[test]
    fn a_damaged_message_is_decoded_or_refused(at in 60usize..160, byte in any::<u8>(), cut in 0usize..160) {
        let frame = encode_request(header(), &update(), Bytes::from_static(b"value")).expect("it fits");
        let mut head = frame.head.to_vec();
        if at < head.len() {
            head[at] = byte;
        }
        let _ = decode_request(&Frame::new(head.clone(), frame.body.clone()));
        head.truncate(cut.min(head.len()));
        let shorter = head.len() < frame.head.len();
        let decoded = decode_request(&Frame::new(head, frame.body.clone()));
        prop_assert!(!shorter || decoded.is_err());
    }

    #[test]
    fn an_interval_comes_back_as_it_went(after in any::<u128>(), upto in any::<u128>()) {
        let interval = Interval::new(Id::from_u128(after), Id::from_u128(upto));
        let bytes = codec().serialize(&interval).expect("it serialises");
        prop_assert_eq!(codec().deserialize::<Interval>(&bytes).expect("it comes back"), interval);
    }
}
