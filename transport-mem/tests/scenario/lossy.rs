//! A transport that loses clients' requests and copies on their way, and their replies, but nothing that the ring's
//! upkeep says: what is lost there would look like a death, which Zave's assumption excludes.

use std::future::pending;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chord::transport::{CallOptions, Endpoint, Frame, Incoming, Lane, Transport, TransportError};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::timeout_at;

use super::Below;

pub(crate) struct Lossy {
    below: Below,
    loss: f64,
    rng: Mutex<SmallRng>,
}

impl Lossy {
    pub(crate) fn wrap(below: Below, loss: f64, seed: u64, name: &str) -> Below {
        if loss == 0.0 {
            return below;
        }
        let mut hasher = DefaultHasher::new();
        (seed, name).hash(&mut hasher);
        Arc::new(Lossy { below, loss, rng: Mutex::new(SmallRng::seed_from_u64(hasher.finish())) })
    }

    fn loses(&self) -> bool {
        self.rng.lock().expect("nothing panics while it holds the lock").random_bool(self.loss)
    }
}

#[async_trait]
impl Transport for Lossy {
    fn endpoint(&self) -> &Endpoint {
        self.below.endpoint()
    }

    fn max_frame_bytes(&self) -> usize {
        self.below.max_frame_bytes()
    }

    async fn call(&self, to: &Endpoint, frame: Frame, options: CallOptions) -> Result<Frame, TransportError> {
        if options.lane == Lane::Control {
            return self.below.call(to, frame, options).await;
        }
        let (request, reply) = (self.loses(), self.loses());
        if !request && !reply {
            return self.below.call(to, frame, options).await;
        }
        let lost = async {
            if !request {
                // Of what was executed the caller hears nothing.
                let _ = self.below.call(to, frame, options).await;
            }
            pending::<()>().await;
        };
        let _ = timeout_at(options.deadline, lost).await;
        let reason = "it was lost".to_owned();
        Err(TransportError::Timeout { endpoint: to.clone(), reason })
    }

    async fn accept(&self) -> Option<Incoming> {
        self.below.accept().await
    }

    async fn close(&self) {
        self.below.close().await;
    }
}
