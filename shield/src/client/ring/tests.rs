//! Golden placements, balance and movement.

use proto::object::OriginId;

use super::*;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("shield-{i}")).collect()
}

fn ring(names: &[String]) -> Ring {
    Ring::new(names.iter().map(|name| (name.as_str(), 100)))
}

fn segments() -> impl Iterator<Item = u64> {
    let origin = OriginId::of("media.s3.amazonaws.com", "");
    (0..500).flat_map(move |film| {
        let object = ObjectKey::new(origin.clone(), &format!("films/{film}.mp4"));
        (0..100).map(move |segment| position_of(&object, segment))
    })
}

#[test]
fn placement_is_golden() {
    // A change of any of these splits the caches of a cluster that is being upgraded.
    assert_eq!(position(&[b"shield-0", &[0], &0u32.to_be_bytes()]), GOLDEN_POINT);
    let object = ObjectKey::new(OriginId::from_wire("00112233445566778899aabbccddeeff"), "films/ä.mp4");
    assert_eq!(position_of(&object, 0), GOLDEN_SEGMENT_0);
    assert_eq!(position_of(&object, 7), GOLDEN_SEGMENT_7);
    let ring = ring(&names(5));
    let orders: Vec<Vec<usize>> =
        (0..4).map(|segment| ring.order(position_of(&object, segment)).collect()).collect();
    assert_eq!(orders, GOLDEN_ORDERS);
}

// Computed by another program from the text of this module, not by this code.
const GOLDEN_POINT: u64 = 0x03d802d54f0f1658;
const GOLDEN_SEGMENT_0: u64 = 0x413b0ec0368511d9;
const GOLDEN_SEGMENT_7: u64 = 0x66ecca5c52aeed37;
const GOLDEN_ORDERS: [[usize; 5]; 4] = [[2, 3, 4, 0, 1], [3, 0, 2, 4, 1], [1, 3, 2, 0, 4], [0, 3, 1, 4, 2]];

#[test]
fn an_order_names_each_node_once_and_starts_at_home() {
    let ring = ring(&names(8));
    for at in segments().take(2000) {
        let mut order: Vec<usize> = ring.order(at).collect();
        assert_eq!(order.first().copied(), ring.home(at));
        order.sort_unstable();
        assert_eq!(order, (0..8).collect::<Vec<_>>());
    }
}

#[test]
fn the_order_of_the_list_does_not_matter() {
    let names = names(6);
    let reversed: Vec<String> = names.iter().rev().cloned().collect();
    let (one, two) = (ring(&names), ring(&reversed));
    for at in segments().take(1000) {
        assert_eq!(one.home(at).map(|n| &names[n]), two.home(at).map(|n| &reversed[n]));
    }
}

/// Names as clusters have them, in five styles.
fn cluster(number: u64) -> Vec<String> {
    let random = |i: u64| position(&[b"names", &number.to_be_bytes(), &i.to_be_bytes()]);
    (0..8)
        .map(|i| match number % 5 {
            0 => format!("shield-{}", number / 5 * 8 + i),
            1 => format!("penstock-{number}-shield-{i}"),
            2 => format!("shield-{:08x}-{:05x}", random(99) as u32, random(i) & 0xf_ffff),
            3 => {
                let (a, b) = (random(i), random(i + 50));
                format!(
                    "{:08x}-{:04x}-4{:03x}-a{:03x}-{b:012x}",
                    a >> 32,
                    a >> 16 & 0xffff,
                    a & 0xfff,
                    b >> 52
                )
            }
            _ => format!("10.{}.{}.{}", random(98) & 255, random(99) & 255, (random(97) + i) & 255),
        })
        .collect()
}

/// The positions of 200,000 segments, ascending.
fn many_segments() -> Vec<u64> {
    let origin = OriginId::of("media.s3.amazonaws.com", "");
    let mut segments: Vec<u64> = (0..20_000)
        .flat_map(|film| {
            let object = ObjectKey::new(origin.clone(), &format!("films/{film}.mp4"));
            (0..10).map(move |segment| position_of(&object, segment))
        })
        .collect();
    segments.sort_unstable();
    segments
}

/// The homes of ascending positions, found by going around once: a lookup each would take minutes here.
fn homes(ring: &Ring, segments: &[u64]) -> Vec<u8> {
    let mut point = 0;
    let home = |&at: &u64| {
        while point < ring.walk.len() && ring.walk[point].0 < at {
            point += 1;
        }
        ring.walk[point % ring.walk.len()].1 as u8
    };
    segments.iter().map(home).collect()
}

#[test]
fn eight_shields_share_evenly_whatever_they_are_called() {
    let segments = many_segments();
    let mean = segments.len() as f64 / 8.0;
    let mut worst = 0f64;
    for number in 0..200 {
        let names = cluster(number);
        let ring = ring(&names);
        let homes = homes(&ring, &segments);
        for i in (0..segments.len()).step_by(20_011) {
            assert_eq!(ring.home(segments[i]), Some(homes[i].into()), "the shortcut agrees with the lookup");
        }
        let mut counts = [0u32; 8];
        homes.into_iter().for_each(|home| counts[home as usize] += 1);
        let ratio = f64::from(counts.into_iter().max().unwrap()) / mean;
        assert!(ratio <= 1.15, "{names:?}: the busiest has {ratio} times the mean");
        worst = worst.max(ratio);
    }
    // A worst case near 1 would mean that nothing was measured.
    assert!(worst > 1.03, "{worst}");
}

#[test]
fn one_of_eight_that_comes_or_goes_moves_an_eighth_whatever_they_are_called() {
    let segments = many_segments();
    for number in 200..230 {
        let names = cluster(number);
        let all = homes(&ring(&names), &segments);
        let without = homes(&ring(&names[..7]), &segments);
        let moved = all.iter().zip(&without).filter(|(a, b)| a != b).count();
        assert!(all.iter().zip(&without).all(|(a, b)| a == b || *a == 7), "others keep what they have");
        let moved = moved as f64 / segments.len() as f64;
        assert!((0.10..=1.0 / 8.0 + 0.03).contains(&moved), "{names:?}: {moved} moved");
    }
}

#[test]
fn a_shield_that_comes_or_goes_moves_little() {
    let names = names(9);
    let (eight, nine) = (ring(&names[..8]), ring(&names));
    let (mut moved, mut all) = (0u32, 0u32);
    for at in segments() {
        let (before, after) = (eight.home(at).unwrap(), nine.home(at).unwrap());
        all += 1;
        if before != after {
            moved += 1;
            assert_eq!(after, 8, "bytes only move to the newcomer");
        }
    }
    assert!(f64::from(moved) / f64::from(all) <= 1.0 / 8.0 + 0.03, "{moved} of {all}");
    // Without one of eight, its bytes move to whom they fell back before.
    let seven = Ring::new(names[..7].iter().map(|name| (name.as_str(), 100)));
    let mut orphans = 0;
    for at in segments().take(20_000) {
        let order: Vec<usize> = eight.order(at).take(2).collect();
        let heir = if order[0] == 7 { order[1] } else { order[0] };
        orphans += u32::from(order[0] == 7);
        assert_eq!(seven.home(at), Some(heir));
    }
    assert!(f64::from(orphans) / 20_000.0 <= 1.0 / 8.0 + 0.03);
}

#[test]
fn weight_scales_a_share() {
    let ring = Ring::new([("a", 100), ("b", 300), ("c", 0)]);
    let mut counts = [0u32; 3];
    for at in segments() {
        counts[ring.home(at).unwrap()] += 1;
    }
    let share = |n: usize| f64::from(counts[n]) / f64::from(counts.iter().sum::<u32>());
    assert!((share(1) - 0.6).abs() < 0.08 && (share(2) - 0.2).abs() < 0.06, "{counts:?}");
}

#[test]
fn an_empty_ring_has_no_home() {
    let ring = Ring::new([]);
    assert_eq!(ring.home(5), None);
    assert_eq!(ring.order(5).count(), 0);
}
