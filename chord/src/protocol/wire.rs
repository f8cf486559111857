//! Encoding and decoding: the only file that knows the codec and the layout of a frame.
//!
//! A frame's head is a fixed header, then the message (bincode 1.3, fixed-width integers, no trailing bytes). All
//! integers are big-endian in the header.
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | magic `CHRD` |
//! | 4 | wire version |
//! | 5 | kind: of a request 1 to 127, of a response 128, 255 for `UnsupportedVersion` |
//! | 6..8 | flags, zero |
//! | 8..16 | ring tag, zero in `Hello` |
//! | 16..32 | the sender's incarnation |
//! | 32..48 | the addressed incarnation, zero when unknown |
//! | 48..52 | milliseconds until the caller's deadline |
//! | 52..56 | bytes of the message |
//! | 56..60 | bytes of the body |
//!
//! The first 8 bytes, and the answer to a version that is not spoken (those 8 bytes with kind 255, then the lowest
//! and the highest version spoken, one byte each), are frozen for ever.

use bincode::Options;
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

use crate::protocol::message::{Request, Response};
use crate::protocol::peer::Incarnation;
use crate::transport::Frame;

/// The version this code speaks.
pub const WIRE_VERSION: u8 = 1;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 60;
/// Most bytes of an encoded message (without values).
pub const MAX_MESSAGE_BYTES: usize = 8 << 20;

/// Values up to this many bytes are copied by who keeps them.
const UNPINNED_BYTES: usize = 4096;
const MAGIC: [u8; 4] = *b"CHRD";
const RESPONSE: u8 = 128;
const UNSUPPORTED: u8 = 255;

/// What the header says beside lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The ring's tag.
    pub ring_tag: u64,
    /// Who sends.
    pub from: Incarnation,
    /// Who is addressed; zero when unknown.
    pub to: Incarnation,
    /// Milliseconds until the caller's deadline.
    pub remaining_ms: u32,
}

/// Why a frame cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The sender speaks another version.
    #[error("wire version {version} is not spoken here (1 to {WIRE_VERSION} are)")]
    UnsupportedVersion {
        /// The version it speaks.
        version: u8,
    },
    /// The answerer does not speak this version.
    #[error("the peer speaks wire versions {min} to {max} only")]
    Unsupported {
        /// Its lowest.
        min: u8,
        /// Its highest.
        max: u8,
    },
    /// These are no bytes of ours, or damaged ones.
    #[error("malformed frame: {0}")]
    Malformed(&'static str),
}

/// A message that does not fit a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {len} bytes exceeds {MAX_MESSAGE_BYTES}")]
pub struct MessageTooLarge {
    /// Its encoded length in bytes.
    pub len: usize,
}

/// Encodes a request with its values.
///
/// # Errors
/// [`MessageTooLarge`] beyond [`MAX_MESSAGE_BYTES`].
pub fn encode_request(header: Header, request: &Request, body: Bytes) -> Result<Frame, MessageTooLarge> {
    encode(header, request.kind(), request, body)
}

/// Encodes a response with its values.
///
/// # Errors
/// [`MessageTooLarge`] beyond [`MAX_MESSAGE_BYTES`].
pub fn encode_response(header: Header, response: &Response, body: Bytes) -> Result<Frame, MessageTooLarge> {
    encode(header, RESPONSE, response, body)
}

/// Reads a request.
///
/// # Errors
/// [`WireError`]; nothing is allocated beyond the frame's own length.
pub fn decode_request(frame: &Frame) -> Result<(Header, Request), WireError> {
    let (header, kind, message) = open(frame)?;
    if !(1..RESPONSE).contains(&kind) {
        return Err(WireError::Malformed("not a request"));
    }
    let request: Request = decode(message)?;
    if request.kind() != kind {
        return Err(WireError::Malformed("the kind does not match the message"));
    }
    if !request.is_bounded() {
        return Err(WireError::Malformed("more items than one message may have"));
    }
    Ok((header, request))
}

/// Reads a response.
///
/// # Errors
/// [`WireError`]; nothing is allocated beyond the frame's own length.
pub fn decode_response(frame: &Frame) -> Result<(Header, Response), WireError> {
    if frame.head.len() == 10 && frame.head[..4] == MAGIC && frame.head[5] == UNSUPPORTED {
        return Err(WireError::Unsupported { min: frame.head[8], max: frame.head[9] });
    }
    let (header, kind, message) = open(frame)?;
    if kind != RESPONSE {
        return Err(WireError::Malformed("not a response"));
    }
    Ok((header, decode(message)?))
}

/// The frozen answer to a version that is not spoken here.
pub fn unsupported_version() -> Frame {
    let mut head = BytesMut::with_capacity(10);
    head.put_slice(&MAGIC);
    head.put_slice(&[WIRE_VERSION, UNSUPPORTED, 0, 0, 1, WIRE_VERSION]);
    Frame::new(head.freeze(), Bytes::new())
}

/// Cuts the body's values apart: one a length, none left over. A large value is copied out of a body of which it is
/// less than half, so that who keeps it does not keep the body.
///
/// # Errors
/// [`WireError::Malformed`] unless the lengths add up to the body.
pub fn split_values(body: &Bytes, lengths: impl Iterator<Item = u32>) -> Result<Vec<Bytes>, WireError> {
    let mut at = 0usize;
    let mut values = Vec::new();
    for length in lengths {
        let end = at.checked_add(length as usize).filter(|end| *end <= body.len());
        let Some(end) = end else {
            return Err(WireError::Malformed("values are longer than the body"));
        };
        let value = body.slice(at..end);
        let pins = value.len() > UNPINNED_BYTES && value.len() < body.len() / 2;
        values.push(if pins { Bytes::copy_from_slice(&value) } else { value });
        at = end;
    }
    if at == body.len() { Ok(values) } else { Err(WireError::Malformed("bytes behind the last value")) }
}

/// Joins values into a body: without a copy when there is just one.
pub fn join_values<'a>(values: impl Iterator<Item = &'a Bytes> + Clone) -> Bytes {
    let mut present = values.clone().filter(|value| !value.is_empty());
    match (present.next(), present.next()) {
        (None, _) => Bytes::new(),
        (Some(only), None) => only.clone(),
        _ => {
            let mut body = BytesMut::with_capacity(values.clone().map(Bytes::len).sum());
            values.for_each(|value| body.put_slice(value));
            body.freeze()
        }
    }
}

fn encode(header: Header, kind: u8, message: &impl Serialize, body: Bytes) -> Result<Frame, MessageTooLarge> {
    let mut head = Vec::with_capacity(HEADER_BYTES + 192);
    head.put_slice(&MAGIC);
    head.put_slice(&[WIRE_VERSION, kind, 0, 0]);
    head.put_u64(header.ring_tag);
    head.put_u128(header.from.0);
    head.put_u128(header.to.0);
    head.put_u32(header.remaining_ms);
    head.put_u32(0);
    head.put_u32(u32::try_from(body.len()).expect("bodies are bounded by the frame limit, far below 4 GiB"));
    if codec().serialize_into(&mut head, message).is_err() {
        let len = codec().with_no_limit().serialized_size(message).unwrap_or(u64::MAX);
        return Err(MessageTooLarge { len: usize::try_from(len).unwrap_or(usize::MAX) });
    }
    let length = u32::try_from(head.len() - HEADER_BYTES).expect("messages are far below 4 GiB");
    head[52..56].copy_from_slice(&length.to_be_bytes());
    Ok(Frame { head: head.into(), body })
}

fn open(frame: &Frame) -> Result<(Header, u8, &[u8]), WireError> {
    let head = &frame.head[..];
    if head.len() < 8 || head[..4] != MAGIC {
        return Err(WireError::Malformed("no magic"));
    }
    if head[4] != WIRE_VERSION {
        return Err(WireError::UnsupportedVersion { version: head[4] });
    }
    if head.len() < HEADER_BYTES {
        return Err(WireError::Malformed("a short header"));
    }
    let number = |from: usize, to: usize| {
        head[from..to].iter().fold(0u128, |value, byte| (value << 8) | u128::from(*byte))
    };
    let message = &head[HEADER_BYTES..];
    if head[6..8] != [0, 0] {
        return Err(WireError::Malformed("unknown flags"));
    }
    if message.len() > MAX_MESSAGE_BYTES || number(52, 56) != message.len() as u128 {
        return Err(WireError::Malformed("the message's length is wrong"));
    }
    if number(56, 60) != frame.body.len() as u128 {
        return Err(WireError::Malformed("the body's length is wrong"));
    }
    let header = Header {
        ring_tag: number(8, 16) as u64,
        from: Incarnation(number(16, 32)),
        to: Incarnation(number(32, 48)),
        remaining_ms: number(48, 52) as u32,
    };
    Ok((header, head[5], message))
}

fn decode<M: DeserializeOwned>(message: &[u8]) -> Result<M, WireError> {
    codec().deserialize(message).map_err(|_| WireError::Malformed("the message cannot be decoded"))
}

/// Fixed-width integers; bytes behind the message are an error (the default of `DefaultOptions`).
fn codec() -> impl Options {
    bincode::DefaultOptions::new().with_fixint_encoding().with_limit(MAX_MESSAGE_BYTES as u64)
}

#[cfg(test)]
mod tests;
