//! Charts as SVG: lines, points and bars over two axes.

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Width and height of a chart in pixels: a slide's proportions.
const SIZE: (u32, u32) = (960, 540);
/// The width of one of several charts.
const PANEL_WIDTH: u32 = 800;
/// Where the legend begins, and the height of its rows.
const LEGEND_LEFT: i32 = 88;
const LEGEND_ROW: i32 = 24;
/// Colours that people with any colour vision can tell apart (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

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

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

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

    fn placed(&self, series: &Series) -> Vec<(f64, f64)> {
        let place = |(x, y): &(f64, f64)| Some((self.x.scale.place(*x)?, self.y.scale.place(*y)?));
        series.points.iter().filter_map(place).collect()
    }

    fn draw(&self, root: &Area<'_>) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        root.fill(&WHITE)?;
        let placed: Vec<Vec<(f64, f64)>> = self.series.iter().map(|series| self.placed(series)).collect();
        let bar_width = self.bar_width(&placed);
        let x = self.x.span(placed.iter().flatten().map(|point| point.0), bar_width);
        let y = self.y.span(placed.iter().flatten().map(|point| point.1), 0.0);
        let root = root.margin(12, 0, 0, 0).titled(&self.title, ("sans-serif", 24))?;
        let root = self.draw_legend(&root)?;
        let mut chart = ChartBuilder::on(&root)
            .margin(16)
            .margin_right(32)
            .x_label_area_size(48)
            .y_label_area_size(72)
            .build_cartesian_2d(x.0..x.1, y.0..y.1)?;
        let (x_label, y_label) = (|at: &f64| self.x.tick(*at), |at: &f64| self.y.tick(*at));
        chart
            .configure_mesh()
            .x_desc(&self.x.label)
            .y_desc(&self.y.label)
            .x_labels(self.x.ticks(x))
            .y_labels(self.y.ticks(y))
            .x_label_formatter(&x_label)
            .y_label_formatter(&y_label)
            .axis_desc_style(("sans-serif", 17))
            .label_style(("sans-serif", 15))
            .light_line_style(TRANSPARENT)
            .draw()?;
        let floor = if self.y.scale == Scale::Linear { 0.0 } else { y.0 };
        for (i, (series, points)) in self.series.iter().zip(placed).enumerate() {
            self.draw_series(&mut chart, series, points, COLOURS[i % COLOURS.len()], bar_width, floor)?;
        }
        Ok(())
    }

    /// Names the series in rows above the plot, where they cover nothing. Returns what is left of the area.
    fn draw_legend<'a>(&self, root: &Area<'a>) -> Result<Area<'a>, DrawingAreaErrorKind<std::io::Error>> {
        if self.series.len() < 2 {
            return Ok(root.clone());
        }
        let right = root.dim_in_pixel().0 as i32 - 16;
        let (mut x, mut y) = (LEGEND_LEFT, 14);
        for (i, series) in self.series.iter().enumerate() {
            let width = 50 + (series.label.chars().count() as i32 * 17) / 2;
            if x > LEGEND_LEFT && x + width > right {
                (x, y) = (LEGEND_LEFT, y + LEGEND_ROW);
            }
            let colour = COLOURS[i % COLOURS.len()];
            let line = ShapeStyle::from(colour).stroke_width(3);
            match series.look {
                Look::Expected => {
                    let dashes = [(x, x + 9), (x + 15, x + 24)];
                    for (from, to) in dashes {
                        root.draw(&PathElement::new(vec![(from, y), (to, y)], line))?;
                    }
                }
                Look::Measured => root.draw(&PathElement::new(vec![(x, y), (x + 24, y)], line))?,
                Look::Points => root.draw(&Circle::new((x + 12, y), 4, colour.filled()))?,
                Look::Bars => {
                    root.draw(&Rectangle::new([(x + 4, y - 6), (x + 20, y + 6)], colour.mix(0.6).filled()))?;
                }
            }
            root.draw(&Text::new(series.label.clone(), (x + 30, y - 9), ("sans-serif", 16)))?;
            x += width;
        }
        Ok(root.split_vertically(y + LEGEND_ROW / 2).1)
    }

    fn draw_series<'a>(
        &self,
        chart: &mut Drawn<'a>,
        series: &Series,
        points: Vec<(f64, f64)>,
        colour: RGBColor,
        bar_width: f64,
        floor: f64,
    ) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        let line = ShapeStyle::from(colour).stroke_width(2);
        match series.look {
            Look::Measured => {
                chart.draw_series(LineSeries::new(points.clone(), line))?;
                chart.draw_series(points.into_iter().map(|at| Circle::new(at, 3, colour.filled())))?;
            }
            Look::Expected => {
                chart.draw_series(DashedLineSeries::new(points, 8, 5, line))?;
            }
            Look::Points => {
                let dot = |at| Circle::new(at, 2, colour.mix(0.6).filled());
                chart.draw_series(points.into_iter().map(dot))?;
            }
            Look::Bars => {
                let half = bar_width * 0.45;
                if !self.x.names.is_empty() {
                    let words = TextStyle::from(("sans-serif", 15)).pos(Pos::new(HPos::Center, VPos::Bottom));
                    let value = |at: &(f64, f64)| {
                        EmptyElement::at(*at) + Text::new(self.y.scale.label(at.1), (0, -4), words.clone())
                    };
                    chart.draw_series(points.iter().map(value))?;
                }
                let bar =
                    |(x, y)| Rectangle::new([(x - half, floor), (x + half, y)], colour.mix(0.6).filled());
                chart.draw_series(points.into_iter().map(bar))?;
            }
        }
        Ok(())
    }

    /// The smallest distance of two bars; 0 without bars.
    fn bar_width(&self, placed: &[Vec<(f64, f64)>]) -> f64 {
        let bars = self.series.iter().zip(placed).filter(|(series, _)| series.look == Look::Bars);
        let width = |points: &Vec<(f64, f64)>| {
            let gaps = points.windows(2).map(|pair| pair[1].0 - pair[0].0);
            gaps.fold(f64::INFINITY, f64::min).min(1e9)
        };
        let width = bars.map(|(_, points)| width(points)).fold(0.0, f64::max);
        if width >= 1e9 { 1.0 } else { width }
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
