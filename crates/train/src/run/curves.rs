//! Draws the losses of a run as curves.

use super::LogEntry;
use alias_pictures::font;
use alias_pictures::images::Image;
use plotters::coord::Shift;
use plotters::prelude::*;

const HEIGHT: usize = 560;
const WIDTH: usize = 960;
/// Margins of each panel in pixels: for the title above, for numbers to the left and below.
const TOP: u32 = 28;
const LEFT: u32 = 64;
const BOTTOM: u32 = 28;
const RIGHT: u32 = 16;
/// The most points of a curve: about one for each two pixels.
const POINTS: usize = 200;
const CURVE: RGBColor = RGBColor(38, 84, 124);
const SPREAD: RGBColor = RGBColor(190, 210, 226);
const GRID: RGBColor = RGBColor(226, 226, 222);
const INK: [f32; 3] = [-0.6, -0.6, -0.55];

type Loss = (&'static str, fn(&LogEntry) -> f32);
const LOSSES: [Loss; 4] = [
    ("discriminator", |entry| entry.discriminator),
    ("generator: adversarial", |entry| entry.gan),
    ("generator: feature matching", |entry| entry.feature_matching),
    ("generator: perceptual", |entry| entry.perceptual),
];

/// Consecutive steps: the last one, and a loss's mean, minimum and maximum over them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bin {
    step: f64,
    mean: f64,
    least: f64,
    greatest: f64,
}

/// A text centred vertically on pixel `y`. Pixel `x` is its left end, middle or right end, by `align`.
struct Label {
    text: String,
    y: i32,
    x: i32,
    align: Align,
}

enum Align {
    Left,
    Middle,
    Right,
}

/// Draws each loss over the steps: a curve of the means of neighbouring steps, on a band of their ranges.
///
/// # Panics
/// If there are no entries.
pub fn curves(entries: &[LogEntry]) -> Image {
    assert!(!entries.is_empty(), "no steps to draw");
    let mut pixels = vec![255; 3 * HEIGHT * WIDTH];
    let mut labels = Vec::new();
    {
        let root = BitMapBackend::with_buffer(&mut pixels, (WIDTH as u32, HEIGHT as u32)).into_drawing_area();
        for (area, (title, loss)) in root.split_evenly((2, 2)).iter().zip(LOSSES) {
            panel(area, title, &binned(entries, loss), &mut labels).expect("memory takes every pixel");
        }
    }
    let plane = HEIGHT * WIDTH;
    let value = |i: usize| f32::from(pixels[i % plane * 3 + i / plane]) / 127.5 - 1.0;
    let mut image = Image { height: HEIGHT, width: WIDTH, data: (0..3 * plane).map(value).collect() };
    for Label { text, y, x, align } in labels {
        let width = font::width(&text) as i32;
        let left = match align {
            Align::Left => x,
            Align::Middle => x - width / 2,
            Align::Right => x - width,
        };
        let at = [y - font::HEIGHT as i32 / 2, left].map(|v| v.max(0) as usize);
        font::write(&mut image, &text, at, 1, WIDTH - at[1], INK);
    }
    image
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

fn panel(area: &Area, title: &str, bins: &[Bin], labels: &mut Vec<Label>) -> Result<(), Box<dyn std::error::Error>> {
    let (low, high) = range(bins);
    let steps = 0.0..bins.last().map_or(1.0, |bin| bin.step);
    let mut chart = ChartBuilder::on(area)
        .margin_top(TOP)
        .margin_right(RIGHT)
        .margin_bottom(BOTTOM)
        .margin_left(LEFT)
        .build_cartesian_2d(steps.clone(), low..high)?;
    let mut label = |text: String, (x, y): (i32, i32), align| labels.push(Label { text, y, x, align });
    for value in ticks(low, high) {
        chart.draw_series([PathElement::new([(0.0, value), (steps.end, value)], GRID)])?;
        let (x, y) = chart.backend_coord(&(0.0, value));
        label(number(value, high - low), (x - 6, y), Align::Right);
    }
    for step in ticks(0.0, steps.end) {
        chart.draw_series([PathElement::new([(step, low), (step, high)], GRID)])?;
        let (x, y) = chart.backend_coord(&(step, low));
        label(number(step, steps.end), (x, y + 12), Align::Middle);
    }
    let within = |value: f64| value.clamp(low, high);
    let upper = bins.iter().map(|bin| (bin.step, within(bin.greatest)));
    let lower = bins.iter().rev().map(|bin| (bin.step, within(bin.least)));
    chart.draw_series([Polygon::new(upper.chain(lower).collect::<Vec<_>>(), SPREAD.filled())])?;
    chart.draw_series(LineSeries::new(bins.iter().map(|bin| (bin.step, bin.mean)), CURVE.stroke_width(2)))?;
    let (x, y) = chart.backend_coord(&(0.0, high));
    label(title.into(), (x, y - 14), Align::Left);
    Ok(())
}

/// The entries in at most [`POINTS`] bins.
fn binned(entries: &[LogEntry], loss: fn(&LogEntry) -> f32) -> Vec<Bin> {
    let bin = |entries: &[LogEntry]| {
        let values = || entries.iter().map(|entry| f64::from(loss(entry)));
        Bin {
            step: entries.last().map_or(0.0, |entry| entry.step as f64),
            mean: values().sum::<f64>() / entries.len() as f64,
            least: values().fold(f64::INFINITY, f64::min),
            greatest: values().fold(f64::NEG_INFINITY, f64::max),
        }
    };
    entries.chunks(entries.len().div_ceil(POINTS)).map(bin).collect()
}

/// The range of the means, with a margin.
fn range(bins: &[Bin]) -> (f64, f64) {
    let low = bins.iter().map(|bin| bin.mean).fold(f64::INFINITY, f64::min);
    let high = bins.iter().map(|bin| bin.mean).fold(f64::NEG_INFINITY, f64::max);
    let more = 0.08 * (high - low).max(1e-3 * high.abs()).max(1e-6);
    (low - more, high + more)
}

/// Round numbers in a range, three to seven of them.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let step = tick_step(high - low);
    let first = (low / step).ceil() as i64;
    (first..).map(|k| k as f64 * step).take_while(|&value| value <= high).collect()
}

fn tick_step(span: f64) -> f64 {
    let power = 10f64.powf((span / 6.0).log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| span / (factor * power) <= 6.0).unwrap_or(10.0);
    factor * power
}

/// The text of a tick, with as many decimals as an axis of length `span` needs.
fn number(value: f64, span: f64) -> String {
    let digits = (-tick_step(span).log10()).ceil().max(0.0) as usize;
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Losses;

    fn entry(step: u64) -> LogEntry {
        let losses =
            Losses { gan: 1.0 / step as f32, perceptual: f32::from(step.is_multiple_of(2)), ..Default::default() };
        LogEntry::new(step, losses, [1e-4, 4e-4], [1.0, 0.0], 1)
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.0, 1000.0), [0.0, 200.0, 400.0, 600.0, 800.0, 1000.0]);
        let shown = |low, high| ticks(low, high).into_iter().map(|v| number(v, high - low)).collect::<Vec<_>>();
        assert_eq!(shown(1.93, 2.011), ["1.94", "1.96", "1.98", "2.00"]);
        assert_eq!(shown(-0.3, 0.61), ["-0.2", "0.0", "0.2", "0.4", "0.6"]);
    }

    #[test]
    fn neighbours_share_a_bin() {
        let entries: Vec<_> = (1..=1000).map(entry).collect();
        let bins = binned(&entries, |entry| entry.perceptual);
        assert_eq!(bins.len(), POINTS);
        assert_eq!(bins[1], Bin { step: 10.0, mean: 0.6, least: 0.0, greatest: 1.0 });
    }

    #[test]
    fn a_curve_is_drawn_for_any_number_of_steps() {
        for steps in [1, 2, 777] {
            let image = curves(&(1..=steps).map(entry).collect::<Vec<_>>());
            let is_blue = |colour: [f32; 3]| colour[2] > colour[0] + 0.3;
            let blue = (0..HEIGHT * WIDTH).filter(|i| is_blue(image.pixel(i / WIDTH, i % WIDTH))).count();
            assert!(steps == 1 || blue > 500, "{steps} steps: {blue} pixels of curves");
        }
    }
}
