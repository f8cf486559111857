//! A frame on this network's wire: the head's length in four bytes (big-endian), head, body.

use bytes::{BufMut, Bytes, BytesMut};
use chord::transport::Frame;

const PREFIX: usize = 4;

/// Copies `frame` into one buffer of its own.
pub(crate) fn encode(frame: &Frame) -> Bytes {
    let head_bytes = u32::try_from(frame.head.len()).expect("the frame limit is at most u32::MAX");
    let mut wire = BytesMut::with_capacity(PREFIX + frame.len());
    wire.put_u32(head_bytes);
    wire.put_slice(&frame.head);
    wire.put_slice(&frame.body);
    wire.freeze()
}

/// Bytes of head and body in what [`encode`] made.
pub(crate) fn len(wire: &Bytes) -> usize {
    wire.len() - PREFIX
}

/// The frame in `wire`; `None` if there is none or it is larger than `max_frame_bytes`.
pub(crate) fn decode(mut wire: Bytes, max_frame_bytes: usize) -> Option<Frame> {
    let prefix = wire.first_chunk::<PREFIX>()?;
    let head_bytes = usize::try_from(u32::from_be_bytes(*prefix)).ok()?;
    let mut body = wire.split_off(PREFIX);
    if head_bytes > body.len() || body.len() > max_frame_bytes {
        return None;
    }
    let head = body.split_to(head_bytes);
    Some(Frame { head, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_the_wire_without_sharing_its_bytes() {
        for (head, body) in [("", ""), ("head", ""), ("", "body"), ("head", "body")] {
            let frame = Frame::new(head, body);
            let arrived = decode(encode(&frame), 8).unwrap();
            assert_eq!(arrived, frame);
            assert!(head.is_empty() || arrived.head.as_ptr() != frame.head.as_ptr());
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let wire = encode(&Frame::new("head", "body"));
        assert_eq!(decode(wire.clone(), 7), None, "larger than the limit");
        assert_eq!(decode(wire.slice(..7), 8), None, "the head is cut off");
        assert_eq!(decode(wire.slice(..3), 8), None, "the prefix is cut off");
        assert_eq!(decode(Bytes::new(), 8), None);
    }
}
