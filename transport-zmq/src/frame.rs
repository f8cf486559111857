//! Our framing inside a ZeroMQ message.
//!
//! A message has one part, `header + head + body`; a body longer than 4 KiB is not copied and makes a second
//! part. The header is 24 bytes, integers big-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | magic `CHZQ` |
//! | 4 | version, 1 |
//! | 5 | kind: 1 request, 2 reply, 3 too large, 4 overloaded |
//! | 6 | lane: 0 control, 1 request, 2 bulk |
//! | 7 | zero |
//! | 8..16 | correlation id, chosen by the caller and returned unchanged |
//! | 16..20 | bytes of the head |
//! | 20..24 | bytes of the body; above 4096 exactly when there is a second part |
//!
//! A "too large" answer has a head of 16 bytes: the length refused and the limit it exceeds. An "overloaded" one has
//! nothing: the request was not executed.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use chord::transport::{Frame, Lane};

const MAGIC: u32 = u32::from_be_bytes(*b"CHZQ");
const VERSION: u8 = 1;

/// Bytes of the header.
const HEADER_BYTES: usize = 24;

/// Longest body that is copied behind the head: cheaper than a part of its own, for both ends.
const INLINE_BODY_BYTES: usize = 4096;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Reply,
    /// The answer to a request, or in place of a reply, that exceeds the answerer's frame limit.
    TooLarge,
    /// The answer to a request past the answerer's bound on those of a lane that are unanswered.
    Overloaded,
}

/// The decoded header, without the lengths, which decoding has checked against the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) lane: Lane,
    pub(crate) correlation: u64,
}

/// The number that stands for `lane`, on the wire and in tables.
pub(crate) fn lane_index(lane: Lane) -> usize {
    match lane {
        Lane::Control => 0,
        Lane::Request => 1,
        Lane::Bulk => 2,
    }
}

/// Why bytes are no message of ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl Header {
    /// Appends the message's parts. The frame's head and body must each be shorter than 4 GiB, which the frame
    /// limit guarantees.
    pub(crate) fn encode(self, frame: &Frame, parts: &mut Vec<Bytes>) {
        let inline = if frame.body.len() > INLINE_BODY_BYTES { &[][..] } else { &frame.body };
        let mut first = BytesMut::with_capacity(HEADER_BYTES + frame.head.len() + inline.len());
        first.put_u32(MAGIC);
        first.put_u8(VERSION);
        first.put_u8(match self.kind {
            Kind::Request => 1,
            Kind::Reply => 2,
            Kind::TooLarge => 3,
            Kind::Overloaded => 4,
        });
        first.put_u8(lane_index(self.lane) as u8);
        first.put_u8(0);
        first.put_u64(self.correlation);
        first.put_u32(frame.head.len() as u32);
        first.put_u32(frame.body.len() as u32);
        first.put_slice(&frame.head);
        first.put_slice(inline);
        parts.push(first.freeze());
        if inline.len() < frame.body.len() {
            parts.push(frame.body.clone());
        }
    }

    /// The message in `parts`, which must be all parts of one message. Copies nothing.
    pub(crate) fn decode(mut parts: impl Iterator<Item = Bytes>) -> Result<(Header, Frame), Malformed> {
        let mut head = parts.next().ok_or(Malformed("no part"))?;
        let second = parts.next();
        if parts.next().is_some() {
            return Err(Malformed("more than two parts"));
        }
        if head.len() < HEADER_BYTES {
            return Err(Malformed("shorter than a header"));
        }
        if head.get_u32() != MAGIC {
            return Err(Malformed("wrong magic"));
        }
        if head.get_u8() != VERSION {
            return Err(Malformed("unknown version"));
        }
        let kind = match head.get_u8() {
            1 => Kind::Request,
            2 => Kind::Reply,
            3 => Kind::TooLarge,
            4 => Kind::Overloaded,
            _ => return Err(Malformed("unknown kind")),
        };
        let lane = match head.get_u8() {
            0 => Lane::Control,
            1 => Lane::Request,
            2 => Lane::Bulk,
            _ => return Err(Malformed("unknown lane")),
        };
        if head.get_u8() != 0 {
            return Err(Malformed("reserved byte set"));
        }
        let correlation = head.get_u64();
        let (head_len, body_len) = (head.get_u32() as usize, head.get_u32() as usize);
        if head.len() < head_len {
            return Err(Malformed("wrong head length"));
        }
        let inline = head.split_off(head_len);
        let body = match second {
            Some(second) if inline.is_empty() && second.len() > INLINE_BODY_BYTES => second,
            None if inline.len() <= INLINE_BODY_BYTES => inline,
            _ => return Err(Malformed("a body where it does not belong")),
        };
        if body.len() != body_len {
            return Err(Malformed("wrong body length"));
        }
        Ok((Header { kind, lane, correlation }, Frame { head, body }))
    }
}

/// The frame of a [`Kind::TooLarge`] answer.
pub(crate) fn too_large(len: usize, max: usize) -> Frame {
    let mut head = BytesMut::with_capacity(16);
    head.put_u64(len as u64);
    head.put_u64(max as u64);
    Frame::new(head, Bytes::new())
}

/// Length and limit out of a [`Kind::TooLarge`] answer.
pub(crate) fn parse_too_large(mut frame: Frame) -> Result<(usize, usize), Malformed> {
    if frame.head.len() != 16 || !frame.body.is_empty() {
        return Err(Malformed("wrong length of a refusal"));
    }
    let mut number = || usize::try_from(frame.head.get_u64()).unwrap_or(usize::MAX);
    Ok((number(), number()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header =
        Header { kind: Kind::Request, lane: Lane::Bulk, correlation: 0x0102_0304_0506_0708 };

    fn parts(header: Header, frame: &Frame) -> Vec<Bytes> {
        let mut parts = Vec::new();
        header.encode(frame, &mut parts);
        parts
    }

    fn decoded(parts: &[Bytes]) -> Result<(Header, Frame), Malformed> {
        Header::decode(parts.iter().cloned())
    }

    fn large_body() -> Bytes {
        vec![7; INLINE_BODY_BYTES + 1].into()
    }

    #[test]
    fn a_message_has_the_documented_bytes() {
        let short = parts(HEADER, &Frame::new(&b"hd"[..], &b"body"[..]));
        let expected = &b"CHZQ\x01\x01\x02\x00\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\x02\0\0\0\x04hdbody"[..];
        assert_eq!(short, [expected]);
        let long = parts(HEADER, &Frame::new(&b"hd"[..], large_body()));
        let expected = &b"CHZQ\x01\x01\x02\x00\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\x02\0\0\x10\x01hd"[..];
        assert_eq!(long, [expected, &large_body()]);
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for body in [0, 1, INLINE_BODY_BYTES, INLINE_BODY_BYTES + 1] {
            for head in ["", "head"] {
                let frame = Frame::new(head, vec![9; body]);
                for kind in [Kind::Request, Kind::Reply, Kind::TooLarge, Kind::Overloaded] {
                    for lane in [Lane::Control, Lane::Request, Lane::Bulk] {
                        let header = Header { kind, lane, correlation: u64::MAX };
                        assert_eq!(decoded(&parts(header, &frame)), Ok((header, frame.clone())));
                    }
                }
            }
        }
        assert_eq!(parse_too_large(too_large(70_000, 65_536)), Ok((70_000, 65_536)));
    }

    #[test]
    fn every_truncation_is_refused() {
        assert!(decoded(&[]).is_err());
        for frame in [Frame::new("head", "body"), Frame::new("head", large_body())] {
            let whole = parts(HEADER, &frame);
            for part in 0..whole.len() {
                for len in 0..whole[part].len() {
                    let mut cut = whole.clone();
                    cut[part].truncate(len);
                    assert!(decoded(&cut).is_err(), "part {part} cut to {len} bytes");
                }
            }
        }
        let whole = parts(HEADER, &Frame::new("head", large_body()));
        assert!(decoded(&whole[..1]).is_err(), "a body that is missing");
    }

    #[test]
    fn every_header_byte_is_checked_except_the_correlation_id() {
        let whole = parts(HEADER, &Frame::new("head", "body"));
        for at in (0..8).chain(16..HEADER_BYTES) {
            let mut hostile = whole[0].to_vec();
            hostile[at] ^= 0x80;
            assert!(decoded(&[hostile.into()]).is_err(), "byte {at} changed");
        }
    }

    #[test]
    fn a_body_in_the_wrong_place_is_refused() {
        let short = parts(HEADER, &Frame::new("head", "body"));
        let long = parts(HEADER, &Frame::new("head", large_body()));
        let whole: Bytes = long.concat().into();
        assert!(decoded(&[whole]).is_err(), "a long body behind the head");
        assert!(decoded(&[short[0].clone(), Bytes::new()]).is_err(), "an empty second part");
        assert!(decoded(&[short[0].clone(), long[1].clone()]).is_err(), "two bodies");
        assert!(decoded(&[long[0].clone(), long[1].clone(), long[1].clone()]).is_err(), "three parts");
        assert!(parse_too_large(Frame::new("fifteen bytes..", "")).is_err());
    }
}
