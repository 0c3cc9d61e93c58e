//! Filled shapes as Pillow's `ImageDraw` draws them, to the pixel those of Pillow 13.0.0, without antialiasing.
//!
//! Every coordinate is truncated towards zero first: 3.9 becomes 3, -0.9 becomes 0. Both ends of every span, and the
//! last row and column of every shape, belong to it. Pillow 9.4.0 differs in polygons only, by a pixel at a sharp
//! corner.

use crate::picture::Mask;

/// A point of a picture: x to the right, y down, in pixels.
pub(crate) type Point = [f64; 2];

/// Coordinates are clamped to this distance from the origin: far outside of any picture, and so near that slopes and
/// squares of what is drawn stay exact and even hostile shapes are drawn in milliseconds.
const FAR: f64 = (1 << 18) as f64;

/// A point after truncation.
type Pixel = [i64; 2];

/// The pixel that holds a point. NaN counts as 0.
fn truncated(point: Point) -> Pixel {
    point.map(|v| v.clamp(-FAR, FAR) as i64)
}

/// Sets row `y` from `x0` to `x1`, both included, as far as it lies in the picture.
fn span(mask: &mut Mask, x0: i64, y: i64, x1: i64) {
    let (height, width) = (mask.height() as i64, mask.width() as i64);
    let (x0, x1) = (x0.max(0), x1.min(width - 1));
    if (0..height).contains(&y) && x0 <= x1 {
        mask.row_mut(y as usize)[x0 as usize..=x1 as usize].fill(true);
    }
}

/// The rows of `mask` from `top` to `bottom`, both included.
fn rows(mask: &Mask, top: i64, bottom: i64) -> std::ops::RangeInclusive<i64> {
    top.max(0)..=bottom.min(mask.height() as i64 - 1)
}

/// Sets the rectangle from one corner to the other, both included.
pub(crate) fn rectangle(mask: &mut Mask, from: Point, to: Point) {
    let ([x0, y0], [x1, y1]) = (truncated(from), truncated(to));
    for y in rows(mask, y0, y1) {
        span(mask, x0, y, x1);
    }
}

/// Sets the ellipse that touches the sides of the box from one corner to the other. A box of one pixel stays empty.
///
/// One quarter of the outline is walked on the grid of step 2 through its corner (a, b), the box's width and height:
/// from (a, b mod 2) to (a mod 2, b). Each step goes up, diagonally or left, whichever leaves the smallest
/// |a² y² + b² x² - a² b²|, the earlier named on a tie. A row's half width is the first x of the walk at its y.
pub(crate) fn ellipse(mask: &mut Mask, from: Point, to: Point) {
    let ([x0, y0], [x1, y1]) = (truncated(from), truncated(to));
    let (a, b) = (x1 - x0, y1 - y0);
    let outside = x1 < 0 || y1 < 0 || x0 >= mask.width() as i64 || y0 >= mask.height() as i64;
    if a < 0 || b < 0 || a + b == 0 || outside {
        return;
    }
    // With sides of up to 2^19 pixels these products need 77 bits.
    let (a2, b2) = (i128::from(a * a), i128::from(b * b));
    let error = |[x, y]: Pixel| (a2 * i128::from(y * y) + b2 * i128::from(x * x) - a2 * b2).unsigned_abs();
    let ([mut x, mut y], mut row) = ([a, b % 2], -1);
    loop {
        if y > row {
            row = y;
            let (above, below) = (y0 + (b - y) / 2, y0 + (b + y) / 2);
            if above < 0 && below >= mask.height() as i64 {
                return; // So are all rows to come.
            }
            for line in [below, above] {
                span(mask, x0 + (a - x) / 2, line, x0 + (a + x) / 2);
            }
        }
        if [x, y] == [a % 2, b] {
            return;
        }
        let up = [x, y + 2];
        let steps = [up, [x - 2, y + 2], [x - 2, y]];
        let allowed = if x > 1 { &steps[..] } else { &steps[..1] };
        [x, y] = allowed.iter().copied().min_by_key(|&step| error(step)).unwrap_or(up);
    }
}

/// Sets a line of `width` pixels, at least 2, with butt ends; one pixel where both ends are the same.
pub(crate) fn line(mask: &mut Mask, from: Point, to: Point, width: u32) {
    let ([x0, y0], [x1, y1]) = (truncated(from), truncated(to));
    let (dx, dy) = (x1 - x0, y1 - y0);
    if dx == 0 && dy == 0 {
        return span(mask, x0, y0, x0);
    }
    // The sum of squares is exact, so that this is the correctly rounded hypotenuse on every platform.
    let (half, length) = (f64::from(width - 1) / 2.0, ((dx * dx + dy * dy) as f64).sqrt());
    let (least, most) = (half_towards_zero(half) / length, half.round() / length);
    let offset = |scale: f64, d: i64| half_towards_zero(scale * d as f64) as i64;
    let (ax, bx) = (offset(least, dy), offset(most, dy));
    let (ay, by) = (offset(least, dx), offset(most, dx));
    let corners = [[x0 - ax, y0 + by], [x1 - ax, y1 + by], [x1 + bx, y1 - ay], [x0 + bx, y0 - ay]];
    fill(mask, &[0, 1, 2, 3].map(|i| Edge::new(corners[i], corners[(i + 1) % 4])));
}

/// Sets a quadrilateral.
pub(crate) fn quadrilateral(mask: &mut Mask, corners: [Point; 4]) {
    let p = corners.map(truncated);
    let mut edges: Vec<Edge> = Vec::with_capacity(4);
    for i in 0..3 {
        let (from, to) = (p[i], p[i + 1]);
        let goes_on = |before: Pixel| before[1] == from[1] && (to[0] - from[0]) * (from[0] - before[0]) > 0;
        match edges.last_mut() {
            // A level edge that goes on in the same direction only lengthens the one before it.
            Some(last) if from[1] == to[1] && goes_on(p[i - 1]) => {
                *(if to[0] > from[0] { &mut last.right } else { &mut last.left }) = to[0];
            }
            _ => edges.push(Edge::new(from, to)),
        }
    }
    if p[3] != p[0] {
        edges.push(Edge::new(p[3], p[0]));
    }
    fill(mask, &edges);
}

/// Nearest integer, halves away from zero; the sum is rounded to `f32` as Pillow's is, unlike in `f32::round`.
fn half_away_from_zero(v: f32) -> f32 {
    (v.abs() + 0.5).floor().copysign(v)
}

/// Nearest integer, halves towards zero.
fn half_towards_zero(v: f64) -> f64 {
    (v.abs() - 0.5).ceil().copysign(v)
}

/// A side of a polygon.
struct Edge {
    /// Where it starts.
    from: Pixel,
    top: i64,
    bottom: i64,
    left: i64,
    right: i64,
    /// Columns a row; 0 if it is level.
    slope: f32,
}

impl Edge {
    fn new(from: Pixel, to: Pixel) -> Self {
        let ([x0, y0], [x1, y1]) = (from, to);
        let slope = if y0 == y1 { 0.0 } else { (x1 - x0) as f32 / (y1 - y0) as f32 };
        Self { from, top: y0.min(y1), bottom: y0.max(y1), left: x0.min(x1), right: x0.max(x1), slope }
    }

    fn at(&self, y: i64) -> f32 {
        (y - self.from[1]) as f32 * self.slope + self.from[0] as f32
    }

    fn ends_at(&self, y: i64) -> bool {
        y == self.top || y == self.bottom
    }
}

/// Even-odd scan conversion in `f32`, as Pillow does it.
///
/// Level edges are spans of their own. In each row every other edge that reaches it, ends included, gives its x; once
/// more if it ends there and the polygon goes on below. Sorted, they are the ends of spans: the left one is rounded
/// half away from zero, the right one half towards it.
fn fill(mask: &mut Mask, edges: &[Edge]) {
    for edge in edges.iter().filter(|edge| edge.top == edge.bottom) {
        span(mask, edge.left, edge.top, edge.right);
    }
    let slanted: Vec<&Edge> = edges.iter().filter(|edge| edge.top < edge.bottom).collect();
    let top = edges.iter().map(|edge| edge.top).min().unwrap_or(0);
    let bottom = edges.iter().map(|edge| edge.bottom).max().unwrap_or(-1);
    let mut ends = Vec::with_capacity(2 * edges.len());
    for y in rows(mask, top, bottom) {
        ends.clear();
        for (i, edge) in slanted.iter().enumerate().filter(|(_, edge)| (edge.top..=edge.bottom).contains(&y)) {
            let x = edge.at(y);
            if y == edge.bottom && y < bottom {
                ends.extend([x, x]);
            } else if edge.ends_at(y) && edge.slope != 0.0 {
                ends.push(corner(x, edge, &slanted[..i], y));
            } else {
                ends.push(x);
            }
        }
        ends.sort_by(f32::total_cmp);
        for pair in ends.chunks_exact(2) {
            span(mask, half_away_from_zero(pair[0]) as i64, y, half_towards_zero(pair[1].into()) as i64);
        }
    }
}

/// A corner may stick out by more than a pixel beyond what the neighbouring row has; it is pulled in to one pixel
/// beyond. `before` are the edges listed before `edge`: the first of them that meets it here and reaches that row
/// decides.
fn corner(x: f32, edge: &Edge, before: &[&Edge], y: i64) -> f32 {
    let near = if y == edge.bottom { y - 1 } else { y + 1 };
    let meets = |other: &&&Edge| {
        other.ends_at(y)
            && other.slope != 0.0
            && half_away_from_zero(x) == half_away_from_zero(other.at(y))
            && (other.top..=other.bottom).contains(&near)
    };
    let Some(other) = before.iter().find(meets) else {
        return x;
    };
    let (p, q) = (edge.at(near), other.at(near));
    if x > p + 1.0 && x > q + 1.0 {
        half_away_from_zero(p.max(q)) + 1.0
    } else if x < p - 1.0 && x < q - 1.0 {
        half_away_from_zero(p.min(q)) - 1.0
    } else {
        x
    }
}

#[cfg(test)]
mod tests;
