//! Reading requests: [`Parser`].

use std::borrow::Cow;

use bytes::{Buf, Bytes, BytesMut};

use crate::resp::inline::split_line;
use crate::resp::number::parse_i64;

/// Longest inline command, and longest line that announces a length, in bytes.
pub const MAX_LINE_BYTES: usize = 64 << 10;
/// Most arguments of one request.
pub const MAX_ARGUMENTS: usize = 1 << 20;
/// Arguments that memory is kept for between requests.
const KEPT_ARGUMENTS: usize = 64;
/// Most arguments before the client has authenticated, as in Redis.
const MAX_ARGUMENTS_UNAUTHENTICATED: i64 = 10;
/// Longest argument before the client has authenticated, as in Redis.
const MAX_BULK_UNAUTHENTICATED: i64 = 16 << 10;

/// The command and its arguments. They share the buffer they were read into.
pub type Request = Vec<Bytes>;

/// What a client may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest argument, in bytes.
    pub max_bulk_bytes: usize,
    /// Longest request on the wire, in bytes.
    pub max_request_bytes: usize,
    /// Whether the client has authenticated, or need not.
    pub authenticated: bool,
}

/// Why a request cannot be read. The connection is of no use after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Protocol error: {}", String::from_utf8_lossy(.0))]
pub struct ProtocolError(Cow<'static, [u8]>);

impl ProtocolError {
    /// Redis's text for it, with which the error reply goes on after `ERR Protocol error: `.
    pub fn text(&self) -> &[u8] {
        &self.0
    }

    fn new(text: &'static str) -> ProtocolError {
        ProtocolError(Cow::Borrowed(text.as_bytes()))
    }
}

/// An incremental reader of requests: it never looks at a byte twice, however the input is split, and reserves
/// memory only for what has arrived.
#[derive(Debug, Default)]
pub struct Parser {
    /// The multibulk request that has begun, if one has.
    begun: Option<Multibulk>,
    /// Where its arguments lie in the buffer, as far as they were read.
    arguments: Vec<(usize, usize)>,
    /// Bytes of the buffer known to hold no end of line.
    scanned: usize,
}

#[derive(Debug)]
struct Multibulk {
    /// Arguments still to come.
    missing: usize,
    /// Length of the argument whose announcement was read.
    bulk: Option<usize>,
    /// Where the next byte to be read lies in the buffer.
    at: usize,
}

impl Parser {
    /// The next request of `buffer`, removed from it; `None` when more input is needed. Empty requests are
    /// skipped, as Redis does.
    ///
    /// # Errors
    /// [`ProtocolError`]; the buffer must not be parsed further.
    pub fn next(&mut self, buffer: &mut BytesMut, limits: &Limits) -> Result<Option<Request>, ProtocolError> {
        loop {
            let request = match buffer.first() {
                None => return Ok(None),
                Some(b'*') => self.multibulk(buffer, limits)?,
                Some(_) => self.inline(buffer)?,
            };
            match request {
                Some(request) if request.is_empty() => continue,
                request => return Ok(request),
            }
        }
    }

    /// Bytes that the announced argument still lacks when `buffered` bytes are there; 0 when unknown.
    pub fn missing_bytes(&self, buffered: usize) -> usize {
        match &self.begun {
            Some(Multibulk { bulk: Some(len), at, .. }) => (at + len + 2).saturating_sub(buffered),
            _ => 0,
        }
    }

    /// About how much memory the request under way takes beside the buffer.
    pub fn held_bytes(&self) -> usize {
        self.arguments.capacity() * size_of::<(usize, usize)>()
    }

    fn multibulk(
        &mut self,
        buffer: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<Request>, ProtocolError> {
        if self.begun.is_none() {
            let Some((line, at)) = self.announcement(buffer, 0, "too big mbulk count string")? else {
                return Ok(None);
            };
            let count = argument_count(&buffer[line], limits)?;
            self.begun = Some(Multibulk { missing: count, bulk: None, at });
        }
        while let Some(begun) = &mut self.begun {
            if begun.missing == 0 {
                break;
            }
            let at = begun.at;
            let len = match begun.bulk {
                Some(len) => len,
                None => {
                    let Some((line, after)) = self.announcement(buffer, at, "too big bulk count string")?
                    else {
                        return Ok(None);
                    };
                    let len = bulk_length(buffer[at], &buffer[line], limits)?;
                    if after + len + 2 > limits.max_request_bytes {
                        return Err(ProtocolError::new("too big request"));
                    }
                    let begun = self.begun.as_mut().expect("a request has begun");
                    begun.bulk = Some(len);
                    begun.at = after;
                    continue;
                }
            };
            if buffer.len() < at + len + 2 {
                return Ok(None);
            }
            self.arguments.push((at, at + len));
            begun.at = at + len + 2;
            begun.bulk = None;
            begun.missing -= 1;
        }
        let begun = self.begun.take().expect("a request has begun");
        let frame = buffer.split_to(begun.at).freeze();
        let request = self.arguments.iter().map(|(start, end)| frame.slice(*start..*end)).collect();
        self.arguments.clear();
        self.arguments.shrink_to(KEPT_ARGUMENTS);
        Ok(Some(request))
    }

    /// The line that starts at `start` with a type byte: the range after that byte, and where the next line
    /// starts. Redis takes the byte after `\r` for the `\n` it should be; so do we.
    fn announcement(
        &mut self,
        buffer: &BytesMut,
        start: usize,
        too_long: &'static str,
    ) -> Result<Option<(std::ops::Range<usize>, usize)>, ProtocolError> {
        let from = start.max(self.scanned);
        let end = buffer.get(from..).and_then(|rest| rest.iter().position(|byte| *byte == b'\r'));
        let length = end.map_or(buffer.len(), |end| from + end).saturating_sub(start);
        if length > MAX_LINE_BYTES {
            return Err(ProtocolError::new(too_long));
        }
        match end {
            Some(end) if from + end + 1 < buffer.len() => {
                self.scanned = 0;
                Ok(Some((start + 1..(from + end).max(start + 1), from + end + 2)))
            }
            Some(end) => {
                self.scanned = from + end;
                Ok(None)
            }
            None => {
                self.scanned = buffer.len();
                Ok(None)
            }
        }
    }

    fn inline(&mut self, buffer: &mut BytesMut) -> Result<Option<Request>, ProtocolError> {
        let end = buffer[self.scanned..].iter().position(|byte| *byte == b'\n');
        let length = end.map_or(buffer.len(), |end| self.scanned + end);
        if length > MAX_LINE_BYTES {
            return Err(ProtocolError::new("too big inline request"));
        }
        if end.is_none() {
            self.scanned = buffer.len();
            return Ok(None);
        }
        self.scanned = 0;
        let line = buffer.split_to(length);
        buffer.advance(1);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let request = split_line(line).ok_or_else(|| ProtocolError::new("unbalanced quotes in request"))?;
        Ok(Some(request))
    }
}

fn argument_count(digits: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
    let count = parse_i64(digits)
        .filter(|count| *count <= MAX_ARGUMENTS as i64)
        .ok_or_else(|| ProtocolError::new("invalid multibulk length"))?;
    if count > MAX_ARGUMENTS_UNAUTHENTICATED && !limits.authenticated {
        return Err(ProtocolError::new("unauthenticated multibulk length"));
    }
    Ok(usize::try_from(count).unwrap_or(0))
}

fn bulk_length(kind: u8, digits: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
    if kind != b'$' {
        let text = [b"expected '$', got '", [kind].as_slice(), b"'"].concat();
        return Err(ProtocolError(Cow::Owned(text)));
    }
    let length = parse_i64(digits)
        .filter(|length| (0..=limits.max_bulk_bytes as i64).contains(length))
        .ok_or_else(|| ProtocolError::new("invalid bulk length"))?;
    if length > MAX_BULK_UNAUTHENTICATED && !limits.authenticated {
        return Err(ProtocolError::new("unauthenticated bulk length"));
    }
    Ok(usize::try_from(length).unwrap_or(0))
}

#[cfg(test)]
mod tests;
