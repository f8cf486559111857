//! A small client of the Redis protocol, for the command line and the tests: [`Client`].

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::resp::number::push_i64;
use crate::resp::{Value, ValueError};

/// How long a connection may take to come about.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long one reply may take: longer than any operation of the engine.
pub const REPLY_TIME: Duration = Duration::from_secs(20);
/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;

/// Why a command has no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers at the address. The command was not sent.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The address.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The connection was lost. What was sent may have been executed.
    #[error("the connection was lost: {0}")]
    Lost(#[from] io::Error),
    /// The server sent what is no reply.
    #[error(transparent)]
    Malformed(#[from] ValueError),
    /// The server answered by an error.
    #[error("{}", explained(.0))]
    Reply(String),
    /// The server answered by something else than was asked for.
    #[error("unexpected reply: {0:?}")]
    Unexpected(Value),
}

impl ClientError {
    /// The first word of an error reply, else an empty text.
    pub fn code(&self) -> &str {
        match self {
            ClientError::Reply(text) => text.split(' ').next().unwrap_or_default(),
            _ => "",
        }
    }

    /// Whether the same command may succeed when it is sent again, if sending it twice does no harm.
    pub fn is_retryable(&self) -> bool {
        match self {
            ClientError::Connect { .. } | ClientError::Lost(_) => true,
            ClientError::Reply(text) => is_retryable(text),
            ClientError::Malformed(_) | ClientError::Unexpected(_) => false,
        }
    }
}

/// An error reply for people to read: where the text of Redis does not say what is wrong, we do.
pub fn explained(error: &str) -> Cow<'_, str> {
    match error {
        "ERR Protocol error: invalid bulk length" => {
            Cow::Owned(format!("the key or the value is longer than the ring allows ({error})"))
        }
        error => Cow::Borrowed(error),
    }
}

/// Whether an error reply tells of a condition that passes.
pub fn is_retryable(error: &str) -> bool {
    let code = error.split(' ').next().unwrap_or_default();
    ["TRYAGAIN", "BUSY", "CLUSTERDOWN", "LOADING", "TIMEOUT", "INDETERMINATE"].contains(&code)
}

/// A connection to a server. Commands are queued by [`Client::push`], sent by [`Client::flush`] and answered in
/// order by [`Client::receive`]; [`Client::call`] does all three for one.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    input: BytesMut,
    output: Vec<u8>,
    reply_time: Duration,
}

impl Client {
    /// Connects to `address` (HOST:PORT) and authenticates if there is a password.
    ///
    /// # Errors
    /// [`ClientError::Connect`]; with a password also what [`Client::call`] can end with.
    pub async fn connect(address: &str, password: Option<&[u8]>) -> Result<Client, ClientError> {
        let failed = |source| ClientError::Connect { address: address.to_owned(), source };
        let stream = match timeout(CONNECT_TIME, TcpStream::connect(address)).await {
            Ok(result) => result.map_err(failed)?,
            Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
        };
        stream.set_nodelay(true).map_err(failed)?;
        let mut client =
            Client { stream, input: BytesMut::new(), output: Vec::new(), reply_time: REPLY_TIME };
        if let Some(password) = password {
            client.call(&[b"AUTH", password]).await?;
        }
        Ok(client)
    }

    /// Waits at most `time` for each reply from here on.
    pub fn set_reply_time(&mut self, time: Duration) {
        self.reply_time = time;
    }

    /// Runs one command.
    ///
    /// # Errors
    /// [`ClientError::Reply`] for an error reply; the others when there was no reply.
    pub async fn call(&mut self, args: &[&[u8]]) -> Result<Value, ClientError> {
        self.push(args);
        self.flush().await?;
        match self.receive().await? {
            Value::Error(text) => Err(ClientError::Reply(text)),
            value => Ok(value),
        }
    }

    /// Runs one command that answers by a text.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Unexpected`].
    pub async fn text(&mut self, args: &[&[u8]]) -> Result<String, ClientError> {
        let value = self.call(args).await?;
        value.clone().into_text().ok_or(ClientError::Unexpected(value))
    }

    /// Queues a command.
    pub fn push(&mut self, args: &[&[u8]]) {
        encode(&mut self.output, args);
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// [`ClientError::Lost`].
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        let sent = timeout(self.reply_time, self.stream.write_all(&self.output)).await;
        self.output.clear();
        Ok(sent.map_err(|_| self.no_reply())??)
    }

    /// The next reply; an error reply is a value like others here.
    ///
    /// # Errors
    /// [`ClientError::Lost`] when the connection ended or no reply came in time, [`ClientError::Malformed`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn receive(&mut self) -> Result<Value, ClientError> {
        loop {
            if let Some(value) = Value::next(&mut self.input)? {
                return Ok(value);
            }
            self.input.reserve(READ_BYTES);
            let read = timeout(self.reply_time, self.stream.read_buf(&mut self.input)).await;
            if read.map_err(|_| self.no_reply())?? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    fn no_reply(&self) -> io::Error {
        let text = format!("no reply within {:?}; is this the client port of a node?", self.reply_time);
        io::Error::new(io::ErrorKind::TimedOut, text)
    }

    /// Takes the connection apart, for a reader and a writer that run side by side.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }
}

/// Appends a command to `out`.
pub fn encode(out: &mut Vec<u8>, args: &[&[u8]]) {
    let head = |out: &mut Vec<u8>, kind: u8, len: usize| {
        out.push(kind);
        push_i64(out, len as i64);
        out.extend_from_slice(b"\r\n");
    };
    head(out, b'*', args.len());
    for arg in args {
        head(out, b'$', arg.len());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}
