//! What an update does to an entry.

use super::*;

const NOW: u64 = 1_000;

fn entry(value: &'static str, expires_at: Option<u64>) -> Entry {
    let version = Version { epoch: 1, counter: 1 };
    Entry { version, value: Some(Bytes::from_static(value.as_bytes())), expires_at }
}

fn decide(action: Action, condition: Condition, current: Option<&Entry>) -> Decision {
    Update { action, condition, return_previous: false }.decide(current, NOW, 16)
}

fn set(value: &'static str, expiry: Expiry) -> Action {
    Action::Set { value: Bytes::from_static(value.as_bytes()), expiry }
}

fn written(decision: &Decision) -> (Option<&[u8]>, Option<u64>) {
    let (value, expires_at) = decision.write.as_ref().expect("something is written");
    (value.as_deref(), *expires_at)
}

#[test]
fn a_value_expires_at_its_millisecond_and_not_before() {
    let value = entry("v", Some(NOW));
    assert!(value.is_live(NOW - 1) && !value.has_expired(NOW - 1));
    assert!(!value.is_live(NOW) && value.has_expired(NOW));
}

#[test]
fn an_expired_value_counts_as_absent_in_every_condition() {
    let expired = entry("v", Some(NOW));
    let version = Condition::Version(expired.version);
    for condition in [Condition::Present, version] {
        let decision = decide(set("w", Expiry::Never), condition, Some(&expired));
        assert_eq!((decision.outcome, decision.write), (Outcome::NotMet, Some((None, None))));
    }
    let decision = decide(set("w", Expiry::Keep), Condition::Absent, Some(&expired));
    assert_eq!(written(&decision), (Some(&b"w"[..]), None), "and its expiry is not kept");
}

#[test]
fn a_condition_on_the_version_is_met_by_this_very_version() {
    let current = entry("v", None);
    let other = Condition::Version(Version { epoch: 2, counter: 1 });
    assert_eq!(decide(Action::Remove, other, Some(&current)).outcome, Outcome::NotMet);
    let same = Condition::Version(current.version);
    assert_eq!(written(&decide(Action::Remove, same, Some(&current))), (None, None));
}

#[test]
fn expiries_are_stamped_by_the_owners_clock() {
    let current = entry("v", Some(5_000));
    let after = |expiry| written(&decide(set("w", expiry), Condition::Always, Some(&current))).1;
    assert_eq!(after(Expiry::Never), None);
    assert_eq!(after(Expiry::Keep), Some(5_000));
    assert_eq!(after(Expiry::InMillis(50)), Some(NOW + 50));
    assert_eq!(after(Expiry::InMillis(u64::MAX)), Some(u64::MAX));
    assert_eq!(after(Expiry::At(7)), Some(7));
}

#[test]
fn sums_start_at_zero_keep_the_expiry_and_refuse_what_is_no_integer() {
    let absent = decide(Action::Add(-3), Condition::Always, None);
    assert_eq!((absent.number, written(&absent).0), (Some(-3), Some(&b"-3"[..])));
    let kept = entry("41", Some(5_000));
    assert_eq!(
        written(&decide(Action::Add(1), Condition::Always, Some(&kept))),
        (Some(&b"42"[..]), Some(5_000))
    );
    for text in ["", " 1", "1 ", "+1", "01", "-0", "1.0", "x", "9223372036854775808"] {
        let decision = decide(Action::Add(1), Condition::Always, Some(&entry(text, None)));
        assert_eq!((decision.outcome, decision.write), (Outcome::NotAnInteger, None), "{text:?}");
    }
    let largest = entry("9223372036854775807", None);
    assert_eq!(decide(Action::Add(1), Condition::Always, Some(&largest)).outcome, Outcome::Overflow);
}

#[test]
fn a_value_beyond_the_limit_is_not_stored() {
    let full = entry("sixteen bytes ..", None);
    let tail = Action::Append(Bytes::from_static(b"!"));
    let decision = decide(tail, Condition::Always, Some(&full));
    assert_eq!((decision.outcome, decision.write), (Outcome::TooLarge(16), None));
    let appended =
        decide(Action::Append(Bytes::from_static(b"ab")), Condition::Always, Some(&entry("v", None)));
    assert_eq!((appended.number, written(&appended).0), (Some(3), Some(&b"vab"[..])));
}

#[test]
fn what_finds_nothing_to_change_changes_nothing() {
    for action in [Action::Remove, Action::Expire(Expiry::InMillis(1))] {
        let tombstone = Entry { value: None, ..entry("", None) };
        for current in [None, Some(&tombstone)] {
            let decision = decide(action.clone(), Condition::Always, current);
            assert_eq!((decision.outcome, decision.write), (Outcome::NotMet, None));
        }
    }
}

#[test]
fn an_expired_value_gets_a_tombstone_from_whatever_writes_nothing_else() {
    let expired = entry("v", Some(NOW));
    let version = Condition::Version(expired.version);
    let refused = [
        (Action::Remove, Condition::Always, Outcome::NotMet),
        (Action::Remove, Condition::Absent, Outcome::NotMet),
        (Action::Expire(Expiry::InMillis(1)), Condition::Always, Outcome::NotMet),
        (Action::Expire(Expiry::Never), Condition::Present, Outcome::NotMet),
        (Action::Add(1), Condition::Present, Outcome::NotMet),
        (Action::Append(Bytes::from_static(b"w")), version, Outcome::NotMet),
        (set("seventeen bytes !", Expiry::Never), Condition::Absent, Outcome::TooLarge(16)),
    ];
    for (action, condition, outcome) in refused {
        let name = format!("{action:?} {condition:?}");
        let decision = decide(action, condition, Some(&expired));
        assert_eq!((decision.outcome, written(&decision)), (outcome, (None, None)), "{name}");
    }
}
