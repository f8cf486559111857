//! Replies as a client reads them: [`Value`].

use bytes::{Buf, Bytes, BytesMut};

use crate::resp::number::parse_i64;

/// Longest line of a reply, in bytes.
const MAX_LINE_BYTES: usize = 64 << 10;
/// Longest bulk string accepted, in bytes.
const MAX_BULK_BYTES: i64 = 512 << 20;
/// Most elements of one array.
const MAX_ELEMENTS: i64 = 1 << 20;
/// Deepest nesting of arrays.
const MAX_DEPTH: usize = 8;

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `+text`.
    Simple(String),
    /// `-text`.
    Error(String),
    /// `:number`.
    Integer(i64),
    /// A bulk string.
    Bulk(Bytes),
    /// The null bulk string or array.
    Null,
    /// An array.
    Array(Vec<Value>),
}

/// A reply that is not RESP2, or exceeds a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's reply cannot be read: {0}")]
pub struct ValueError(&'static str);

impl Value {
    /// The next reply of `buffer`, removed from it; `None` when more input is needed.
    ///
    /// # Errors
    /// [`ValueError`]; the connection is of no use after it.
    pub fn next(buffer: &mut BytesMut) -> Result<Option<Value>, ValueError> {
        // Bulk strings are by far the most bytes: look before copying whether the reply is complete.
        let Some(end) = complete(buffer, 0, 0)? else { return Ok(None) };
        let mut frame = buffer.split_to(end).freeze();
        Ok(Some(take(&mut frame)))
    }

    /// The text of a simple or bulk string, bytes that are not UTF-8 replaced.
    pub fn into_text(self) -> Option<String> {
        match self {
            Value::Simple(text) => Some(text),
            Value::Bulk(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            _ => None,
        }
    }
}

/// Where the reply that starts at `at` ends, when all of it is there.
fn complete(buffer: &[u8], at: usize, depth: usize) -> Result<Option<usize>, ValueError> {
    let Some(Line { kind, text, after }) = line_at(buffer, at)? else { return Ok(None) };
    match kind {
        b'+' | b'-' => Ok(Some(after)),
        b':' => parse_i64(text).map(|_| Some(after)).ok_or(ValueError("not an integer")),
        b'$' => match parse_i64(text) {
            Some(-1) => Ok(Some(after)),
            Some(len @ 0..=MAX_BULK_BYTES) => {
                let end = after + usize::try_from(len).unwrap_or(0);
                match buffer.get(end..end + 2) {
                    None => Ok(None),
                    Some(b"\r\n") => Ok(Some(end + 2)),
                    Some(_) => Err(ValueError("a bulk string without its end")),
                }
            }
            _ => Err(ValueError("invalid bulk length")),
        },
        b'*' => match parse_i64(text) {
            Some(-1) => Ok(Some(after)),
            Some(0..=MAX_ELEMENTS) if depth == MAX_DEPTH => Err(ValueError("arrays nested too deeply")),
            Some(len @ 0..=MAX_ELEMENTS) => {
                let mut at = after;
                for _ in 0..len {
                    match complete(buffer, at, depth + 1)? {
                        Some(end) => at = end,
                        None => return Ok(None),
                    }
                }
                Ok(Some(at))
            }
            _ => Err(ValueError("invalid array length")),
        },
        _ => Err(ValueError("unknown kind")),
    }
}

/// One line of a reply.
struct Line<'a> {
    kind: u8,
    text: &'a [u8],
    /// Where the next line starts.
    after: usize,
}

/// The line at `at`, when all of it is there.
fn line_at(buffer: &[u8], at: usize) -> Result<Option<Line<'_>>, ValueError> {
    let Some(rest) = buffer.get(at..).filter(|rest| !rest.is_empty()) else { return Ok(None) };
    let Some(end) = rest.iter().take(MAX_LINE_BYTES).position(|byte| *byte == b'\n') else {
        return if rest.len() < MAX_LINE_BYTES { Ok(None) } else { Err(ValueError("a line too long")) };
    };
    match rest[..end].strip_suffix(b"\r") {
        Some([kind, text @ ..]) => Ok(Some(Line { kind: *kind, text, after: at + end + 1 })),
        _ => Err(ValueError("a line without its end")),
    }
}

/// Takes the reply at the front of `frame`, which [`complete`] has found whole and well formed.
fn take(frame: &mut Bytes) -> Value {
    let end = frame.iter().position(|byte| *byte == b'\n').expect("complete found this line's end");
    let line = frame.split_to(end + 1);
    let (kind, text) = (line[0], &line[1..line.len() - 2]);
    let number = || parse_i64(text).expect("complete read this number");
    match kind {
        b'+' => Value::Simple(String::from_utf8_lossy(text).into_owned()),
        b'-' => Value::Error(String::from_utf8_lossy(text).into_owned()),
        b':' => Value::Integer(number()),
        b'$' => match usize::try_from(number()) {
            Err(_) => Value::Null,
            Ok(len) => {
                let bulk = frame.split_to(len);
                frame.advance(2);
                Value::Bulk(bulk)
            }
        },
        _ => match usize::try_from(number()) {
            Err(_) => Value::Null,
            Ok(len) => Value::Array((0..len).map(|_| take(frame)).collect()),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn replies_are_read_however_they_are_split() {
        let input = b"+OK\r\n-ERR no\r\n:-3\r\n$2\r\nab\r\n$-1\r\n*2\r\n:1\r\n*1\r\n$0\r\n\r\n*-1\r\n";
        let expected = vec![
            Value::Simple("OK".into()),
            Value::Error("ERR no".into()),
            Value::Integer(-3),
            Value::Bulk("ab".into()),
            Value::Null,
            Value::Array(vec![Value::Integer(1), Value::Array(vec![Value::Bulk("".into())])]),
            Value::Null,
        ];
        for size in 1..input.len() {
            let (mut buffer, mut values) = (BytesMut::new(), Vec::new());
            for piece in input.chunks(size) {
                buffer.extend_from_slice(piece);
                while let Some(value) = Value::next(&mut buffer).unwrap() {
                    values.push(value);
                }
            }
            assert_eq!(values, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn nesting_and_lengths_are_bounded() {
        for bad in
            [b"*1\r\n".repeat(20), b"$536870913\r\n".to_vec(), b"*1048577\r\n".to_vec(), vec![b'+'; 1 << 17]]
        {
            assert!(Value::next(&mut BytesMut::from(bad.as_slice())).is_err());
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Value::next(&mut BytesMut::from(input.as_slice()));
        }
    }
}
