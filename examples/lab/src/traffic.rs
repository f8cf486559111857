//! What calls cost on the wire: frames as the engine encodes them.

use std::sync::Arc;

use bytes::Bytes;
use chord::protocol::message::{Request, Response};
use chord::protocol::peer::{Host, Incarnation};
use chord::protocol::simulate::Call;
use chord::protocol::wire::{self, Header};

/// Calls, and the bytes of their requests and responses. What a transport adds is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests.
    pub calls: u64,
    /// Bytes of requests and responses, heads and bodies.
    pub bytes: u64,
}

impl Traffic {
    /// Counts one call of a round of maintenance by `from`.
    pub fn round(&mut self, from: &Arc<Host>, call: &Call<'_>) {
        let request = Request::Round { host: from.clone(), asks: call.asks.to_vec() };
        let response = call.answers.ok().map(|answers| Response::Round(answers.to_vec()));
        self.call(from, call.host, &request, response.as_ref());
    }

    /// Counts one call, answered or not.
    pub fn call(&mut self, from: &Host, to: &Host, request: &Request, response: Option<&Response>) {
        let header = |from: Incarnation, to: Incarnation| Header { ring_tag: 1, from, to, remaining_ms: 500 };
        let there = header(from.incarnation, to.incarnation);
        let back = header(to.incarnation, from.incarnation);
        let request = wire::encode_request(there, request, Bytes::new());
        let response = response.map(|response| wire::encode_response(back, response, Bytes::new()));
        let frames = [Some(request), response];
        self.calls += 1;
        self.bytes += frames
            .into_iter()
            .flatten()
            .map(|frame| frame.expect("questions about the ring fit a frame").len() as u64)
            .sum::<u64>();
    }

    /// Counts what was counted elsewhere.
    pub fn add(&mut self, other: Traffic) {
        self.calls += other.calls;
        self.bytes += other.bytes;
    }
}
