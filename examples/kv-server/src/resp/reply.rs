//! Writing replies: [`Reply`].

use bytes::Bytes;

use crate::resp::number::push_i64;

/// Values up to this many bytes are copied among the other replies; a larger one is sent from where it lies.
const COPIED_VALUE_BYTES: usize = 16 << 10;

/// Replies in RESP2, one after the other, in a buffer that is used again and again. Large values are not copied into
/// it: what the store has in memory is not held twice while a client reads it.
#[derive(Debug)]
pub struct Reply {
    limit: usize,
    out: Vec<u8>,
    /// Large values in the order of their places.
    large: Vec<Large>,
    large_bytes: usize,
}

/// A value that stands between the bytes of a buffer.
#[derive(Debug)]
struct Large {
    /// How many of the buffer's bytes come before it.
    at: usize,
    value: Bytes,
}

/// A place in a [`Reply`] to which it can be cut back.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    out: usize,
    large: usize,
}

impl Reply {
    /// No reply yet. A command that can be asked for more than `limit` bytes of values at once refuses to.
    pub fn new(limit: usize) -> Reply {
        Reply { limit, out: Vec::new(), large: Vec::new(), large_bytes: 0 }
    }

    /// Most bytes of values in one reply.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// What was written, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        let to_values = self.large.iter().flat_map(move |large| {
            let before = &self.out[start..large.at];
            start = large.at;
            [before, &large.value]
        });
        let last = self.large.last().map_or(0, |large| large.at);
        to_values.chain([&self.out[last..]]).filter(|piece| !piece.is_empty())
    }

    /// Bytes written.
    pub fn len(&self) -> usize {
        self.out.len() + self.large_bytes
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Forgets what was written; keeps at most `keep` bytes of memory.
    pub fn clear(&mut self, keep: usize) {
        if self.out.capacity() > keep {
            self.out = Vec::new();
        } else {
            self.out.clear();
        }
        self.large = Vec::new();
        self.large_bytes = 0;
    }

    /// The place behind what was written.
    pub fn mark(&self) -> Mark {
        Mark { out: self.out.len(), large: self.large.len() }
    }

    /// Forgets everything that was written after `mark`.
    pub fn cut_back(&mut self, mark: Mark) {
        self.out.truncate(mark.out);
        self.large_bytes -= self.large.drain(mark.large..).map(|large| large.value.len()).sum::<usize>();
    }

    /// Appends the replies of `other`.
    pub fn append(&mut self, other: Reply) {
        let before = self.out.len();
        self.out.extend_from_slice(&other.out);
        self.large_bytes += other.large_bytes;
        self.large.extend(other.large.into_iter().map(|large| Large { at: before + large.at, ..large }));
    }

    /// `+text`; the text is ours and has no line break.
    pub fn simple(&mut self, text: &'static str) {
        self.out.push(b'+');
        self.out.extend_from_slice(text.as_bytes());
        self.end_line();
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// `-text`; line breaks become blanks, as in Redis.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.out.push(b'-');
        self.out.extend(text.as_ref().iter().map(|byte| match byte {
            b'\r' | b'\n' => b' ',
            other => *other,
        }));
        self.end_line();
    }

    /// `:value`.
    pub fn integer(&mut self, value: i64) {
        self.line(b':', value);
    }

    /// A bulk string.
    pub fn bulk(&mut self, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.out.reserve(value.len() + 16);
        self.line(b'$', length(value.len()));
        self.out.extend_from_slice(value);
        self.end_line();
    }

    /// The value of a key, or the null bulk string where there is none.
    pub fn value(&mut self, value: Option<Bytes>) {
        match value {
            None => self.null(),
            Some(value) if value.len() <= COPIED_VALUE_BYTES => self.bulk(value),
            Some(value) => {
                self.line(b'$', length(value.len()));
                self.large_bytes += value.len();
                self.large.push(Large { at: self.out.len(), value });
                self.end_line();
            }
        }
    }

    /// The null bulk string.
    pub fn null(&mut self) {
        self.out.extend_from_slice(b"$-1\r\n");
    }

    /// The head of an array; `len` replies follow.
    pub fn array(&mut self, len: usize) {
        self.line(b'*', length(len));
    }

    fn line(&mut self, kind: u8, value: i64) {
        self.out.push(kind);
        push_i64(&mut self.out, value);
        self.end_line();
    }

    fn end_line(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

fn length(len: usize) -> i64 {
    i64::try_from(len).expect("no buffer has more than i64::MAX bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply) -> Vec<u8> {
        reply.pieces().collect::<Vec<_>>().concat()
    }

    #[test]
    fn every_kind_of_reply_is_written_as_redis_writes_it() {
        let mut reply = Reply::new(usize::MAX);
        reply.ok();
        reply.simple("PONG");
        reply.error("ERR two\r\nlines");
        reply.integer(-12);
        reply.bulk("a\r\nb");
        reply.value(None);
        reply.value(Some("short".into()));
        reply.array(2);
        assert_eq!(
            written(&reply),
            b"+OK\r\n+PONG\r\n-ERR two  lines\r\n:-12\r\n$4\r\na\r\nb\r\n$-1\r\n$5\r\nshort\r\n*2\r\n"
        );
    }

    #[test]
    fn large_values_stand_in_their_places_and_are_not_copied() {
        let large = Bytes::from(vec![b'x'; COPIED_VALUE_BYTES + 1]);
        let mut other = Reply::new(usize::MAX);
        other.value(Some(large.clone()));
        other.ok();
        let mut reply = Reply::new(usize::MAX);
        reply.integer(1);
        reply.value(Some(large.clone()));
        let mark = reply.mark();
        reply.value(Some(large.clone()));
        reply.cut_back(mark);
        reply.append(other);
        let bulk = [format!("${}\r\n", large.len()).as_bytes(), &large, b"\r\n"].concat();
        assert_eq!(written(&reply), [b":1\r\n", bulk.as_slice(), &bulk, b"+OK\r\n"].concat());
        assert_eq!(reply.len(), written(&reply).len());
        let shared = reply.pieces().filter(|piece| piece.as_ptr() == large.as_ptr()).count();
        assert_eq!(shared, 2, "a large value was copied");
    }

    #[test]
    fn clearing_gives_large_buffers_back() {
        let mut reply = Reply::new(usize::MAX);
        reply.bulk(vec![b'x'; 1000]);
        reply.clear(100);
        assert!(reply.is_empty());
        assert_eq!(reply.out.capacity(), 0);
    }
}
