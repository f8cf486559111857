//! The shapes a ring is drawn with, and where they are.

use std::borrow::Cow;
use std::f64::consts::TAU;
use std::fmt::Write as _;

use svg::node::element::{Line, Marker, Path, Polygon, Text};

use super::{CENTRE, INK, Place, RADIUS};

/// The arc that a node owns, with a small gap after its predecessor where it is long enough for one.
pub(super) fn arc(place: &Place) -> Path {
    if place.owns >= 1.0 {
        let (left, right) = (point(place.at - 0.5, RADIUS), point(place.at, RADIUS));
        let mut d = String::new();
        for (from, to) in [(left, right), (right, left)] {
            let _ = write!(d, "M{} {}A{RADIUS} {RADIUS} 0 0 1 ", round(from.0), round(from.1));
            let _ = write!(d, "{} {}", round(to.0), round(to.1));
        }
        return Path::new().set("d", d);
    }
    let from = point(place.at - place.owns, RADIUS);
    let to = point(place.at, RADIUS);
    let large = u8::from(place.owns > 0.5);
    Path::new().set(
        "d",
        format!(
            "M{} {}A{RADIUS} {RADIUS} 0 {large} 1 {} {}",
            round(from.0),
            round(from.1),
            round(to.0),
            round(to.1)
        ),
    )
}

/// A curve inside the ring, bent towards the middle by at most the part `bend` of the way there, and the point half-way
/// on it.
pub(super) fn chord(from: f64, to: f64, bend: f64, radius: f64) -> (String, (f64, f64)) {
    let (a, b) = (point(from, radius), point(to, radius));
    let middle = ((a.0 + b.0) / 2.0, (a.1 + b.1) / 2.0);
    let away = f64::hypot(CENTRE.0 - middle.0, CENTRE.1 - middle.1).max(1.0);
    let length = f64::hypot(a.0 - b.0, a.1 - b.1);
    let bend = bend.min(0.6 * length / away);
    let control = (middle.0 + (CENTRE.0 - middle.0) * bend, middle.1 + (CENTRE.1 - middle.1) * bend);
    let d = format!(
        "M{} {}Q{} {} {} {}",
        round(a.0),
        round(a.1),
        round(control.0),
        round(control.1),
        round(b.0),
        round(b.1)
    );
    let half = |a: f64, control: f64, b: f64| (a + 2.0 * control + b) / 4.0;
    (d, (half(a.0, control.0, b.0), half(a.1, control.1, b.1)))
}

/// Words outside the ring, next to the place `at`.
pub(super) fn name(text: &str, at: f64, along: bool) -> Text {
    let (x, y) = point(at, RADIUS + 22.0);
    let right = at.rem_euclid(1.0) < 0.5;
    let anchor = if right { "start" } else { "end" };
    let text = Text::new(text).set("text-anchor", anchor);
    if !along {
        return text.set("x", round(x)).set("y", round(y + 5.0));
    }
    let degrees = at * 360.0 - if right { 90.0 } else { 270.0 };
    text.set(
        "transform",
        format!("translate({} {}) rotate({}) translate(0 4)", round(x), round(y), round(degrees)),
    )
}

pub(super) fn words(text: &str, (x, y): (f64, f64), size: f64) -> Text {
    Text::new(text).set("x", round(x)).set("y", round(y)).set("font-size", size).set("fill", INK)
}

/// A thin line.
pub(super) fn line(from: (f64, f64), to: (f64, f64)) -> Line {
    Line::new()
        .set("x1", round(from.0))
        .set("y1", round(from.1))
        .set("x2", round(to.0))
        .set("y2", round(to.1))
}

/// A key.
pub(super) fn diamond((x, y): (f64, f64)) -> Polygon {
    let corners = [(0.0, -9.0), (9.0, 0.0), (0.0, 9.0), (-9.0, 0.0)];
    let corners = corners.map(|(dx, dy)| format!("{},{}", round(x + dx), round(y + dy))).join(" ");
    Polygon::new().set("points", corners).set("fill", "#f0e442").set("stroke", INK).set("stroke-width", 1.5)
}

/// Moves places on the circle, which are in ascending order, apart until each two neighbours have `gap` between them,
/// or as far as that goes.
pub(super) fn part(places: &mut [f64], gap: f64) {
    let count = places.len();
    for _ in 0..200 {
        for i in 0..count {
            let next = (i + 1) % count;
            let apart = places[next] - places[i] + if next <= i { 1.0 } else { 0.0 };
            if next != i && apart < gap {
                let push = (gap - apart) / 2.0;
                places[i] -= push;
                places[next] += push;
            }
        }
    }
}

pub(super) fn arrow_head(id: &str, colour: &str) -> Marker {
    Marker::new()
        .set("id", id)
        .set("viewBox", "0 0 10 10")
        .set("refX", 9)
        .set("refY", 5)
        .set("markerWidth", 11)
        .set("markerHeight", 11)
        .set("markerUnits", "userSpaceOnUse")
        .set("orient", "auto")
        .add(Path::new().set("d", "M0 0L10 5L0 10z").set("fill", colour))
}

/// A colour for a host: hues a golden angle apart, so that neighbours in number differ.
pub(super) fn colour(host: usize) -> String {
    let hue = (host as f64 * 137.508) % 360.0 / 60.0;
    let lightness = [0.72, 0.6, 0.8][host % 3];
    let chroma = (1.0 - f64::abs(2.0 * lightness - 1.0)) * 0.55;
    let part = |offset: f64| {
        let place = (hue + offset).rem_euclid(6.0);
        let height = (2.0 - (place - 3.0).abs()).clamp(0.0, 1.0);
        ((lightness - chroma / 2.0 + chroma * (1.0 - height)) * 255.0).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", part(0.0), part(4.0), part(2.0))
}

/// A long id by its first digits.
pub fn shortened(id: &str) -> Cow<'_, str> {
    if id.len() <= 12 { Cow::Borrowed(id) } else { Cow::Owned(format!("{}…", &id[..8])) }
}

pub(super) fn point(at: f64, radius: f64) -> (f64, f64) {
    let angle = at * TAU;
    (CENTRE.0 + radius * angle.sin(), CENTRE.1 - radius * angle.cos())
}

/// Tenths of a pixel are enough.
pub(super) fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0 + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_too_close_move_apart_also_across_the_top() {
        let mut places = [0.001, 0.3, 0.301, 0.302, 0.999];
        part(&mut places, 0.01);
        let gaps = [(0, 1), (1, 2), (2, 3), (3, 4)].map(|(a, b)| places[b] - places[a]);
        assert!(gaps.iter().all(|gap| *gap > 0.0099), "{places:?}");
        assert!(places[0] - places[4] + 1.0 > 0.0099, "{places:?}");
        let mut alone = [0.5];
        part(&mut alone, 0.1);
        assert_eq!(alone, [0.5]);
    }

    #[test]
    fn colours_are_hexadecimal_and_differ_between_neighbours() {
        assert!((0..100).all(|host| colour(host).len() == 7 && colour(host) != colour(host + 1)));
    }
}
