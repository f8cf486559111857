//! Somebody who speaks the wire's language and is no member: sends what no engine would.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chord::protocol::message::{ActionHead, OperationId, Parameters, Request, Response, Trail, UpdateItem};
use chord::protocol::peer::{Host, HostName, Incarnation};
use chord::protocol::wire::{Header, decode_response, encode_request};
use chord::transport::{CallOptions, Endpoint, Lane, Transport, TransportError};
use chord::{Condition, Expiry};
use chord_transport_mem::{MemTransport, Network};
use tokio::time::Instant;

/// The stranger's life.
pub(crate) const ME: Incarnation = Incarnation(7);

/// A stranger who has greeted one host.
pub(crate) struct Stranger {
    transport: MemTransport,
    to: Endpoint,
    header: Header,
    pub(crate) parameters: Parameters,
}

impl Stranger {
    /// Greets the host at `to` from a place called `name`.
    pub(crate) async fn greets(network: &Network, name: &str, to: &Endpoint) -> Stranger {
        let transport = network.listen(name);
        let me = Arc::new(Host {
            name: HostName::new(name).expect("a name"),
            endpoint: transport.endpoint().clone(),
            incarnation: ME,
        });
        let header = Header { ring_tag: 0, from: ME, to: Incarnation(0), remaining_ms: 3000 };
        let hello = encode_request(header, &Request::Hello { host: me }, Bytes::new());
        let welcome = transport.call(to, hello.expect("it fits"), options()).await.expect("it is answered");
        let welcome = decode_response(&welcome).expect("a response").1;
        let Response::Welcome { host, parameters, .. } = welcome else { panic!("{welcome:?}") };
        let header = Header { ring_tag: parameters.tag(), to: host.incarnation, ..header };
        Stranger { transport, to: to.clone(), header, parameters }
    }

    /// What is answered to `request`, if anything is.
    pub(crate) async fn asks(
        &self,
        request: &Request,
        body: Bytes,
    ) -> Result<(Response, Bytes), TransportError> {
        let frame = encode_request(self.header, request, body).expect("it fits");
        let reply = self.transport.call(&self.to, frame, options()).await?;
        Ok((decode_response(&reply).expect("a response").1, reply.body))
    }

    /// The `counter`-th update of the stranger: `key` set to a value of `value_bytes`.
    pub(crate) fn set(&self, counter: u64, key: impl Into<Bytes>, value_bytes: usize) -> UpdateItem {
        let key = key.into();
        UpdateItem {
            operation: OperationId { caller: ME, counter },
            id: self.parameters.space.id_of(&key),
            key,
            action: ActionHead::Set(Expiry::Never),
            condition: Condition::Always,
            return_previous: false,
            value_bytes: value_bytes as u32,
        }
    }
}

/// Updates in one message.
pub(crate) fn updates(items: Vec<UpdateItem>) -> Request {
    Request::Update { trail: Trail::default(), items }
}

fn options() -> CallOptions {
    CallOptions { deadline: Instant::now() + Duration::from_secs(4), lane: Lane::Request }
}
