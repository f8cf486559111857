//! How long a host that does not take what it is offered is left alone.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::peer::Incarnation;

/// After the first hand-off to a host that was given up; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: so much later than it could be, at most, a host takes what it did not take before.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// Who has refused nothing for so long after its pause is forgotten.
const MEMORY: Duration = Duration::from_secs(30);

/// The hosts to which hand-offs were given up, since the last that was taken.
#[derive(Default)]
pub(crate) struct Backoff {
    hosts: BTreeMap<Incarnation, Refused>,
}

struct Refused {
    pause: Duration,
    until: Instant,
}

impl Backoff {
    /// Whether something may be offered to `host`.
    pub(crate) fn is_over(&self, host: Incarnation, now: Instant) -> bool {
        self.hosts.get(&host).is_none_or(|refused| refused.until <= now)
    }

    /// Notes that a hand-off to `host` was given up. Returns how long to leave it alone, to be jittered; half of that it
    /// is left alone in any case. Several that are given up meanwhile count once.
    pub(crate) fn refused(&mut self, host: Incarnation, now: Instant) -> Duration {
        self.hosts.retain(|_, refused| now < refused.until + MEMORY);
        let known = self.hosts.entry(host);
        let refused = known.or_insert(Refused { pause: FIRST_PAUSE / 2, until: now });
        if refused.until <= now {
            refused.pause = (2 * refused.pause).min(MAX_PAUSE);
            refused.until = now + refused.pause / 2;
        }
        refused.pause
    }

    /// Forgets what is noted of `host`, which took a hand-off.
    pub(crate) fn forget(&mut self, host: Incarnation) {
        self.hosts.remove(&host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Incarnation = Incarnation(1);

    #[test]
    fn a_host_that_refuses_is_asked_ever_more_seldom_until_it_takes_something() {
        let (mut backoff, mut now) = (Backoff::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert!(backoff.is_over(HOST, now));
            let pause = backoff.refused(HOST, now);
            assert!(!backoff.is_over(HOST, now + pause / 4));
            assert_eq!(backoff.refused(HOST, now + pause / 4), pause, "counted once");
            assert!(backoff.is_over(Incarnation(2), now));
            now += pause;
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
        backoff.forget(HOST);
        assert_eq!(backoff.refused(HOST, now), FIRST_PAUSE);
        backoff.refused(Incarnation(2), now + MEMORY + MAX_PAUSE);
        assert_eq!(backoff.hosts.len(), 1, "the table does not grow with those that are gone");
    }
}
