//! The bytes on a stream.
//!
//! Every stream is bidirectional and begins, on the side that opened it, with two bytes: what it is for
//! ([`Purpose`]) and its lane. Messages follow: a [`Header`] of 17 bytes, big-endian, then the head and the body
//! it announces.
//!
//! | purpose | opened by | carries |
//! |---|---|---|
//! | lane | the dialler, once for each lane | any number of small calls, and their replies in any order, matched by id |
//! | call | the dialler | one large call, and its reply |
//! | reply | the listener | one large reply to a small call, matched by id |
//!
//! On the control lane the listener's first byte is [`READY`]: it has checked the dialler's certificate and
//! has room. TLS alone does not tell the dialler that.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use chord::transport::{Frame, Lane};
use quinn::{ReadError, RecvStream, SendStream, WriteError};
use tokio::io::AsyncReadExt;

/// Largest frame that travels on a lane's stream; a larger one has a stream of its own.
pub(crate) const SMALL_FRAME_BYTES: usize = 64 << 10;

/// Pieces in which a large frame is handed to its stream.
const PIECE_BYTES: usize = 64 << 10;

/// A head or body at least this long is handed over as it is instead of being copied among its neighbours.
const UNCOPIED_BYTES: usize = 4 << 10;

/// Room made for reading from a lane's stream.
const READ_BYTES: usize = 16 << 10;

pub(crate) const HEADER_BYTES: usize = 17;

/// The listener's first byte to a dialler that it has let in.
pub(crate) const READY: u8 = 1;

/// Lanes by the index that stands for them on the wire.
pub(crate) const LANES: [Lane; 3] = [Lane::Control, Lane::Request, Lane::Bulk];

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Lane,
    Call,
    Reply,
}

/// What goes before head and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// A call or a reply follows: so many bytes of head, so many of body.
    Frame { id: u64, head: usize, body: usize },
    /// Instead of a reply: the call or its reply had `len` bytes where `max` are allowed. Nothing follows.
    TooLarge { id: u64, len: usize, max: usize },
}

/// The peer does not keep to the protocol; its connection is closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("protocol violation: {0}")]
    Malformed(&'static str),
    #[error("the stream ended early")]
    Truncated,
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Write(#[from] WriteError),
}

pub(crate) fn lane_index(lane: Lane) -> usize {
    match lane {
        Lane::Control => 0,
        Lane::Request => 1,
        Lane::Bulk => 2,
    }
}

/// The first two bytes of a stream.
pub(crate) fn preface(purpose: Purpose, lane: Lane) -> [u8; 2] {
    let purpose = match purpose {
        Purpose::Lane => 1,
        Purpose::Call => 2,
        Purpose::Reply => 3,
    };
    [purpose, lane_index(lane) as u8]
}

pub(crate) fn parse_preface(bytes: [u8; 2]) -> Result<(Purpose, Lane), StreamError> {
    let purpose = match bytes[0] {
        1 => Purpose::Lane,
        2 => Purpose::Call,
        3 => Purpose::Reply,
        _ => return Err(StreamError::Malformed("a stream of unknown purpose")),
    };
    let lane = LANES.get(usize::from(bytes[1])).ok_or(StreamError::Malformed("an unknown lane"))?;
    Ok((purpose, *lane))
}

/// QUIC's priority of a stream: it sends nothing of a lower one while it has something of a higher.
pub(crate) fn priority(lane: Lane, large: bool) -> i32 {
    match (lane, large) {
        (Lane::Control, false) => 3,
        (Lane::Request, false) => 2,
        (Lane::Control | Lane::Request, true) => 1,
        (Lane::Bulk, _) => 0,
    }
}

impl Header {
    pub(crate) fn of(id: u64, frame: &Frame) -> Header {
        Header::Frame { id, head: frame.head.len(), body: frame.body.len() }
    }

    /// Lengths fit in 32 bits: the configuration bounds frames to 1 GiB; a reply beyond that is announced as
    /// `u32::MAX`.
    pub(crate) fn put(&self, out: &mut BytesMut) {
        let saturated = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let (kind, id, first, second) = match *self {
            Header::Frame { id, head, body } => (0, id, head, body),
            Header::TooLarge { id, len, max } => (1, id, len, max),
        };
        out.put_u8(kind);
        out.put_u64(id);
        out.put_u32(saturated(first));
        out.put_u32(saturated(second));
    }

    pub(crate) fn parse(mut bytes: &[u8]) -> Result<Header, StreamError> {
        if bytes.len() < HEADER_BYTES {
            return Err(StreamError::Truncated);
        }
        let (kind, id) = (bytes.get_u8(), bytes.get_u64());
        let (first, second) = (bytes.get_u32() as usize, bytes.get_u32() as usize);
        match kind {
            0 => Ok(Header::Frame { id, head: first, body: second }),
            1 => Ok(Header::TooLarge { id, len: first, max: second }),
            _ => Err(StreamError::Malformed("a message of unknown kind")),
        }
    }
}

/// Messages to be written together: small ones back to back in one buffer, longer parts as they are.
#[derive(Default)]
pub(crate) struct Batch {
    chunks: Vec<Bytes>,
    tail: BytesMut,
}

impl Batch {
    pub(crate) fn push(&mut self, id: u64, frame: &Frame) {
        Header::of(id, frame).put(&mut self.tail);
        self.push_part(&frame.head);
        self.push_part(&frame.body);
    }

    pub(crate) fn push_too_large(&mut self, id: u64, len: usize, max: usize) {
        Header::TooLarge { id, len, max }.put(&mut self.tail);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.tail.is_empty()
    }

    /// Writes everything and leaves the batch empty.
    pub(crate) async fn write(&mut self, send: &mut SendStream) -> Result<(), WriteError> {
        self.end_chunk();
        let written = send.write_all_chunks(&mut self.chunks).await;
        self.chunks.clear();
        written
    }

    fn push_part(&mut self, part: &Bytes) {
        if part.len() < UNCOPIED_BYTES {
            self.tail.put_slice(part);
        } else {
            self.end_chunk();
            self.chunks.push(part.clone());
        }
    }

    fn end_chunk(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push(self.tail.split().freeze());
        }
    }
}

/// Reads the messages of a lane's stream.
pub(crate) struct LaneReader {
    recv: RecvStream,
    buffer: BytesMut,
}

/// A message of a lane's stream, with the id that matches replies to calls.
pub(crate) enum Message {
    Frame { id: u64, frame: Frame },
    TooLarge { id: u64, len: usize, max: usize },
}

impl LaneReader {
    pub(crate) fn new(recv: RecvStream) -> LaneReader {
        LaneReader { recv, buffer: BytesMut::new() }
    }

    /// The next whole message that was read already. A length is judged before anything is kept for it.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, StreamError> {
        if self.buffer.len() < HEADER_BYTES {
            return Ok(None);
        }
        let (id, head, body) = match Header::parse(&self.buffer)? {
            Header::TooLarge { id, len, max } => {
                self.buffer.advance(HEADER_BYTES);
                return Ok(Some(Message::TooLarge { id, len, max }));
            }
            Header::Frame { id, head, body } => (id, head, body),
        };
        if head.saturating_add(body) > SMALL_FRAME_BYTES {
            return Err(StreamError::Malformed("a large frame on a lane's stream"));
        }
        if self.buffer.len() < HEADER_BYTES + head + body {
            return Ok(None);
        }
        self.buffer.advance(HEADER_BYTES);
        let head = self.buffer.split_to(head).freeze();
        let body = self.buffer.split_to(body).freeze();
        Ok(Some(Message::Frame { id, frame: Frame { head, body } }))
    }

    /// Reads more; `false` at the stream's end.
    ///
    /// # Cancel safety
    /// Loses nothing when dropped.
    pub(crate) async fn fill(&mut self) -> Result<bool, StreamError> {
        if self.buffer.capacity() - self.buffer.len() < READ_BYTES / 4 {
            self.buffer.reserve(READ_BYTES);
        }
        Ok(self.recv.read_buf(&mut self.buffer).await? > 0)
    }
}

/// Reads the header of a message on a stream of its own.
pub(crate) async fn read_header(recv: &mut RecvStream) -> Result<Header, StreamError> {
    let mut bytes = [0; HEADER_BYTES];
    recv.read_exact(&mut bytes).await.map_err(|_| StreamError::Truncated)?;
    Header::parse(&bytes)
}

/// Reads what a header announced, whose lengths the caller has judged. Memory grows with what has arrived.
pub(crate) async fn read_frame(
    recv: &mut RecvStream,
    head: usize,
    body: usize,
) -> Result<Frame, StreamError> {
    let len = head + body;
    let mut bytes = BytesMut::new();
    while bytes.len() < len {
        let missing = len - bytes.len();
        let chunk = recv.read_chunk(missing.min(PIECE_BYTES), true).await?.ok_or(StreamError::Truncated)?;
        if bytes.capacity() - bytes.len() < chunk.bytes.len() {
            bytes.reserve(missing.min(bytes.len().max(PIECE_BYTES)));
        }
        bytes.put_slice(&chunk.bytes);
    }
    let head = bytes.split_to(head).freeze();
    Ok(Frame { head, body: bytes.freeze() })
}

/// Writes `start` and then `frame`, in pieces.
pub(crate) async fn write_frame(
    send: &mut SendStream,
    start: BytesMut,
    frame: &Frame,
) -> Result<(), WriteError> {
    send.write_chunk(start.freeze()).await?;
    for part in [&frame.head, &frame.body] {
        let mut rest = part.clone();
        while !rest.is_empty() {
            send.write_chunk(rest.split_to(rest.len().min(PIECE_BYTES))).await?;
        }
    }
    Ok(())
}
