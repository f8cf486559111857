//! Answers other hosts: decode, one call into the protocol or the store, encode.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Duration, Instant};

use crate::node::{Metrics, Node, Phase};
use crate::protocol::group::Verdict;
use crate::protocol::id::Id;
use crate::protocol::message::{ItemReply, NotMine, Request, Response, Trail};
use crate::protocol::peer::{Host, Incarnation};
use crate::protocol::routing::{Answer, Ask};
use crate::protocol::search;
use crate::protocol::wire::{self, Header, WireError};
use crate::transport::{Frame, Incoming, Transport};

/// The longest a request is worked on, whatever deadline it claims.
const MAX_SERVING: Duration = Duration::from_secs(60);

impl<T: Transport> Node<T> {
    /// Takes frames until the transport closes. What needs no waiting is answered here and now; the rest in a task.
    pub(crate) async fn serve(self: &Arc<Self>) {
        while let Some(incoming) = self.transport.accept().await {
            let (header, request) = match wire::decode_request(&incoming.frame) {
                Ok(decoded) => decoded,
                Err(error) => {
                    Metrics::add(&self.metrics.malformed, 1);
                    let answer = match error {
                        WireError::UnsupportedVersion { .. } => wire::unsupported_version(),
                        _ => {
                            self.encode(Incarnation(0), &Response::Malformed(error.to_string()), Bytes::new())
                        }
                    };
                    incoming.reply(answer);
                    continue;
                }
            };
            if let Some(refusal) = self.refuse(&header, &request, &incoming) {
                incoming.reply(self.encode(header.from, &refusal, Bytes::new()));
                continue;
            }
            if let Some(response) = self.answer_at_once(&request) {
                incoming.reply(self.encode(header.from, &response, Bytes::new()));
                continue;
            }
            let Some(places) = self.places_for(&request, &incoming.frame) else {
                incoming.reply(self.encode(header.from, &Response::Overloaded, Bytes::new()));
                continue;
            };
            let node = self.clone();
            let mut work = Box::pin(async move {
                let _places = places;
                node.answer(header, request, incoming).await;
            });
            if futures::poll!(work.as_mut()).is_pending() {
                self.tasks.spawn(work);
            }
        }
    }

    /// A place for a request that is worked on, and room for its frame, as long as there are some. Messages of
    /// hand-offs have places of their own and need no room: whoever waits for a record does not keep it out.
    fn places_for(
        &self,
        request: &Request,
        frame: &Frame,
    ) -> Option<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>)> {
        if request.hands_off() {
            return Some((self.learning_served.clone().try_acquire_owned().ok()?, None));
        }
        let kib = u32::try_from(frame.len().div_ceil(1024)).ok()?;
        let place = self.serving.clone().try_acquire_owned().ok()?;
        Some((place, Some(self.serving_kib.clone().try_acquire_many_owned(kib).ok()?)))
    }

    /// Why a request is not even looked at. No host speaks for another one, nor for an earlier life of itself.
    fn refuse(&self, header: &Header, request: &Request, incoming: &Incoming) -> Option<Response> {
        let name = incoming.peer().map(AsRef::as_ref);
        if !request.is_from(header.from, name) {
            return Some(Response::Refused("it names another host as its sender".into()));
        }
        if matches!(request, Request::Hello { .. }) {
            return None;
        }
        if header.ring_tag != self.parameters.tag() {
            return Some(Response::Refused("another ring".into()));
        }
        if header.to != self.me.incarnation {
            return Some(Response::Replaced(self.me.clone()));
        }
        if let (Some(name), Some(transfer)) = (name, request.goes_on_with())
            && self.groups().source(transfer).is_some_and(|source| source.name.as_str() != name)
        {
            return Some(Response::Refused("another host offered this hand-off".into()));
        }
        None
    }

    /// Answers that take no waiting.
    fn answer_at_once(self: &Arc<Self>, request: &Request) -> Option<Response> {
        match request {
            Request::Hello { host } => {
                self.suspect_namesakes(host);
                Some(Response::Welcome {
                    host: self.me.clone(),
                    nodes: self.routing().rings().map(|ring| ring.me().clone()).collect(),
                    parameters: self.parameters.clone(),
                })
            }
            Request::Round { asks, .. } => Some(Response::Round(self.answer_round(asks))),
            Request::Leave { nodes } => {
                let mut routing = self.routing();
                for (peer, neighbours) in nodes {
                    routing.left(peer, neighbours);
                }
                drop(routing);
                self.ring_changed.notify_one();
                self.hand_off_due.notify_one();
                Some(Response::Done)
            }
            Request::Abort { transfer } => {
                self.change_groups(|groups| groups.abort(*transfer));
                Some(Response::Done)
            }
            _ => None,
        }
    }

    fn answer_round(&self, asks: &[Ask]) -> Vec<Answer> {
        let mut routing = self.routing();
        let before = routing.changed();
        routing.learn(asks.iter().filter_map(|ask| match ask {
            Ask::Notify { from, .. } => Some(from),
            _ => None,
        }));
        let answers = asks.iter().map(|ask| routing.answer(ask)).collect();
        let news = routing.changed() != before || routing.has_doubt();
        drop(routing);
        if news {
            self.ring_changed.notify_one();
            self.hand_off_due.notify_one();
        }
        answers
    }

    /// A host that comes under a known name as another life: whether the earlier life is over is asked at once, but of
    /// each only once at a time, however many greet.
    fn suspect_namesakes(self: &Arc<Self>, host: &Host) {
        let suspects: Vec<Arc<Host>> = self.routing().namesakes(&host.name, host.incarnation);
        for suspect in suspects.into_iter().filter(|suspect| suspect.incarnation != self.me.incarnation) {
            let Ok(permit) = self.serving.clone().try_acquire_owned() else { return };
            if !self.probe_is_due(&suspect) {
                continue;
            }
            let node = self.clone();
            self.tasks.spawn(async move {
                let _permit = permit;
                let request = Request::Round { host: node.me.clone(), asks: vec![Ask::Ping] };
                let _ = node.control(&suspect, &request).await;
            });
        }
    }

    async fn answer(self: &Arc<Self>, header: Header, request: Request, incoming: Incoming) {
        let claimed = Duration::from_millis(header.remaining_ms.into());
        let deadline = Instant::now() + claimed.min(MAX_SERVING);
        let body = incoming.frame.body.clone();
        let (response, body) = match request {
            Request::Get { trail, items } => self.answer_get(trail, &items, None, deadline).await,
            Request::GetShort { trail, items, max_value_bytes } => {
                self.answer_get(trail, &items, Some(max_value_bytes), deadline).await
            }
            Request::Update { trail, items } => {
                match self.answer_update(trail, items, &body, deadline).await {
                    Some(answer) => answer,
                    // Another copy of this request is being executed and will be answered.
                    None => return,
                }
            }
            Request::Locate { trail, id } => (self.answer_locate(trail, &id, deadline).await, Bytes::new()),
            Request::Describe => match self.describe(deadline).await {
                Ok(description) => (Response::Description(Box::new(description)), Bytes::new()),
                // Nobody waits for it any more.
                Err(_) => return,
            },
            Request::Offer { transfer, from, pieces, leaving } => {
                (self.take_offer(transfer, &from, &pieces, leaving).await, Bytes::new())
            }
            Request::Chunk { transfer, entries } => {
                (self.take_chunk(transfer, entries, &body).await, Bytes::new())
            }
            Request::Install { transfer, groups } => {
                (self.take_install(transfer, &groups).await, Bytes::new())
            }
            Request::Hello { .. } | Request::Round { .. } | Request::Leave { .. } | Request::Abort { .. } => {
                return;
            }
        };
        incoming.reply(self.encode(header.from, &response, body));
    }

    async fn answer_locate(&self, trail: Trail, id: &Id, deadline: Instant) -> Response {
        match self.verdict(id, trail, deadline).await {
            Verdict::Serve { epoch, .. } => Response::Here { epoch },
            elsewhere => Response::NotMine(self.not_mine(id, elsewhere)),
        }
    }

    pub(crate) fn not_mine(&self, id: &Id, verdict: Verdict) -> NotMine {
        Metrics::add(&self.metrics.redirected, 1);
        search::not_mine(verdict, &self.routing(), id, self.config.routing)
    }

    /// Encodes a response to `to`: a short one in its place when it does not fit.
    pub(crate) fn encode(&self, to: Incarnation, response: &Response, body: Bytes) -> Frame {
        let header =
            Header { ring_tag: self.parameters.tag(), from: self.me.incarnation, to, remaining_ms: 0 };
        wire::encode_response(header, response, body).unwrap_or_else(|error| {
            tracing::warn!(%error, "an answer does not fit: saying so instead");
            wire::encode_response(header, &instead_of(response), Bytes::new()).expect("a word an item fits")
        })
    }

    /// Whether this host is leaving the ring.
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Leaving | Phase::Parting)
    }
}

/// What is answered in place of a response that does not fit.
fn instead_of(response: &Response) -> Response {
    match response {
        // Some of them may have been executed.
        Response::Items(replies) => Response::Items(vec![ItemReply::Forgotten; replies.len()]),
        _ => Response::Overloaded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_whose_answer_does_not_fit_are_not_called_undone() {
        let replies = vec![ItemReply::Absent, ItemReply::TryAgain("x".into())];
        assert_eq!(instead_of(&Response::Items(replies)), Response::Items(vec![ItemReply::Forgotten; 2]));
        assert_eq!(instead_of(&Response::Round(Vec::new())), Response::Overloaded);
    }
}
