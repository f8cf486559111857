//! How a chart is drawn: title, legend, axes, series.

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Chart, Look, Scale, Series};

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

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

impl Chart {
    fn placed(&self, series: &Series) -> Vec<(f64, f64)> {
        let place = |(x, y): &(f64, f64)| Some((self.x.scale.place(*x)?, self.y.scale.place(*y)?));
        series.points.iter().filter_map(place).collect()
    }

    pub(super) fn draw(&self, root: &Area<'_>) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
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
