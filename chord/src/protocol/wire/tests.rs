//! Golden bytes, hostile bytes, and the way there and back.

use proptest::prelude::*;

use super::*;
use crate::protocol::entry::{Condition, Expiry, Version};
use crate::protocol::id::{Id, Interval};
use crate::protocol::message::{ActionHead, GetItem, ItemReply, OperationId, Trail, UpdateItem};

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
    let frame = encode_request(header(), &Request::Get { trail: Trail::default(), items }, Bytes::new());
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
fn the_answer_to_an_unknown_version_has_these_bytes_for_ever() {
    assert_eq!(hex(&unsupported_version().head), "4348524401ff00000101");
    let mut frame = encode_request(header(), &Request::Describe, Bytes::new());
    let mut head = frame.head.to_vec();
    head[4] = 9;
    frame.head = head.into();
    assert_eq!(decode_request(&frame), Err(WireError::UnsupportedVersion { version: 9 }));
    assert_eq!(decode_response(&unsupported_version()), Err(WireError::Unsupported { min: 1, max: 1 }));
}

#[test]
fn a_request_with_a_value_comes_back_as_it_went() {
    let frame = encode_request(header(), &update(), Bytes::from_static(b"value"));
    assert_eq!(decode_request(&frame), Ok((header(), update())));
    assert_eq!(split_values(&frame.body, [5].into_iter()), Ok(vec![Bytes::from_static(b"value")]));
}

#[test]
fn a_response_comes_back_as_it_went_and_is_no_request() {
    let response = Response::Items(vec![ItemReply::Absent, ItemReply::TryAgain("later".into())]);
    let frame = encode_response(header(), &response, Bytes::new());
    assert_eq!(decode_response(&frame), Ok((header(), response)));
    assert!(decode_request(&frame).is_err());
}

#[test]
fn bytes_behind_the_message_are_refused() {
    let frame = encode_request(header(), &update(), Bytes::new());
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

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(head in prop::collection::vec(any::<u8>(), 0..200)) {
        let frame = Frame::new(head, Bytes::new());
        let _ = decode_request(&frame);
        let _ = decode_response(&frame);
    }

    #[test]
    fn a_damaged_message_is_decoded_or_refused(at in 60usize..160, byte in any::<u8>(), cut in 0usize..160) {
        let frame = encode_request(header(), &update(), Bytes::from_static(b"value"));
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
