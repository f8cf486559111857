//! A ring drawn as SVG: nodes, the arcs they own, one node's fingers, keys, and the path of a lookup.

mod shapes;

use chord::protocol::id::{Id, IdSpace};
use svg::node::element::{Circle, Definitions, Group, Path, Rectangle, Text};
use svg::{Document, Node as _};

pub use self::shapes::shortened;
use self::shapes::{arc, arrow_head, chord, colour, diamond, line, name, part, point, round, words};
use crate::network::{Network, fraction, share};

/// Width and height in pixels; the ring is on the left, words are on the right.
const SIZE: (f64, f64) = (1320.0, 860.0);
/// The ring's middle and radius.
const CENTRE: (f64, f64) = (450.0, 440.0);
const RADIUS: f64 = 270.0;
/// Where the words begin, how far apart lines are, and where they end at the latest.
const WORDS: (f64, f64) = (915.0, 96.0);
const LINE: f64 = 20.0;
const WORDS_END: f64 = 840.0;
/// Where the legend begins.
const LEGEND: (f64, f64) = (60.0, 836.0);
/// The part of the circle that a name along the radius takes.
const NAME_GAP: f64 = 0.0075;
/// Up to so many nodes every name is written.
const ALL_NAMED: usize = 60;
/// Up to so many nodes names have their ids beside them, if these have no more characters than this.
const ALL_IDS: usize = 30;
const SHORT_ID: usize = 5;
const INK: &str = "#222222";
const FINGER: &str = "#0072b2";
const ROUTE: &str = "#d55e00";

/// What is to be drawn.
#[derive(Clone, Debug, Default)]
pub struct RingPicture {
    /// Above it.
    pub title: String,
    /// In ring order.
    pub nodes: Vec<Place>,
    /// Fingers: from and to, as numbers of `nodes`.
    pub fingers: Vec<(usize, usize)>,
    /// Keys: their words, where they are, and the number of the node that owns them.
    pub keys: Vec<(String, f64, Option<usize>)>,
    /// The nodes of a lookup in order, as numbers of `nodes`, the asker first.
    pub route: Vec<usize>,
    /// Headed lists beside the ring.
    pub words: Vec<(String, Vec<String>)>,
}

/// A virtual node on the ring.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Its id, as people read it.
    pub id: String,
    /// Where it is: a share of the circle, clockwise from the top.
    pub at: f64,
    /// How much of the circle before it is its own.
    pub owns: f64,
    /// Whose it is: what belongs to one host has one colour.
    pub host: usize,
    /// Whether it has joined, to be seen at once.
    pub marked: bool,
}

impl RingPicture {
    /// The nodes of `network`, of which each `per_host` in turn are one host's.
    pub fn of(network: &Network, per_host: usize, title: impl Into<String>) -> RingPicture {
        let space = network.space();
        let order = network.ring_order();
        let place = |(at, number): (usize, &usize)| {
            let node = &network.nodes()[*number];
            let before = network.nodes()[order[at.checked_sub(1).unwrap_or(order.len() - 1)]].id;
            Place {
                name: node.name.clone(),
                id: space.show(&node.id),
                at: fraction(&space, &node.id),
                owns: share(&space, &before, &node.id),
                host: number / per_host,
                marked: false,
            }
        };
        RingPicture {
            title: title.into(),
            nodes: order.iter().enumerate().map(place).collect(),
            ..RingPicture::default()
        }
    }

    /// The number of the node of this name. Names are those of the network it was made of.
    pub fn number(&self, name: &str) -> usize {
        self.nodes.iter().position(|place| place.name == name).expect("a node of the network")
    }

    /// Adds a key: its text, its id, and the name of its owner.
    pub fn key(&mut self, space: IdSpace, text: &str, id: &Id, owner: Option<&str>) {
        let owner = owner.map(|name| self.number(name));
        self.keys.push((text.to_owned(), fraction(&space, id), owner));
    }

    /// The picture as an SVG document. One picture gives one text, byte by byte.
    pub fn svg(&self) -> String {
        let mut document = Document::new()
            .set("viewBox", (0, 0, SIZE.0, SIZE.1))
            .set("width", SIZE.0)
            .set("height", SIZE.1)
            .set("font-family", "sans-serif")
            .add(Definitions::new().add(arrow_head("finger", FINGER)).add(arrow_head("route", ROUTE)))
            .add(Rectangle::new().set("width", "100%").set("height", "100%").set("fill", "white"))
            .add(words(&self.title, (SIZE.0 / 2.0, 44.0), 24.0).set("text-anchor", "middle"));
        document.append(self.arcs());
        document.append(self.draw_fingers());
        document.append(self.draw_keys());
        document.append(self.draw_route());
        document.append(self.dots());
        document.append(self.names());
        document.append(self.draw_words());
        document.append(self.draw_legend());
        document.to_string()
    }

    fn arcs(&self) -> Group {
        let mut group = Group::new().set("fill", "none").set("stroke-width", 16);
        let circle = Circle::new().set("cx", CENTRE.0).set("cy", CENTRE.1).set("r", RADIUS);
        group.append(circle.set("stroke", "#dddddd"));
        for place in &self.nodes {
            group.append(arc(place).set("stroke", colour(place.host)));
        }
        group
    }

    fn dots(&self) -> Group {
        let size = (140.0 / self.nodes.len().max(1) as f64).clamp(2.5, 7.0);
        let mut group = Group::new().set("stroke", "white").set("stroke-width", 1);
        for place in &self.nodes {
            let (x, y) = point(place.at, RADIUS);
            let (size, fill) = if place.marked { (size + 2.0, ROUTE) } else { (size, INK) };
            group.append(
                Circle::new().set("cx", round(x)).set("cy", round(y)).set("r", round(size)).set("fill", fill),
            );
        }
        group
    }

    /// Names stand outside, upright where there is room, else along the radius; where they would cover each other they
    /// move aside, and a line leads to the node.
    fn names(&self) -> Group {
        let count = self.nodes.len();
        let along = count > 16;
        let (gap, size) = if along { (NAME_GAP, 12) } else { (3.0 * NAME_GAP, 14) };
        let named = self.named();
        let mut at: Vec<f64> = named.iter().map(|(i, _)| self.nodes[*i].at).collect();
        part(&mut at, gap);
        let mut group = Group::new();
        for ((i, important), at) in named.into_iter().zip(at) {
            let place = &self.nodes[i];
            let text = if count <= ALL_IDS && place.id.len() <= SHORT_ID {
                format!("{} · {}", place.name, place.id)
            } else {
                place.name.clone()
            };
            let mut text = name(&text, at, along).set("font-size", size).set("fill", INK);
            if important {
                text = text.set("font-weight", "bold");
            }
            group.append(text);
            let (from, to) = (point(place.at, RADIUS + 9.0), point(at, RADIUS + 20.0));
            group.append(line(from, to).set("stroke", "#999999").set("stroke-width", 0.8));
        }
        group
    }

    /// The nodes that have their names written, clockwise, and whether it is for a reason. Where there are too many,
    /// those that matter are, and of the others as many as fit.
    fn named(&self) -> Vec<(usize, bool)> {
        let count = self.nodes.len();
        let mut important: Vec<usize> = self.fingers.iter().flat_map(|(from, to)| [*from, *to]).collect();
        important.extend(&self.route);
        important.extend(self.keys.iter().filter_map(|key| key.2));
        important.extend((0..count).filter(|i| self.nodes[*i].marked));
        important.sort_unstable();
        important.dedup();
        let mut named: Vec<(usize, bool)> =
            important.into_iter().take(ALL_NAMED).map(|i| (i, true)).collect();
        for i in (0..count).step_by(count.div_ceil(ALL_NAMED).max(1)) {
            let near = |other: usize| {
                let apart = (self.nodes[i].at - self.nodes[other].at).abs();
                count > ALL_NAMED && apart.min(1.0 - apart) < 1.6 * NAME_GAP
            };
            if !named.iter().any(|(other, _)| *other == i || near(*other)) {
                named.push((i, false));
            }
        }
        named.sort_unstable();
        named
    }

    fn draw_fingers(&self) -> Group {
        let mut group = Group::new()
            .set("fill", "none")
            .set("stroke", FINGER)
            .set("stroke-width", 1.6)
            .set("opacity", 0.85);
        for (from, to) in &self.fingers {
            let curve = chord(self.nodes[*from].at, self.nodes[*to].at, 0.45, RADIUS - 12.0);
            group.append(Path::new().set("d", curve.0).set("marker-end", "url(#finger)"));
        }
        group
    }

    fn draw_route(&self) -> Group {
        let mut group = Group::new();
        for (hop, pair) in self.route.windows(2).enumerate() {
            let (curve, middle) = chord(self.nodes[pair[0]].at, self.nodes[pair[1]].at, 0.2, RADIUS - 12.0);
            group.append(
                Path::new()
                    .set("d", curve)
                    .set("fill", "none")
                    .set("stroke", ROUTE)
                    .set("stroke-width", 3)
                    .set("marker-end", "url(#route)"),
            );
            let (x, y) = middle;
            group.append(
                Circle::new().set("cx", round(x)).set("cy", round(y)).set("r", 11).set("fill", ROUTE),
            );
            let number = words(&(hop + 1).to_string(), (x, y + 5.0), 14.0).set("text-anchor", "middle");
            group.append(number.set("fill", "white").set("font-weight", "bold"));
        }
        group
    }

    /// A key is a diamond on its place, its name inside the ring.
    fn draw_keys(&self) -> Group {
        let mut group = Group::new();
        for (name, at, _) in &self.keys {
            group.append(diamond(point(*at, RADIUS)));
            // The last hops of a lookup crowd there.
            let inside = if self.route.is_empty() { 26.0 } else { 62.0 };
            let (x, y) = point(*at, RADIUS - inside);
            let anchor = if (*at % 1.0) < 0.5 { "end" } else { "start" };
            let halo = |text: Text| text.set("stroke", "white").set("stroke-width", 4);
            let text =
                || words(name, (x, y + 5.0), 14.0).set("text-anchor", anchor).set("font-weight", "bold");
            group.append(halo(text()));
            group.append(text());
        }
        group
    }

    fn draw_words(&self) -> Group {
        let mut group = Group::new();
        let (x, mut y) = WORDS;
        for (heading, lines) in &self.words {
            if y + 2.0 * LINE > WORDS_END {
                break;
            }
            group.append(words(heading, (x, y), 15.0).set("font-weight", "bold"));
            group.append(line((x, y + 6.0), (SIZE.0 - 40.0, y + 6.0)).set("stroke", "#bbbbbb"));
            y += LINE + 6.0;
            let room = ((WORDS_END - y) / LINE).max(1.0) as usize;
            let shown = if lines.len() > room { room - 1 } else { lines.len() };
            for line in &lines[..shown] {
                group.append(words(line, (x, y), 13.0).set("xml:space", "preserve"));
                y += LINE;
            }
            if shown < lines.len() {
                group.append(words(&format!("and {} more", lines.len() - shown), (x, y), 13.0));
                y += LINE;
            }
            y += LINE;
        }
        group
    }

    /// What the signs mean, as far as they occur.
    fn draw_legend(&self) -> Group {
        let (left, y) = LEGEND;
        let mut group = Group::new();
        let mut entry = |sign: Box<dyn svg::Node>, x: f64, label: &str| {
            group.append(sign);
            group.append(words(label, (x + 16.0, y + 5.0), 13.0));
            x + 44.0 + 7.5 * label.len() as f64
        };
        let stroke = |x: f64, colour: &str, width: f64| {
            let sign = line((x - 10.0, y), (x + 10.0, y)).set("stroke", colour).set("stroke-width", width);
            Box::new(sign)
        };
        let dot = Circle::new().set("cx", left).set("cy", y).set("r", 5).set("fill", INK);
        let mut x = left;
        if !self.nodes.is_empty() {
            x = entry(Box::new(dot), x, "node");
            x = entry(stroke(x, &colour(0), 12.0), x, "what it owns, a colour a host");
        }
        if self.nodes.iter().any(|place| place.marked) {
            let dot = Circle::new().set("cx", x).set("cy", y).set("r", 6).set("fill", ROUTE);
            x = entry(Box::new(dot), x, "has joined");
        }
        if !self.fingers.is_empty() {
            x = entry(stroke(x, FINGER, 2.0), x, "finger");
        }
        if !self.route.is_empty() {
            x = entry(stroke(x, ROUTE, 3.0), x, "lookup, hop by hop");
        }
        if !self.keys.is_empty() {
            entry(Box::new(diamond((x, y))), x, "key");
        }
        group
    }
}
