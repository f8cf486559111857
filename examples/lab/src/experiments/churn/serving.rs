//! Who serves what, as the hosts' own records say: that no two ever serve one id is checked at every change.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use chord::protocol::group::Groups;
use chord::protocol::id::{Id, Interval};

/// The intervals that are served, by their last id, and by whom.
#[derive(Debug, Default)]
pub struct Serving {
    intervals: BTreeMap<Id, (Interval, usize)>,
    by_host: BTreeMap<usize, Vec<Id>>,
}

impl Serving {
    /// Takes up what the records of `host` say now.
    ///
    /// # Errors
    /// Names an interval that another host serves too.
    pub fn update(&mut self, host: usize, groups: &Groups) -> Result<(), String> {
        for upto in self.by_host.remove(&host).unwrap_or_default() {
            self.intervals.remove(&upto);
        }
        let served: Vec<Interval> = groups.served().into_iter().map(|(interval, _)| interval).collect();
        for interval in &served {
            if let Some((other, by)) = self.overlap(interval) {
                return Err(format!("hosts {host} and {by} both serve a part of {interval} and {other}"));
            }
        }
        for interval in &served {
            self.intervals.insert(interval.upto, (*interval, host));
        }
        self.by_host.insert(host, served.into_iter().map(|interval| interval.upto).collect());
        Ok(())
    }

    /// Whether `host` serves `id`.
    pub fn serves(&self, host: usize, id: &Id) -> bool {
        let found = self.intervals.range(id..).next().or_else(|| self.intervals.iter().next());
        found.is_some_and(|(_, (interval, by))| *by == host && interval.contains(id))
    }

    /// Another's interval that has an id in common with `interval`. Those of others have none with each other, so it is
    /// one that ends in it, or the next that ends behind it.
    fn overlap(&self, interval: &Interval) -> Option<(Interval, usize)> {
        let first = self.intervals.iter().next();
        let behind = self.intervals.range((Excluded(interval.after), Unbounded)).next().or(first);
        let last = self.intervals.range(interval.upto..).next().or(first);
        let candidates = [behind, last].into_iter().flatten().map(|(_, found)| *found);
        candidates.into_iter().find(|(other, _)| !interval.intersect(other).is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chord::protocol::peer::{Host, HostName, Incarnation};

    use super::*;

    #[test]
    fn two_that_serve_one_id_are_found() {
        let host = |number: u128| {
            Arc::new(Host {
                name: HostName::new(&format!("host-{number}")).unwrap(),
                endpoint: format!("mem://host-{number}@host-{number}:1").parse().unwrap(),
                incarnation: Incarnation(number),
            })
        };
        let (a, b) = (host(1), host(2));
        let (mut at_a, mut at_b) = (Groups::genesis(a.clone()), Groups::empty(b.clone()));
        let mut serving = Serving::default();
        serving.update(0, &at_a).unwrap();
        serving.update(1, &at_b).unwrap();
        let part = Interval::new(Id::from_u128(10), Id::from_u128(20));
        let (transfer, pieces) = at_a.begin(part).unwrap();
        at_b.offer(transfer, &a, &pieces).unwrap();
        let before = at_a.clone();
        let decided = at_a.accept(transfer, &b);
        assert!(at_b.install(transfer, &decided));
        serving.update(0, &at_a).unwrap();
        serving.update(1, &at_b).unwrap();
        assert!(serving.update(0, &before).is_err(), "as if it had not been fenced");
    }

    #[test]
    fn an_interval_across_zero_is_compared_with_all_that_end_in_it() {
        let id = Id::from_u128;
        let mut serving = Serving::default();
        for (host, after, upto) in [(1, 5, 10), (2, 10, 20), (3, 30, 40)] {
            let interval = Interval::new(id(after), id(upto));
            serving.intervals.insert(interval.upto, (interval, host));
        }
        let found = |after, upto| serving.overlap(&Interval::new(id(after), id(upto))).map(|(_, host)| host);
        assert_eq!((found(40, 5), found(20, 30)), (None, None));
        assert_eq!(
            (found(40, 6), found(39, 5), found(20, 5), found(15, 16)),
            (Some(1), Some(3), Some(3), Some(2))
        );
        assert!(found(7, 7).is_some());
    }
}
