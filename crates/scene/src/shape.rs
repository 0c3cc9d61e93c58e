//! Outlines in figure coordinates, and affine maps.
//!
//! Only + - * / and square roots are used, whose results IEEE 754 fixes; sines would differ between platforms.

use std::ops::{Add, Mul, Sub};

/// A point or a vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// Increases to the right.
    pub x: f32,
    /// Increases downwards.
    pub y: f32,
}

/// The point (x, y).
pub(super) const fn at(x: f32, y: f32) -> Point {
    Point { x, y }
}

impl Add for Point {
    type Output = Point;
    fn add(self, o: Point) -> Point {
        at(self.x + o.x, self.y + o.y)
    }
}

impl Sub for Point {
    type Output = Point;
    fn sub(self, o: Point) -> Point {
        at(self.x - o.x, self.y - o.y)
    }
}

impl Mul<f32> for Point {
    type Output = Point;
    fn mul(self, k: f32) -> Point {
        at(self.x * k, self.y * k)
    }
}

impl Point {
    /// The dot product.
    pub(super) fn dot(self, o: Point) -> f32 {
        self.x * o.x + self.y * o.y
    }

    /// The Euclidean norm.
    pub(super) fn norm(self) -> f32 {
        self.dot(self).sqrt()
    }

    /// The unit vector in the same direction; the zero vector stays zero.
    pub(super) fn unit(self) -> Point {
        self * (1.0 / self.norm().max(1e-12))
    }

    /// A quarter turn clockwise, as seen with y pointing down.
    pub(super) fn turned(self) -> Point {
        at(-self.y, self.x)
    }

    /// The point at the fraction `t` of the way to `o`.
    pub(super) fn toward(self, o: Point, t: f32) -> Point {
        self + (o - self) * t
    }
}

/// The unit vector at the angle 2 atan(t) from straight down, towards positive x where `t` is positive.
pub(super) fn direction(t: f32) -> Point {
    at(2.0 * t, 1.0 - t * t) * (1.0 / (1.0 + t * t))
}

/// The map p -> origin + p.x * right + p.y * down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine {
    /// What one unit of x adds.
    pub right: Point,
    /// What one unit of y adds.
    pub down: Point,
    /// The image of (0, 0).
    pub origin: Point,
}

impl Affine {
    /// The image of `p`.
    pub(super) fn apply(&self, p: Point) -> Point {
        self.origin + self.right * p.x + self.down * p.y
    }

    /// `first`, then this map.
    pub(super) fn after(&self, first: &Affine) -> Affine {
        let turn = |p: Point| self.right * p.x + self.down * p.y;
        Affine { right: turn(first.right), down: turn(first.down), origin: self.apply(first.origin) }
    }

    /// The inverse map.
    pub(super) fn inverse(&self) -> Affine {
        let k = 1.0 / (self.right.x * self.down.y - self.right.y * self.down.x);
        let back = Affine {
            right: at(self.down.y, -self.right.y) * k,
            down: at(-self.down.x, self.right.x) * k,
            origin: at(0.0, 0.0),
        };
        Affine { origin: back.apply(self.origin) * -1.0, ..back }
    }
}

/// A union of closed polygons.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape(pub Vec<Vec<Point>>);

impl Shape {
    /// The union with `other`.
    pub(super) fn with(mut self, other: Shape) -> Shape {
        self.0.extend(other.0);
        self
    }
}

/// A path of straight and curved pieces; curves are flattened as they are added.
pub(super) struct Outline(Vec<Point>);

/// Line segments per curve: enough for a face a thousand pixels tall.
const STEPS: usize = 20;

impl Outline {
    /// An outline that starts at `p`.
    pub(super) fn from(p: Point) -> Self {
        Self(vec![p])
    }

    /// Adds a straight line.
    pub(super) fn line(mut self, to: Point) -> Self {
        self.0.push(to);
        self
    }

    /// Adds a quadratic Bézier curve.
    pub(super) fn curve(mut self, control: Point, to: Point) -> Self {
        let from = self.0[self.0.len() - 1];
        for i in 1..=STEPS {
            let t = i as f32 / STEPS as f32;
            self.0.push(from.toward(control, t).toward(control.toward(to, t), t));
        }
        self
    }

    /// The first point.
    pub(super) fn start(&self) -> Point {
        self.0[0]
    }

    /// The points, as an open line.
    pub(super) fn points(self) -> Vec<Point> {
        self.0
    }

    /// The area inside.
    pub(super) fn close(self) -> Shape {
        Shape(vec![self.0])
    }

    /// The area inside, and its mirror image across x = `axis`.
    pub(super) fn mirrored(self, axis: f32) -> Shape {
        let mirror = self.0.iter().map(|p| at(2.0 * axis - p.x, p.y)).collect();
        Shape(vec![self.0, mirror])
    }
}

/// The closed smooth curve through `points` (Catmull-Rom).
pub(super) fn blob(points: &[Point]) -> Shape {
    let n = points.len();
    let mut out = Vec::with_capacity(n * STEPS);
    for i in 0..n {
        let [a, b, c, d] = [0, 1, 2, 3].map(|k| points[(i + k) % n]);
        for s in 0..STEPS {
            let t = s as f32 / STEPS as f32;
            let (t2, t3) = (t * t, t * t * t);
            out.push(
                (b * 2.0 + (c - a) * t + (a * 2.0 - b * 5.0 + c * 4.0 - d) * t2 + (b * 3.0 - a - c * 3.0 + d) * t3)
                    * 0.5,
            );
        }
    }
    Shape(vec![out])
}

/// An ellipse with its axes along x and y.
pub(super) fn ellipse(center: Point, rx: f32, ry: f32) -> Shape {
    // A half turn, then its mirror image through the centre.
    let half = (0..2 * STEPS).map(|i| {
        let d = direction((i as f32 / STEPS as f32) - 1.0);
        at(d.x * rx, d.y * ry)
    });
    let half: Vec<Point> = half.collect();
    let points = half.iter().copied().chain(half.iter().map(|&p| p * -1.0));
    Shape(vec![points.map(|p| center + p).collect()])
}

/// How a limb ends.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum End {
    /// With a half circle.
    Round,
    /// Straight across, like a sleeve.
    Flat,
}

/// A line with a radius at each point; its first end is round.
pub(super) fn limb(line: &[(Point, f32)], end: End) -> Shape {
    let mut shape = Shape::default();
    for (i, &(p, r)) in line.iter().enumerate() {
        if end == End::Round || i + 1 < line.len() {
            shape = shape.with(ellipse(p, r, r));
        }
    }
    for pair in line.windows(2) {
        let [(p, r), (q, s)] = [pair[0], pair[1]];
        shape = shape.with(tapered(p, r, q, s));
    }
    shape
}

/// A straight line, `radius` wide to each side, with flat ends.
pub(super) fn bar(from: Point, to: Point, radius: f32) -> Shape {
    tapered(from, radius, to, radius)
}

fn tapered(p: Point, r: f32, q: Point, s: f32) -> Shape {
    let side = (q - p).unit().turned();
    let corners = [p + side * r, q + side * s, q - side * s, p - side * r];
    Shape(vec![corners.to_vec()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_undoes() {
        let map = Affine { right: at(3.0, 0.5), down: at(-0.25, 2.0), origin: at(7.0, -1.0) };
        let p = map.inverse().apply(map.apply(at(0.3, -0.8)));
        assert!((p - at(0.3, -0.8)).norm() < 1e-6, "{p:?}");
        let p = map.after(&map.inverse()).apply(at(0.3, -0.8));
        assert!((p - at(0.3, -0.8)).norm() < 1e-6, "{p:?}");
    }

    #[test]
    fn ellipses_are_round_all_over() {
        let Shape(polygons) = ellipse(at(1.0, 2.0), 3.0, 3.0);
        assert!(polygons[0].iter().all(|&p| ((p - at(1.0, 2.0)).norm() - 3.0).abs() < 1e-5));
        let area = polygons[0].iter().zip(polygons[0].iter().cycle().skip(1));
        let area: f32 = area.map(|(&a, &b)| (a - at(1.0, 2.0)).turned().dot(b - at(1.0, 2.0)) / 2.0).sum();
        assert!((area.abs() / 28.27 - 1.0).abs() < 0.01, "{area}");
    }
}
