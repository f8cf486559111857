//! Whether one key behaved like one register.

use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;

use crate::testkit::history::{Operation, Outcome};

/// A key that did not behave like a register.
#[derive(Clone, Debug)]
pub struct Anomaly {
    /// The key.
    pub key: Bytes,
    /// What is wrong.
    pub what: String,
    /// What was done to the key, in the order of its beginnings.
    pub operations: Vec<Operation>,
}

impl std::error::Error for Anomaly {}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "key {:?}: {}", self.key, self.what)?;
        for operation in &self.operations {
            let Operation { written, invoked, ended, .. } = operation;
            let what = match written {
                None => "get".to_owned(),
                Some(None) => "delete".to_owned(),
                Some(Some(value)) => format!("put {value:?}"),
            };
            match ended {
                None => writeln!(f, "  {invoked:>6} ..        {what}: never ended")?,
                Some((at, outcome)) => writeln!(f, "  {invoked:>6} .. {at:>6} {what}: {outcome:?}")?,
            }
        }
        Ok(())
    }
}

/// Checks the operations of one key.
pub(super) fn check(key: Bytes, operations: Vec<Operation>) -> Result<(), Anomaly> {
    let steps = steps(&operations);
    let what = match lost_write(&steps) {
        Some(what) => what,
        None if is_linearizable(&steps) => return Ok(()),
        None => "no order of its operations explains what they returned".to_owned(),
    };
    Err(Anomaly { key, what, operations })
}

/// An operation that matters: a read that ended, or a write that took effect or may have.
struct Step<'a> {
    value: Option<&'a Bytes>,
    is_write: bool,
    invoked: u64,
    /// `u64::MAX` for a write of unknown outcome.
    returned: u64,
}

/// The steps in the order of their beginnings. A write of unknown outcome that nobody read explains nothing.
fn steps(operations: &[Operation]) -> Vec<Step<'_>> {
    let was_read = |value: &Option<Bytes>| {
        operations
            .iter()
            .any(|operation| matches!(&operation.ended, Some((_, Outcome::Read(read))) if read == value))
    };
    let step = |operation: &'_ Operation| -> Option<(bool, u64)> {
        match (&operation.written, &operation.ended) {
            (None, Some((at, Outcome::Read(_)))) => Some((false, *at)),
            (None, _) | (Some(_), Some((_, Outcome::NotExecuted(_)))) => None,
            (Some(_), Some((at, Outcome::Written))) => Some((true, *at)),
            (Some(value), _) => was_read(value).then_some((true, u64::MAX)),
        }
    };
    let mut steps: Vec<Step<'_>> = operations
        .iter()
        .filter_map(|operation| {
            let (is_write, returned) = step(operation)?;
            let value = match (&operation.written, &operation.ended) {
                (Some(value), _) | (None, Some((_, Outcome::Read(value)))) => value.as_ref(),
                _ => None,
            };
            Some(Step { value, is_write, invoked: operation.invoked, returned })
        })
        .collect();
    steps.sort_by_key(|step| step.invoked);
    steps
}

/// An acknowledged write that a later read did not see, nor anything that could have come after it.
fn lost_write(steps: &[Step<'_>]) -> Option<String> {
    for read in steps.iter().filter(|step| !step.is_write) {
        let acknowledged = steps.iter().filter(|step| step.is_write && step.returned < read.invoked);
        for write in acknowledged {
            let explained = steps.iter().any(|other| {
                other.is_write
                    && other.value == read.value
                    && other.returned >= write.invoked
                    && other.invoked < read.returned
            });
            if !explained {
                return Some(format!(
                    "the write of {:?} was acknowledged at {} and lost: the read of {} .. {} found {:?}",
                    write.value, write.returned, read.invoked, read.returned, read.value
                ));
            }
        }
    }
    None
}

/// Searches for an order, depth first; of states that were seen before none is looked at again.
fn is_linearizable(steps: &[Step<'_>]) -> bool {
    let nothing_done = vec![0u64; steps.len().div_ceil(64)];
    let is_done = |done: &[u64], i: usize| done[i / 64] >> (i % 64) & 1 == 1;
    let mut seen: HashSet<(Vec<u64>, Option<&Bytes>)> = HashSet::new();
    let mut open = vec![(nothing_done, None)];
    while let Some((done, value)) = open.pop() {
        let left = || (0..steps.len()).filter(|i| !is_done(&done, *i));
        let Some(first_end) = left().map(|i| steps[i].returned).filter(|end| *end != u64::MAX).min() else {
            return true;
        };
        for i in left().take_while(|i| steps[*i].invoked < first_end) {
            if !steps[i].is_write && steps[i].value != value {
                continue;
            }
            let mut next = done.clone();
            next[i / 64] |= 1 << (i % 64);
            let state = (next, steps[i].value);
            if seen.insert(state.clone()) {
                open.push(state);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::History;

    /// Each line is `begin end what`: `w1` writes 1, `w-` deletes, `r1` and `r-` read, `w1?` has no known outcome,
    /// `w1!` was not executed. Times order beginnings and ends.
    fn history(lines: &[(u64, u64, &str)]) -> Result<(), Anomaly> {
        let operations = lines.iter().map(|(invoked, end, what)| {
            let value = what.trim_start_matches(['w', 'r']).trim_end_matches(['?', '!']);
            let value = (value != "-").then(|| Bytes::copy_from_slice(value.as_bytes()));
            let outcome = match (what.as_bytes()[0], what.as_bytes()[what.len() - 1]) {
                (b'r', _) => Outcome::Read(value.clone()),
                (_, b'?') => Outcome::Unknown,
                (_, b'!') => Outcome::NotExecuted("refused".to_owned()),
                _ => Outcome::Written,
            };
            Operation {
                key: Bytes::from_static(b"k"),
                written: what.starts_with('w').then_some(value),
                invoked: *invoked,
                ended: Some((*end, outcome)),
            }
        });
        check(Bytes::from_static(b"k"), operations.collect())
    }

    #[test]
    fn operations_one_after_the_other_are_read_back() {
        history(&[(1, 2, "r-"), (3, 4, "w1"), (5, 6, "r1"), (7, 8, "w-"), (9, 10, "r-")]).unwrap();
        history(&[]).unwrap();
    }

    #[test]
    fn concurrent_writes_may_take_effect_in_either_order() {
        history(&[(1, 10, "w1"), (2, 9, "w2"), (11, 12, "r1"), (13, 14, "r1")]).unwrap();
        history(&[(1, 10, "w1"), (2, 9, "w2"), (11, 12, "r2"), (13, 14, "r2")]).unwrap();
        history(&[(1, 10, "w1"), (2, 3, "r-"), (4, 5, "r1"), (6, 7, "r1")]).unwrap();
    }

    #[test]
    fn a_lost_acknowledged_write_is_found_and_named() {
        let lost = history(&[(1, 2, "w1"), (3, 4, "w2"), (5, 6, "r1")]).unwrap_err();
        assert!(lost.what.contains("lost"), "{lost}");
        let lost = history(&[(1, 2, "w1"), (5, 6, "r-")]).unwrap_err();
        assert!(lost.to_string().contains("acknowledged at 2 and lost"), "{lost}");
    }

    #[test]
    fn a_value_that_comes_and_goes_is_found() {
        let broken =
            history(&[(1, 20, "w1"), (2, 21, "w2"), (3, 4, "r1"), (5, 6, "r2"), (7, 8, "r1")]).unwrap_err();
        assert!(broken.what.contains("no order"), "{broken}");
    }

    #[test]
    fn a_read_that_goes_back_to_nothing_is_found() {
        history(&[(1, 20, "w1"), (3, 4, "r1"), (5, 6, "r-")]).unwrap_err();
    }

    #[test]
    fn a_write_of_unknown_outcome_may_take_effect_late_once_or_never() {
        history(&[(1, 2, "w1?"), (3, 4, "r-"), (5, 6, "r1"), (7, 8, "r1")]).unwrap();
        history(&[(1, 2, "w1?"), (3, 4, "r-")]).unwrap();
        history(&[(1, 2, "w1?"), (3, 4, "w2"), (5, 6, "r1"), (7, 8, "r2")]).unwrap_err();
    }

    #[test]
    fn what_was_not_executed_must_not_be_seen() {
        history(&[(1, 2, "w1!"), (3, 4, "r-")]).unwrap();
        history(&[(1, 2, "w1!"), (3, 4, "r1")]).unwrap_err();
    }

    #[test]
    fn a_value_from_the_future_is_found() {
        history(&[(1, 2, "r1"), (3, 4, "w1")]).unwrap_err();
    }

    #[test]
    fn a_long_history_of_many_clients_is_checked_quickly() {
        let mut lines = Vec::new();
        let names: Vec<(String, String)> = (0..500).map(|i| (format!("w{i}"), format!("r{i}"))).collect();
        for (i, (write, read)) in names.iter().enumerate() {
            let at = 10 * i as u64;
            lines.push((at + 1, at + 14, write.as_str()));
            lines.push((at + 15, at + 19, read.as_str()));
        }
        let overlapping = history(&lines);
        assert!(overlapping.is_ok(), "{:?}", overlapping.map_err(|anomaly| anomaly.what));
    }

    #[test]
    fn keys_are_judged_one_by_one_and_an_unended_write_is_unknown() {
        let history = History::new();
        let _dropped = history.begin_write("a", Some("1".into()));
        let read = history.begin_read("a");
        history.end(read, Outcome::Read(Some("1".into())));
        let read = history.begin_read("b");
        history.end(read, Outcome::Read(None));
        history.check().unwrap();
        let read = history.begin_read("b");
        history.end(read, Outcome::Read(Some("1".into())));
        assert_eq!(history.check().unwrap_err().key, "b");
    }
}
