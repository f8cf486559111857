use proptest::prelude::*;

use super::*;

fn id(value: u128) -> Id {
    Id::from_u128(value)
}

fn space(bits: u16) -> IdSpace {
    IdSpace::new(bits, HashKind::Sha1).unwrap()
}

/// The ids of (after, upto] on a circle of `size` ids, found by walking it.
fn walk(after: u128, upto: u128, size: u128) -> Vec<u128> {
    let mut ids = Vec::new();
    let mut at = after;
    loop {
        at = (at + 1) % size;
        ids.push(at);
        if at == upto {
            return ids;
        }
    }
}

#[test]
fn membership_in_every_interval_of_a_five_bit_circle_is_what_walking_it_gives() {
    for after in 0..32 {
        for upto in 0..32 {
            let members = walk(after, upto, 32);
            for x in 0..32 {
                let inside = members.contains(&x);
                assert_eq!(Interval::new(id(after), id(upto)).contains(&id(x)), inside);
                assert_eq!(id(x).in_half_open(&id(after), &id(upto)), inside);
                assert_eq!(id(x).in_open(&id(after), &id(upto)), inside && x != upto);
            }
        }
    }
}

#[test]
fn an_interval_from_a_to_a_is_the_whole_circle_and_the_open_one_all_but_a() {
    for a in [0, 1, 15] {
        assert!(Interval::new(id(a), id(a)).is_whole());
        assert!(id(a).in_half_open(&id(a), &id(a)));
        assert!(!id(a).in_open(&id(a), &id(a)));
        assert!(id((a + 1) % 16).in_open(&id(a), &id(a)));
    }
}

#[test]
fn intersection_and_cover_of_all_intervals_of_a_four_bit_circle_agree_with_sets_of_ids() {
    let all: Vec<(u128, u128)> = (0..16).flat_map(|a| (0..16).map(move |b| (a, b))).collect();
    for &(a, a_upto) in &all {
        let (one, ones) = (Interval::new(id(a), id(a_upto)), walk(a, a_upto, 16));
        for &(b, b_upto) in &all {
            let (other, others) = (Interval::new(id(b), id(b_upto)), walk(b, b_upto, 16));
            let parts = one.intersect(&other);
            assert!(parts.len() <= 2, "{one} and {other}");
            for x in 0..16 {
                let both = ones.contains(&x) && others.contains(&x);
                let hits = parts.iter().filter(|part| part.contains(&id(x))).count();
                assert_eq!(hits, usize::from(both), "{x} in {one} and {other}: {parts:?}");
            }
            let covered = others.iter().all(|x| ones.contains(x));
            assert_eq!(one.covers(&other), covered, "{one} covers {other}");
        }
    }
}

#[test]
fn sums_and_distances_wrap_on_every_pair_of_a_six_bit_circle() {
    let space = space(6);
    for a in 0..64 {
        for b in 0..64 {
            assert_eq!(space.add(&id(a), &id(b)), id((a + b) % 64));
            assert_eq!(space.distance(&id(a), &id(b)), id((64 + b - a) % 64));
        }
        for power in 0..6 {
            assert_eq!(space.add_power(&id(a), power), id((a + (1 << power)) % 64));
        }
    }
}

#[test]
fn carries_and_borrows_cross_the_128th_bit() {
    let space = space(160);
    let low = id(u128::MAX);
    let next = space.add(&low, &id(1));
    assert_eq!(next, space.add_power(&Id::ZERO, 128));
    assert_eq!(space.distance(&low, &next), id(1));
    assert_eq!(space.distance(&next, &low), space.max_id());
    assert_eq!(space.add(&space.max_id(), &id(1)), Id::ZERO);
    assert!(low < next && next < space.max_id() && low.to_u128().is_some() && next.to_u128().is_none());
    assert_eq!((low.bit_length(), next.bit_length(), Id::ZERO.bit_length()), (128, 129, 0));
    assert_eq!(space.max_id().bit_length(), 160);
}

#[test]
fn ids_of_a_narrow_space_are_the_top_bits_of_the_digest() {
    for hash in HashKind::ALL {
        let wide = IdSpace::new(hash.bits(), hash).unwrap().id_of(b"top bits");
        let digits: String = wide.as_bytes().iter().map(|byte| format!("{byte:08b}")).collect();
        let digits = &digits[160 - usize::from(hash.bits())..];
        for bits in 1..=hash.bits() {
            let narrow = IdSpace::new(bits, hash).unwrap();
            let made = narrow.id_of(b"top bits");
            let shown: String = made.as_bytes().iter().map(|byte| format!("{byte:08b}")).collect();
            assert_eq!(
                &shown[160 - usize::from(bits)..],
                &digits[..usize::from(bits)],
                "{hash}, {bits} bits"
            );
            assert!(narrow.contains(&made));
        }
    }
}

#[test]
fn the_coursework_ring_has_its_published_ids() {
    let space = IdSpace::new(8, HashKind::Md5).unwrap();
    let expected = [
        ("node_3", 24),
        ("node_2", 32),
        ("node_6", 46),
        ("node_4", 109),
        ("node_8", 145),
        ("node_7", 150),
        ("node_0", 160),
        ("node_1", 163),
        ("node_9", 241),
        ("node_5", 244),
        ("node_added_0", 218),
    ];
    for (name, value) in expected {
        assert_eq!(space.id_of(name.as_bytes()), id(value), "{name}");
        assert_eq!(space.virtual_node_id(name, 0), id(value), "{name}");
        assert_eq!(space.show(&id(value)), value.to_string());
    }
}

/// Published digests of `abc` (FIPS 180, RFC 1321, the BLAKE3 test vectors' method) and of the empty input.
#[test]
fn all_four_hashes_give_their_known_digests() {
    let expected = [
        (HashKind::Sha1, "abc", "0xa9993e364706816aba3e25717850c26c9cd0d89d"),
        (HashKind::Md5, "abc", "0x900150983cd24fb0d6963f7d28e17f72"),
        (HashKind::Blake3, "", "0xaf1349b9f5f9a1a6a0404dea36dcc9499bcb25c9"),
        (HashKind::Xxh3, "", "0x99aa06d3014798d86001c324468d497f"),
    ];
    for (hash, text, digest) in expected {
        let space = IdSpace::new(hash.bits(), hash).unwrap();
        assert_eq!(space.show(&space.id_of(text.as_bytes())), digest, "{hash} of {text:?}");
    }
}

/// Ids are part of the data on disk and on the wire: they must never change. (Made with another SHA-1.)
#[test]
fn virtual_node_ids_are_frozen() {
    let space = IdSpace::default();
    let expected = [
        (0, "0xbe76331b95dfc399cd776d2fc68021e0db03cc4f"),
        (1, "0x75d1ce2ad675bef35ad87aef29657a1014f3de16"),
        (11, "0x24a1ffc4c58bdb25662d86db30ceeb01a9f12c5a"),
    ];
    for (index, id) in expected {
        assert_eq!(space.show(&space.virtual_node_id("alpha", index)), id);
    }
}

#[test]
fn ids_are_shown_in_decimal_up_to_64_bits_and_in_full_hex_beyond() {
    assert_eq!(space(64).show(&id(u128::from(u64::MAX))), "18446744073709551615");
    assert_eq!(space(65).show(&id(1)), "0x00000000000000001");
    assert_eq!(space(160).show(&id(255)), format!("0x{:040x}", 255));
    for bits in [1, 8, 64, 65, 128, 129, 160] {
        let space = space(bits);
        for id in [Id::ZERO, space.max_id(), space.id_of(b"some key")] {
            assert_eq!(space.parse(&space.show(&id)), Ok(id));
        }
    }
}

#[test]
fn texts_that_are_no_id_of_the_circle_are_refused() {
    for text in
        ["", "256", "-1", "0x", "0x100", "12a", "0xzz", "0x+1", "99999999999999999999999999999999999999999"]
    {
        assert!(space(8).parse(text).is_err(), "{text:?}");
    }
    assert_eq!(space(8).parse("0xff"), Ok(id(255)));
}

#[test]
fn a_space_has_at_most_the_digests_width() {
    for hash in HashKind::ALL {
        assert!(IdSpace::new(0, hash).is_err());
        assert!(IdSpace::new(hash.bits(), hash).is_ok());
        assert!(IdSpace::new(hash.bits() + 1, hash).is_err());
        assert_eq!(hash.name().parse(), Ok(hash));
    }
    assert!("sha256".parse::<HashKind>().is_err());
    assert!(serde_json::from_str::<IdSpace>(r#"{"bits":161,"hash":"sha1"}"#).is_err());
}

proptest! {
    #[test]
    fn order_is_the_order_of_bytes(a: [u8; 20], b: [u8; 20]) {
        prop_assert_eq!(Id::from_bytes(a).cmp(&Id::from_bytes(b)), a.cmp(&b));
    }

    #[test]
    fn distance_undoes_addition(a: [u8; 20], b: [u8; 20], bits in 1u16..=160) {
        let space = space(bits);
        let (a, b) = (space.mask(Id::from_bytes(a)), space.mask(Id::from_bytes(b)));
        prop_assert_eq!(space.distance(&a, &space.add(&a, &b)), b);
        prop_assert_eq!(space.add(&a, &space.distance(&a, &b)), b);
        prop_assert!(space.distance(&a, &b).bit_length() <= bits);
    }

    #[test]
    fn an_id_lies_in_an_interval_when_it_is_no_farther_than_its_end(a: [u8; 20], b: [u8; 20], x: [u8; 20]) {
        let space = space(160);
        let (a, b, x) = (Id::from_bytes(a), Id::from_bytes(b), Id::from_bytes(x));
        let near = x != a && space.distance(&a, &x) <= space.distance(&a, &b);
        prop_assert_eq!(x.in_half_open(&a, &b), near || a == b);
    }
}
