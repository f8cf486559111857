//! How frames fare from one host to another.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

/// The quality of the way from one host to another, in one direction. The default is perfect: no delay, no
/// fault.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Link {
    /// How long every frame takes at least.
    pub latency: Duration,
    /// Up to how much longer it takes, evenly distributed.
    pub jitter: Duration,
    /// The fraction of frames that are lost, 0 to 1. At 1 the link is cut in this direction.
    pub loss: f64,
    /// The fraction of requests that arrive twice, each with a delay of its own, 0 to 1.
    pub duplication: f64,
    /// The fraction of frames held back for longer, so that later ones overtake them, 0 to 1. The additional
    /// delay is evenly distributed up to latency + jitter + 10 ms.
    pub reordering: f64,
    /// How many bytes pass in a second; `None`, the default, for no bound. The frames of one lane pass one after the
    /// other, requests and replies alike; lanes do not delay each other. What was sent passes to its end, even if it
    /// is lost then, or its caller waits no longer.
    pub bytes_per_second: Option<u64>,
}

impl Link {
    /// A perfect link that takes `latency`.
    pub fn with_latency(latency: Duration) -> Link {
        Link { latency, ..Link::default() }
    }

    /// Panics unless the fractions are fractions and something passes.
    pub(crate) fn check(&self) {
        assert_ne!(self.bytes_per_second, Some(0), "a link passes at least 1 byte a second");
        for (what, fraction) in
            [("loss", self.loss), ("duplication", self.duplication), ("reordering", self.reordering)]
        {
            assert!((0.0..=1.0).contains(&fraction), "a link's {what} is from 0 to 1, not {fraction}");
        }
    }

    /// Whether the next frame is lost.
    pub(crate) fn loses(&self, rng: &mut SmallRng) -> bool {
        happens(self.loss, rng)
    }

    /// Whether the next request arrives twice.
    pub(crate) fn duplicates(&self, rng: &mut SmallRng) -> bool {
        happens(self.duplication, rng)
    }

    /// How long it takes until `bytes` have passed, if nothing else does.
    pub(crate) fn passing(&self, bytes: usize) -> Duration {
        let rate = self.bytes_per_second;
        rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(bytes as f64 / rate as f64))
    }

    /// How long the next frame takes beside that.
    pub(crate) fn delay(&self, rng: &mut SmallRng) -> Duration {
        let mut delay = self.latency + up_to(self.jitter, rng);
        if happens(self.reordering, rng) {
            delay += up_to(self.latency + self.jitter + Duration::from_millis(10), rng);
        }
        delay
    }
}

/// Draws only where there is a choice, so that a perfect link costs nothing.
fn happens(fraction: f64, rng: &mut SmallRng) -> bool {
    fraction > 0.0 && rng.random_bool(fraction)
}

fn up_to(limit: Duration, rng: &mut SmallRng) -> Duration {
    if limit.is_zero() { Duration::ZERO } else { rng.random_range(Duration::ZERO..=limit) }
}
