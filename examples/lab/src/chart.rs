//! Charts as SVG: lines, points and bars over two axes.

mod draw;

use plotters::prelude::*;

/// Width and height of a chart in pixels: a slide's proportions.
const SIZE: (u32, u32) = (960, 540);
/// The width of one of several charts.
const PANEL_WIDTH: u32 = 800;

/// A chart to be drawn.
#[derive(Clone, Debug)]
pub struct Chart {
    /// The name of its file.
    pub name: &'static str,
    /// What it shows, above it.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// What is drawn, the first at the bottom.
    pub series: Vec<Series>,
}

/// One axis of a chart. It spans what is drawn; a linear one begins at zero.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What is measured, with its unit.
    pub label: String,
    /// How values lie along it.
    pub scale: Scale,
    /// A linear one begins where the values do, not at zero.
    pub within: bool,
    /// Words beside the places 0, 1, 2, ... instead of numbers; empty for numbers.
    pub names: Vec<String>,
}

/// How values lie along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithm to base 2, labelled 2^k. Values that are not positive are left out.
    Log2,
    /// Likewise, labelled with the numbers themselves.
    Doubling,
    /// By their decimal logarithm. Values that are not positive are left out.
    Log10,
}

/// Values that belong together.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its entry in the legend.
    pub label: String,
    /// What is drawn, in ascending order of x.
    pub points: Vec<(f64, f64)>,
    /// How.
    pub look: Look,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A line with a dot at each value: measured.
    Measured,
    /// A dashed line: expected, published.
    Expected,
    /// Dots alone.
    Points,
    /// A bar from zero for each value, as wide as their distance.
    Bars,
}

impl Axis {
    /// An axis of `scale`, labelled.
    pub fn new(label: impl Into<String>, scale: Scale) -> Axis {
        Axis { label: label.into(), scale, within: false, names: Vec::new() }
    }

    /// An axis that spans the values alone, though zero be far from them.
    pub fn within(label: impl Into<String>, scale: Scale) -> Axis {
        Axis { within: true, ..Axis::new(label, scale) }
    }

    /// An axis of things: the i-th of `names` stands at i.
    pub fn named<N: Into<String>>(label: impl Into<String>, names: impl IntoIterator<Item = N>) -> Axis {
        let names = names.into_iter().map(Into::into).collect();
        Axis { names, ..Axis::new(label, Scale::Linear) }
    }

    fn span(&self, places: impl Iterator<Item = f64>, bar_width: f64) -> (f64, f64) {
        if !self.names.is_empty() {
            return (-0.5, self.names.len() as f64 - 0.5);
        }
        let places: Vec<f64> = places.collect();
        let (mut low, high) = self.scale.span(places.iter().copied());
        if self.within {
            low = low.max(places.into_iter().fold(f64::INFINITY, f64::min));
        }
        if bar_width > 0.0 { (low - bar_width, high + bar_width) } else { (low, high) }
    }

    fn tick(&self, place: f64) -> String {
        if self.names.is_empty() {
            return self.scale.label(place);
        }
        let whole = (place - place.round()).abs() < 1e-9 && place >= 0.0;
        whole.then(|| self.names.get(place as usize).cloned()).flatten().unwrap_or_default()
    }

    /// How many labels suit it: every power on a logarithmic one while there is room.
    fn ticks(&self, (low, high): (f64, f64)) -> usize {
        match self.scale {
            Scale::Linear if !self.names.is_empty() => self.names.len() + 2,
            Scale::Linear => 10,
            _ => ((high - low) as usize + 1).clamp(2, 22),
        }
    }
}

impl Series {
    /// A series drawn as `look`.
    pub fn new(label: impl Into<String>, look: Look, points: impl IntoIterator<Item = (f64, f64)>) -> Series {
        Series { label: label.into(), points: points.into_iter().collect(), look }
    }
}

impl Scale {
    fn place(self, value: f64) -> Option<f64> {
        match self {
            Scale::Linear => Some(value),
            _ if value <= 0.0 => None,
            Scale::Log2 | Scale::Doubling => Some(value.log2()),
            Scale::Log10 => Some(value.log10()),
        }
    }

    fn label(self, place: f64) -> String {
        let whole = (place - place.round()).abs() < 1e-9;
        match self {
            Scale::Linear => short(place),
            Scale::Log2 if whole => format!("2^{}", place.round()),
            Scale::Log2 | Scale::Doubling => short(place.exp2()),
            Scale::Log10 => short(10f64.powf(place)),
        }
    }

    /// What the axis spans so that all of `places` lie on it.
    fn span(self, places: impl Iterator<Item = f64>) -> (f64, f64) {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for place in places {
            (low, high) = (low.min(place), high.max(place));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        match self {
            Scale::Linear => (low.min(0.0), if high > 0.0 { high * 1.05 } else { 1.0 }),
            _ => (low.floor(), if high.ceil() > low.floor() { high.ceil() } else { low.floor() + 1.0 }),
        }
    }
}

/// A number as it stands beside a tick: 0.25, 40, 20k, 1M.
fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        large if large >= 1e9 => (value / 1e9, "G"),
        large if large >= 1e6 => (value / 1e6, "M"),
        large if large >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = format!("{value:.3}");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    if digits.is_empty() || digits == "0" || digits == "-0" {
        return if value.abs() > 1e-12 { format!("{value:.0e}") } else { "0".to_owned() };
    }
    format!("{digits}{unit}")
}

/// Charts side by side in one SVG document.
pub fn panels(charts: &[Chart]) -> String {
    let mut svg = String::new();
    let width = if charts.len() == 1 { SIZE.0 } else { PANEL_WIDTH };
    {
        let size = (width * charts.len() as u32, SIZE.1);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let everything = "a string takes everything that is drawn";
        for (chart, area) in charts.iter().zip(root.split_evenly((1, charts.len()))) {
            chart.draw(&area).expect(everything);
        }
        root.present().expect(everything);
    }
    svg
}

impl Chart {
    /// The chart as an SVG document. One chart gives one text, byte by byte.
    pub fn svg(&self) -> String {
        panels(std::slice::from_ref(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beside_ticks_are_short() {
        assert_eq!(
            [0.0, 0.25, 40.0, 20_000.0, 1e6, 2.5e9].map(short),
            ["0", "0.25", "40", "20k", "1M", "2.5G"]
        );
    }

    #[test]
    fn a_chart_is_a_document_with_its_words_and_the_same_every_time() {
        let chart = Chart {
            name: "test",
            title: "Hops against nodes".into(),
            x: Axis::new("nodes", Scale::Log2),
            y: Axis::new("hops", Scale::Linear),
            series: vec![
                Series::new("measured", Look::Measured, [(16.0, 2.0), (64.0, 3.1)]),
                Series::new("half the logarithm", Look::Expected, [(16.0, 2.0), (64.0, 3.0)]),
                Series::new("not positive", Look::Points, [(0.0, 1.0)]),
            ],
        };
        let svg = chart.svg();
        for words in ["<svg", "Hops against nodes", "half the logarithm", "2^5", "</svg>"] {
            assert!(svg.contains(words), "{words} in {svg}");
        }
        assert_eq!(svg, chart.svg());
    }
}
