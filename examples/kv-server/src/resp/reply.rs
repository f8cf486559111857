//! Writing replies: [`Reply`].

use crate::resp::number::push_i64;

/// Replies in RESP2, one after the other, in a buffer that is used again and again.
#[derive(Debug, Default)]
pub struct Reply {
    out: Vec<u8>,
}

impl Reply {
    /// No reply yet.
    pub fn new() -> Reply {
        Reply::default()
    }

    /// What was written.
    pub fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// Bytes written.
    pub fn len(&self) -> usize {
        self.out.len()
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
    }

    /// Forgets everything after the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    /// Appends the replies of `other`.
    pub fn append(&mut self, other: &Reply) {
        self.out.extend_from_slice(&other.out);
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

    /// A bulk string, or the null one.
    pub fn bulk_or_null(&mut self, value: Option<impl AsRef<[u8]>>) {
        match value {
            Some(value) => self.bulk(value),
            None => self.null(),
        }
    }

    /// The null bulk string.
    pub fn null(&mut self) {
        self.out.extend_from_slice(b"$-1\r\n");
    }

    /// The null array.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(b"*-1\r\n");
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

    #[test]
    fn every_kind_of_reply_is_written_as_redis_writes_it() {
        let mut reply = Reply::new();
        reply.ok();
        reply.simple("PONG");
        reply.error("ERR two\r\nlines");
        reply.integer(-12);
        reply.bulk("a\r\nb");
        reply.bulk_or_null(None::<&[u8]>);
        reply.array(2);
        reply.null_array();
        assert_eq!(
            reply.bytes(),
            b"+OK\r\n+PONG\r\n-ERR two  lines\r\n:-12\r\n$4\r\na\r\nb\r\n$-1\r\n*2\r\n*-1\r\n"
        );
    }

    #[test]
    fn clearing_gives_large_buffers_back() {
        let mut reply = Reply::new();
        reply.bulk(vec![b'x'; 1000]);
        reply.clear(100);
        assert!(reply.is_empty());
        assert_eq!(reply.out.capacity(), 0);
    }
}
