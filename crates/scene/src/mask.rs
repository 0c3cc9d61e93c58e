//! How much of each pixel a shape covers.

use crate::shape::{Affine, Shape};
use std::ops::Range;

/// Each pixel's coverage in [0, 1]. Rows outside `rows` are zero, so that small shapes cost little.
#[derive(Clone)]
pub(super) struct Mask {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// The rows that may be nonzero.
    pub rows: Range<usize>,
    /// (H, W), row-major.
    pub cover: Vec<f32>,
}

impl Mask {
    /// Nothing covered.
    pub(super) fn empty(height: usize, width: usize) -> Self {
        Self { height, width, rows: 0..0, cover: vec![0.0; height * width] }
    }

    /// The exact area coverage of `shape`, mapped to pixels by `view`. Polygons may overlap, and each may run clockwise
    /// or counterclockwise.
    pub(super) fn draw(height: usize, width: usize, shape: &Shape, view: &Affine) -> Self {
        let mut edges = Edges { height, width, delta: vec![0.0; height * (width + 2)], rows: height..0 };
        for polygon in &shape.0 {
            let points: Vec<_> = polygon.iter().map(|&p| view.apply(p)).collect();
            let pairs = || points.iter().zip(points.iter().cycle().skip(1));
            let area: f32 = pairs().map(|(a, b)| a.x * b.y - b.x * a.y).sum();
            let sign = if area < 0.0 { -1.0 } else { 1.0 };
            for (a, b) in pairs() {
                edges.add([a.x, a.y], [b.x, b.y], sign);
            }
        }
        edges.fill()
    }

    /// Covered by either.
    pub(super) fn or(mut self, other: &Mask) -> Mask {
        for i in other.pixels() {
            self.cover[i] = self.cover[i].max(other.cover[i]);
        }
        if !other.rows.is_empty() {
            let rows = if self.rows.is_empty() { other.rows.clone() } else { self.rows };
            self.rows = rows.start.min(other.rows.start)..rows.end.max(other.rows.end);
        }
        self
    }

    /// Covered by both.
    pub(super) fn and(mut self, other: &Mask) -> Mask {
        for i in self.pixels() {
            self.cover[i] *= other.cover[i];
        }
        self
    }

    /// Covered by this and not by the other.
    pub(super) fn without(mut self, other: &Mask) -> Mask {
        for i in self.pixels() {
            self.cover[i] *= 1.0 - other.cover[i];
        }
        self
    }

    /// Two box blurs of `radius` pixels, along rows and along columns: together a tent filter. Pixels outside the
    /// picture equal the nearest one inside.
    pub(super) fn blurred(&self, radius: f32) -> Mask {
        let reach = 2 * radius.ceil() as usize + 2;
        let rows = match self.rows.is_empty() {
            true => 0..0,
            false => self.rows.start.saturating_sub(reach)..(self.rows.end + reach).min(self.height),
        };
        let mut out = Mask { rows, ..self.clone() };
        let mut blur = BoxBlur::new(radius);
        // Most shapes are narrow, and an empty column stays empty.
        let mut used = vec![false; self.width];
        for y in self.rows.clone() {
            let row = &mut out.cover[y * self.width..][..self.width];
            blur.line(row);
            blur.line(row);
            for (used, value) in used.iter_mut().zip(row) {
                *used |= *value != 0.0;
            }
        }
        let mut column = vec![0.0; out.rows.len()];
        for x in (0..self.width).filter(|&x| used[x]) {
            for (value, y) in column.iter_mut().zip(out.rows.clone()) {
                *value = out.cover[y * self.width + x];
            }
            blur.line(&mut column);
            blur.line(&mut column);
            for (value, y) in column.iter().zip(out.rows.clone()) {
                out.cover[y * self.width + x] = *value;
            }
        }
        out
    }

    /// The indices of the pixels in `rows`.
    pub(super) fn pixels(&self) -> Range<usize> {
        self.rows.start * self.width..self.rows.end * self.width
    }

    /// The coverage at (x, y), or of the nearest pixel where that is outside the picture.
    pub(super) fn nearest(&self, x: f32, y: f32) -> f32 {
        let clamp = |v: f32, n: usize| (v.max(0.0) as usize).min(n - 1);
        self.cover[clamp(y, self.height) * self.width + clamp(x, self.width)]
    }
}

/// A box filter of a fractional radius, with its scratch memory.
struct BoxBlur {
    radius: f32,
    sums: Vec<f64>,
}

impl BoxBlur {
    fn new(radius: f32) -> Self {
        Self { radius, sums: Vec::new() }
    }

    fn line(&mut self, line: &mut [f32]) {
        let Some((&first, &last)) = line.first().zip(line.last()) else {
            return;
        };
        let whole = self.radius as usize;
        let pad = whole + 1;
        let (ends, size) = (f64::from(self.radius) - whole as f64, 1.0 + 2.0 * f64::from(self.radius));
        let padded = std::iter::repeat_n(first, pad).chain(line.iter().copied()).chain(std::iter::repeat_n(last, pad));
        let mut sum = 0.0;
        self.sums.clear();
        self.sums.push(0.0);
        self.sums.extend(padded.map(|v| {
            sum += f64::from(v);
            sum
        }));
        // sums[k] holds the padded values before k; pixel i is padded value i + pad.
        for (i, value) in line.iter_mut().enumerate() {
            let inner = self.sums[i + pad + whole + 1] - self.sums[i + pad - whole];
            let outer = self.sums[i + 2 * pad + 1] - self.sums[i];
            *value = ((inner + ends * (outer - inner)) / size) as f32;
        }
    }
}

/// The signed area to the right of every edge, as differences along each row: their running sum is the coverage.
struct Edges {
    height: usize,
    width: usize,
    /// (H, W + 2).
    delta: Vec<f32>,
    rows: Range<usize>,
}

impl Edges {
    fn add(&mut self, a: [f32; 2], b: [f32; 2], sign: f32) {
        let (sign, [x0, y0], [x1, y1]) = if a[1] < b[1] { (sign, a, b) } else { (-sign, b, a) };
        let (top, bottom) = (y0.max(0.0), y1.min(self.height as f32));
        if top >= bottom {
            return;
        }
        let slope = (x1 - x0) / (y1 - y0);
        let rows = top as usize..(bottom.ceil() as usize).min(self.height);
        self.rows = self.rows.start.min(rows.start)..self.rows.end.max(rows.end);
        for row in rows {
            let (from, to) = (top.max(row as f32), bottom.min((row + 1) as f32));
            // An edge left of the picture covers the whole row, one right of it nothing.
            let cross = |y: f32| (x0 + (y - y0) * slope).clamp(0.0, self.width as f32);
            let (p, q) = (cross(from), cross(to));
            self.span(row, p.min(q), p.max(q), (to - from) * sign);
        }
    }

    /// Adds an edge that lies within one row: straight from x = `p` to `q`, `d` high.
    fn span(&mut self, row: usize, p: f32, q: f32, d: f32) {
        let delta = &mut self.delta[row * (self.width + 2)..][..self.width + 2];
        // The area between the edge and x, per unit of d.
        let area = |x: f32| match x {
            _ if x <= p => 0.0,
            _ if x >= q => x - (p + q) / 2.0,
            _ => (x - p) * (x - p) / (2.0 * (q - p)),
        };
        let (mut covered, mut before) = (0.0, 0.0);
        let (first, last) = (p as usize, (q as usize + 1).min(self.width));
        for (slot, right) in delta[first..=last].iter_mut().zip(first + 1..) {
            let column = area(right as f32) - covered;
            *slot += d * (column - before);
            (covered, before) = (covered + column, column);
        }
    }

    fn fill(self) -> Mask {
        let rows = self.rows.start.min(self.rows.end)..self.rows.end;
        let mut mask = Mask { rows, ..Mask::empty(self.height, self.width) };
        for y in mask.rows.clone() {
            let mut sum = 0.0;
            for x in 0..self.width {
                sum += self.delta[y * (self.width + 2) + x];
                // Rounding leaves about a millionth to the right of a shape.
                let cover = sum.abs().min(1.0);
                mask.cover[y * self.width + x] = if cover < 1e-4 { 0.0 } else { cover };
            }
        }
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Outline, at, ellipse};

    const PIXELS: Affine = Affine { right: at(1.0, 0.0), down: at(0.0, 1.0), origin: at(0.0, 0.0) };

    fn total(shape: &Shape) -> f32 {
        Mask::draw(20, 30, shape, &PIXELS).cover.iter().sum()
    }

    #[test]
    fn coverage_is_the_area() {
        let square = Outline::from(at(2.25, 3.5)).line(at(8.75, 3.5)).line(at(8.75, 9.0)).line(at(2.25, 9.0)).close();
        assert!((total(&square) - 6.5 * 5.5).abs() < 1e-3);
        let triangle = Outline::from(at(1.0, 1.0)).line(at(28.3, 6.0)).line(at(4.0, 19.0)).close();
        assert!((total(&triangle) - 238.2).abs() < 0.1, "{}", total(&triangle));
        assert!((total(&ellipse(at(15.0, 10.0), 9.0, 7.0)) / 197.9 - 1.0).abs() < 0.01);
    }

    #[test]
    fn what_sticks_out_is_cut_off() {
        let huge = Outline::from(at(-9.0, -9.0)).line(at(99.0, -9.0)).line(at(99.0, 99.0)).line(at(-9.0, 99.0)).close();
        let mask = Mask::draw(20, 30, &huge, &PIXELS);
        assert!(mask.cover.iter().all(|&c| c == 1.0));
        assert_eq!(total(&ellipse(at(-50.0, 10.0), 9.0, 7.0)), 0.0);
        assert_eq!(total(&ellipse(at(80.0, 10.0), 9.0, 7.0)), 0.0);
        assert_eq!(total(&ellipse(at(15.0, -10.0), 9.0, 7.0)), 0.0);
    }

    #[test]
    fn overlaps_count_once() {
        let once = ellipse(at(15.0, 10.0), 6.0, 6.0);
        let backwards = Shape(once.0.iter().map(|p| p.iter().rev().copied().collect()).collect());
        let twice = Mask::draw(20, 30, &once.clone().with(backwards), &PIXELS);
        let once = Mask::draw(20, 30, &once, &PIXELS);
        for (a, b) in once.cover.iter().zip(&twice.cover).filter(|(a, _)| **a == 0.0 || **a == 1.0) {
            assert_eq!(a, b);
        }
    }

    #[test]
    fn blurring_keeps_the_sum() {
        let mask = Mask::draw(40, 40, &ellipse(at(20.0, 20.0), 8.0, 8.0), &PIXELS);
        let blurred = mask.blurred(2.6);
        let (a, b) = (mask.cover.iter().sum::<f32>(), blurred.cover.iter().sum::<f32>());
        assert!((a / b - 1.0).abs() < 1e-4);
        assert!(blurred.cover[20 * 40 + 20] > 0.99 && blurred.cover[20 * 40 + 30] > 0.0);
    }
}
