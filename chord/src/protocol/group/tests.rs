//! Traces that the exploration found (tests/explore_groups.rs), each as short as it can be told.

use super::*;

struct Two {
    a: Groups,
    b: Groups,
    at_a: Arc<Host>,
    at_b: Arc<Host>,
}

/// A serves everything.
fn two() -> Two {
    let (at_a, at_b) = (Host::named("a", 1), Host::named("b", 2));
    Two { a: Groups::genesis(at_a.clone()), b: Groups::empty(at_b.clone()), at_a, at_b }
}

fn begin(groups: &mut Groups) -> (TransferId, Vec<(Interval, u64)>) {
    groups.begin(Interval::whole()).expect("it serves something")
}

/// B forgets what A copies, and would begin anew with a late repetition of the offer; A would go on behind the chunks
/// that B confirmed before, and install a record without their entries.
#[test]
fn a_forgotten_offer_is_not_taken_again_but_a_renewed_one_is() {
    let Two { mut a, mut b, at_a, .. } = two();
    let (transfer, pieces) = begin(&mut a);
    assert_eq!(b.offer(transfer, &at_a, &pieces), Ok(vec![Interval::whole()]));
    b.source_failed(at_a.incarnation);
    assert_eq!(b.offer(transfer, &at_a, &pieces), Err(Declined::Stale));
    let (renewed, pieces) = a.renew(transfer).expect("the hand-off goes on");
    assert_eq!(b.offer(renewed, &at_a, &pieces), Ok(vec![Interval::whole()]));
    b.abort(renewed);
    assert_eq!(b.offer(renewed, &at_a, &pieces), Err(Declined::Stale));
}

#[test]
fn what_was_forgotten_does_not_keep_a_later_owner_out() {
    let Two { mut a, mut b, at_a, at_b } = two();
    let (transfer, pieces) = begin(&mut a);
    let at_c = Host::named("c", 3);
    let mut c = Groups::empty(at_c);
    assert!(c.offer(transfer, &at_a, &pieces).is_ok());
    c.source_failed(at_a.incarnation);
    a.release(transfer);
    let (transfer, pieces) = begin(&mut a);
    assert!(b.offer(transfer, &at_a, &pieces).is_ok());
    assert!(b.install(transfer, &a.accept(transfer, &at_b)));
    let (transfer, pieces) = begin(&mut b);
    assert!(c.offer(transfer, &at_b, &pieces).is_ok());
}

/// A would ask for ever whether its record is installed, and stay fenced, if the hand-off that B learns meanwhile does
/// not come to its end.
#[test]
fn what_was_installed_counts_as_installed_while_it_is_learnt_anew() {
    let Two { mut a, mut b, at_a, at_b } = two();
    let at_c = Host::named("c", 3);
    let mut c = Groups::empty(at_c.clone());
    let (to_b, pieces) = begin(&mut a);
    assert!(b.offer(to_b, &at_a, &pieces).is_ok());
    let first = a.accept(to_b, &at_b);
    assert!(b.install(to_b, &first));
    let (to_c, pieces) = begin(&mut b);
    assert!(c.offer(to_c, &at_b, &pieces).is_ok());
    assert!(c.install(to_c, &b.accept(to_c, &at_c)));
    let (back, pieces) = begin(&mut c);
    assert!(b.offer(back, &at_c, &pieces).is_ok());
    assert!(b.install(to_b, &first));
    assert_eq!(b.verdict(&Id::ZERO), Verdict::Learning(at_c));
    assert!(b.install(back, &c.accept(back, &at_b)));
}

/// Else they would wait until everything is copied once more.
#[test]
fn writes_go_on_when_a_hand_off_begins_anew() {
    let Two { mut a, .. } = two();
    let (transfer, _) = begin(&mut a);
    a.hold(transfer);
    assert!(matches!(a.verdict(&Id::ZERO), Verdict::Serve { held: true, .. }));
    let (renewed, _) = a.renew(transfer).expect("the hand-off goes on");
    assert_eq!(a.verdict(&Id::ZERO), Verdict::Serve { epoch: 1, copying: Some(renewed), held: false });
}

/// Many records of different epochs are handed over by several hand-offs, none of more pieces than a message may name.
#[test]
fn a_hand_off_of_many_pieces_is_several_and_comes_to_its_end() {
    let Two { at_a, at_b, .. } = two();
    let (mut a, mut b) = (Groups::empty(at_a.clone()), Groups::empty(at_b.clone()));
    let pieces = 3 * MAX_BEGUN as u128 - 1;
    for i in 0..pieces {
        let (piece, epoch) = (Interval::new(Id::from_u128(i), Id::from_u128(i + 1)), 1 + i as u64);
        let transfer = TransferId { source: Incarnation(9), number: epoch };
        a.offer(transfer, &at_b, &[(piece, epoch)]).expect("nothing newer is known");
        assert!(a.install(transfer, &[(piece, Group::of_one(epoch + 1, at_a.clone()))]));
    }
    let mut hand_offs = 0;
    while let Some((transfer, pieces)) = a.begin(Interval::whole()) {
        assert!(pieces.len() <= MAX_BEGUN);
        assert!(b.offer(transfer, &at_a, &pieces).is_ok());
        assert!(b.install(transfer, &a.accept(transfer, &at_b)));
        a.in_force(transfer);
        hand_offs += 1;
    }
    assert_eq!(hand_offs, 3);
    assert!(a.held().is_empty() && b.served().len() == pieces as usize);
}
