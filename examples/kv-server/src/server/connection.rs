//! One client's connection: [`Connection`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::commands::{Failure, waves};
use crate::resp::{Limits, Parser, ProtocolError, Reply, Request};
use crate::server::{Charge, Client, Replies, Service, Session, Stopping};

/// Buffer that a connection has for requests, and again for replies, before it is charged to the budget.
const FREE_BYTES: usize = 16 << 10;
/// The first and smallest piece read at once.
const MIN_READ: usize = 4 << 10;
/// The largest piece read at once.
const MAX_READ: usize = 256 << 10;
/// The largest piece read at once, as long as no larger argument is announced.
const MAX_USUAL_READ: usize = 64 << 10;
/// Replies are written when they exceed this, before the next commands run.
const FLUSH_BYTES: usize = 64 << 10;
/// Requests parsed before they are run.
const MAX_BATCH: usize = 256;
/// Commands of a connection's first wave; later ones grow and shrink so that their replies have about
/// [`WAVE_BYTES`] together.
const FIRST_WAVE: usize = 16;
const WAVE_BYTES: usize = 1 << 20;
/// How long a request may take from its first byte to its last.
const REQUEST_TIME: Duration = Duration::from_secs(60);
/// How long a client may take to read its replies, beside the time that `MIN_RATE` takes.
const REPLY_TIME: Duration = Duration::from_secs(30);
/// The slowest reading that is waited for, in bytes a second.
const MIN_RATE: usize = 64 << 10;
/// How long the rest of a refused client's input is thrown away, so that it reads why it was refused.
const LINGER: Duration = Duration::from_millis(500);
/// A request on the wire is at least this long before it is refused as a whole.
const MIN_REQUEST_LIMIT: usize = 64 << 20;

/// What [`Connection::parse`] has taken.
enum Parsed {
    /// Every request that has arrived in full.
    All,
    /// As many as are run at once; there may be more.
    Batch,
}

/// A connection: reads what has come, runs it, answers in one write, and only then reads on. So a client that
/// does not read its replies is not read from, and is dropped in the end.
pub(super) struct Connection<'a> {
    service: &'a Service,
    stream: TcpStream,
    session: Session,
    stopping: Stopping,
    parser: Parser,
    input: BytesMut,
    input_charge: Charge,
    /// When the request that has begun must be complete.
    request_deadline: Option<Instant>,
    read_size: usize,
    requests: Vec<Request>,
    /// Most commands of the next wave.
    wave: usize,
    reply: Reply,
    reply_charge: Charge,
}

impl<'a> Connection<'a> {
    pub(super) fn new(service: &'a Service, stream: TcpStream, client: Arc<Client>) -> Connection<'a> {
        Connection {
            session: Session {
                client,
                authenticated: !service.needs_password(),
                replies: Replies::On,
                closing: false,
            },
            stream,
            stopping: service.stopping(),
            parser: Parser::default(),
            input: BytesMut::new(),
            input_charge: Charge::new(service.budget().clone(), FREE_BYTES),
            request_deadline: None,
            read_size: MIN_READ,
            requests: Vec::new(),
            wave: FIRST_WAVE,
            reply: Reply::new(service.settings().max_reply_bytes),
            reply_charge: Charge::new(service.budget().clone(), FREE_BYTES),
            service,
        }
    }

    /// Serves the client until it leaves, breaks the protocol, is too slow, or the service stops.
    pub(super) async fn run(mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        loop {
            let parsed = self.parse();
            if !self.requests.is_empty() {
                self.request_deadline = None;
            }
            self.run_requests().await?;
            if self.session.closing {
                return self.flush().await;
            }
            match parsed {
                Ok(Parsed::Batch) => {}
                Ok(Parsed::All) => {
                    if !self.read().await? {
                        return Ok(());
                    }
                }
                Err(error) => {
                    self.reply.error([b"ERR Protocol error: ", error.text()].concat());
                    return self.refuse().await;
                }
            }
        }
    }

    /// Parses what has been read, up to a batch. Before the client has authenticated requests are taken one by
    /// one, since the limits for the next depend on the outcome.
    fn parse(&mut self) -> Result<Parsed, ProtocolError> {
        let most = if self.session.authenticated { MAX_BATCH } else { 1 };
        let max_bulk_bytes = self.service.max_bulk_bytes();
        let limits = Limits {
            max_bulk_bytes,
            max_request_bytes: MIN_REQUEST_LIMIT.max(2 * max_bulk_bytes),
            authenticated: self.session.authenticated,
        };
        while self.requests.len() < most {
            match self.parser.next(&mut self.input, &limits)? {
                Some(request) => self.requests.push(request),
                None => return Ok(Parsed::All),
            }
        }
        Ok(Parsed::Batch)
    }

    async fn run_requests(&mut self) -> io::Result<()> {
        let mut done = 0;
        while done < self.requests.len() && !self.session.closing {
            if is_http(&self.requests[done]) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a web browser's request"));
            }
            let before = self.reply.len();
            let next = self.requests.len().min(done + self.wave);
            let requests = &self.requests[done..next];
            let most_values = self.service.most_values();
            let ran = waves::run(
                self.service,
                &mut self.session,
                requests,
                most_values,
                &mut self.reply_charge,
                &mut self.reply,
            )
            .await;
            self.wave = next_wave(self.wave, ran, self.reply.len() - before);
            done += ran;
            let charged = self.reply_charge.grow(self.reply.len());
            // What is read is charged before; it may be a value that a write found, and its loss must be noticed.
            if !charged && self.reply.len() - self.reply_charge.bytes() > FREE_BYTES {
                return Err(io::Error::new(
                    io::ErrorKind::OutOfMemory,
                    "replies exceed the memory for clients",
                ));
            }
            if !charged || self.reply.len() > FLUSH_BYTES {
                self.flush().await?;
            }
        }
        self.requests.clear();
        Ok(())
    }

    /// Writes the replies, then waits for more input. False when the connection is over.
    async fn read(&mut self) -> io::Result<bool> {
        self.flush().await?;
        if self.input.is_empty() {
            self.request_deadline = None;
            if self.input.capacity() > FREE_BYTES {
                self.input = BytesMut::new();
            }
        } else if self.request_deadline.is_none() {
            self.request_deadline = Some(Instant::now() + REQUEST_TIME);
        }
        if !self.charge_input().await? {
            return Ok(false);
        }
        let missing = self.parser.missing_bytes(self.input.len());
        self.input.reserve(missing.clamp(self.read_size, MAX_READ));
        let room = self.input.capacity() - self.input.len();
        let read = match self.request_deadline {
            None => tokio::select! {
                biased;
                read = self.stream.read_buf(&mut self.input) => read?,
                () = self.stopping.wait() => return Ok(false),
            },
            Some(deadline) => tokio::select! {
                biased;
                read = timeout_at(deadline, self.stream.read_buf(&mut self.input)) => read??,
                () = self.stopping.wait() => return Ok(false),
            },
        };
        if read == room {
            self.read_size = (2 * self.read_size).min(MAX_USUAL_READ);
        } else if read < self.read_size / 4 {
            self.read_size = (self.read_size / 2).max(MIN_READ);
        }
        Ok(read > 0 && self.charge_input().await?)
    }

    /// Charges for the requests that have come. False when there is no memory for them: the connection is over.
    async fn charge_input(&mut self) -> io::Result<bool> {
        let charged = self.input_charge.set(self.input.len() + self.parser.held_bytes());
        if !charged {
            Failure::OUT_OF_BUFFERS.write(&mut self.reply);
            self.refuse().await?;
        }
        Ok(charged)
    }

    /// Writes all replies, or gives the client up when it reads too slowly.
    async fn flush(&mut self) -> io::Result<()> {
        if self.reply.is_empty() {
            self.release_replies();
            return Ok(());
        }
        let mut deadline = None;
        for piece in self.reply.pieces() {
            let written = match self.stream.try_write(piece) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            if written < piece.len() {
                let patience = REPLY_TIME + Duration::from_secs((self.reply.len() / MIN_RATE) as u64);
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + patience);
                timeout_at(deadline, self.stream.write_all(&piece[written..])).await??;
            }
        }
        self.reply.clear(FREE_BYTES);
        self.release_replies();
        Ok(())
    }

    fn release_replies(&mut self) {
        let released = self.reply_charge.set(0);
        debug_assert!(released, "releasing always succeeds");
    }

    /// Writes the last replies and closes so that the client can read them: a socket closed on unread input would
    /// throw them away.
    async fn refuse(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.stream.shutdown().await?;
        self.input = BytesMut::new();
        let mut scrap = vec![0; MIN_READ];
        let drained = async { while self.stream.read(&mut scrap).await.is_ok_and(|read| read > 0) {} };
        let _ = timeout(LINGER, drained).await;
        Ok(())
    }
}

/// How many commands the next wave may have, after one of `ran` commands with `bytes` of replies.
fn next_wave(wave: usize, ran: usize, bytes: usize) -> usize {
    if bytes > WAVE_BYTES { (ran * WAVE_BYTES / bytes).max(1) } else { (2 * wave).min(waves::MAX_WAVE) }
}

/// Whether a browser was led to this port: Redis closes such a connection too, without a word.
fn is_http(request: &Request) -> bool {
    request[0].eq_ignore_ascii_case(b"post") || request[0].eq_ignore_ascii_case(b"host:")
}
