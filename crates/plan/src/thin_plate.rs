//! The thin-plate spline that warps a garment (Bookstein 1989; Wang et al., "CP-VTON", 2018).

/// A thin-plate spline with 5x5 control points.
///
/// It maps a point (x, y) to `(x, y) + a0 + a1 x + a2 y + sum_k w_k U(|(x, y) - p_k|^2)` with `U(d) = d ln d`, in each coordinate,
/// so that each control point p_k goes to p_k plus its displacement. Splines reproduce straight lines, so only the displacements
/// need to go through it, which is several times as exact as displaced points.
#[derive(Clone, Copy, Debug)]
pub struct ThinPlate;

impl ThinPlate {
    /// Number of control points.
    pub const POINTS: usize = 25;
    /// The coordinates of the control points. Point 5 i + j is at x = `LINES[i]`, y = `LINES[j]`: y runs fastest.
    pub const LINES: [f64; 5] = [-0.9, -0.45, 0.0, 0.45, 0.9];

    /// x of column `k` of `count`, or y of a row: from -0.9 to 0.9. Without displacements, the middle nine tenths of a
    /// picture are shown.
    pub fn position(k: usize, count: usize) -> f64 {
        if count > 1 { -0.9 + 1.8 * k as f64 / (count - 1) as f64 } else { -0.9 }
    }

    /// The weights w of the control points and a0, a1, a2, for x and for y. `theta` (50) are the displacements in x, then
    /// in y.
    pub fn coefficients(theta: &[f32]) -> [[f32; ThinPlate::POINTS + 3]; 2] {
        let inverse = ThinPlate::inverse();
        let mut coefficients = [[0.0; ThinPlate::POINTS + 3]; 2];
        for (coefficients, displacements) in coefficients.iter_mut().zip(theta.chunks_exact(ThinPlate::POINTS)) {
            for (coefficient, row) in coefficients.iter_mut().zip(inverse) {
                let terms = row.iter().zip(displacements).map(|(&l, &d)| l * f64::from(d));
                *coefficient = terms.sum::<f64>() as f32;
            }
        }
        coefficients
    }

    /// The first 25 columns of the inverse of the spline's matrix, a constant: coefficients from displacements.
    pub fn inverse() -> &'static [[f64; ThinPlate::POINTS]; ThinPlate::POINTS + 3] {
        static INVERSE: std::sync::LazyLock<[[f64; ThinPlate::POINTS]; ThinPlate::POINTS + 3]> =
            std::sync::LazyLock::new(invert);
        &INVERSE
    }
}

/// U of a squared distance.
fn kernel(d: f64) -> f64 {
    if d == 0.0 { 0.0 } else { d * d.ln() }
}

/// Solves `[[K, P], [P^T, 0]] (w, a) = (displacements, 0)` for every unit displacement, by Gauss and Jordan's elimination with
/// the largest pivot.
fn invert() -> [[f64; ThinPlate::POINTS]; ThinPlate::POINTS + 3] {
    const POINTS: usize = ThinPlate::POINTS;
    const SIDE: usize = POINTS + 3;
    let points: Vec<[f64; 2]> =
        ThinPlate::LINES.iter().flat_map(|&x| ThinPlate::LINES.iter().map(move |&y| [x, y])).collect();
    let mut rows = [[0.0; SIDE + POINTS]; SIDE];
    for (i, [x, y]) in points.iter().enumerate() {
        for (j, [other_x, other_y]) in points.iter().enumerate() {
            rows[i][j] = kernel((x - other_x).powi(2) + (y - other_y).powi(2));
        }
        for (k, value) in [1.0, *x, *y].into_iter().enumerate() {
            rows[i][POINTS + k] = value;
            rows[POINTS + k][i] = value;
        }
        rows[i][SIDE + i] = 1.0;
    }
    for column in 0..SIDE {
        let largest = (column..SIDE).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()));
        rows.swap(column, largest.expect("there are rows left"));
        let pivot = rows[column].map(|value| value / rows[column][column]);
        rows[column] = pivot;
        for (at, row) in rows.iter_mut().enumerate() {
            let factor = row[column];
            if at != column {
                row.iter_mut().zip(pivot).for_each(|(value, of_pivot)| *value -= factor * of_pivot);
            }
        }
    }
    std::array::from_fn(|row| std::array::from_fn(|column| rows[row][SIDE + column]))
}

#[cfg(test)]
mod tests {
    use super::{ThinPlate, kernel};

    /// The spline in float64.
    fn displaced(theta: &[f32], [x, y]: [f64; 2]) -> [f64; 2] {
        let coefficients = ThinPlate::coefficients(theta);
        [0, 1].map(|axis| {
            let c = coefficients[axis].map(f64::from);
            let points = ThinPlate::LINES.iter().flat_map(|&px| ThinPlate::LINES.iter().map(move |&py| [px, py]));
            let bend: f64 = points.zip(c).map(|([px, py], w)| w * kernel((x - px).powi(2) + (y - py).powi(2))).sum();
            [x, y][axis] + c[25] + c[26] * x + c[27] * y + bend
        })
    }

    #[test]
    fn control_points_go_where_they_are_sent() {
        let theta: Vec<f32> = (0..50).map(|k| ((k * 37 % 19) as f32 - 9.0) / 90.0).collect();
        for i in 0..5 {
            for j in 0..5 {
                let [x, y] = displaced(&theta, [ThinPlate::LINES[i], ThinPlate::LINES[j]]);
                let (dx, dy) = (theta[5 * i + j], theta[25 + 5 * i + j]);
                let error = [x - ThinPlate::LINES[i] - f64::from(dx), y - ThinPlate::LINES[j] - f64::from(dy)];
                assert!(error.iter().all(|e| e.abs() < 1e-6), "point {i}, {j}: {error:?}");
            }
        }
    }

    /// A displacement that is linear in the point bends nothing.
    #[test]
    fn straight_lines_stay_straight() {
        let line = |x: f64, y: f64| 0.1 + 0.2 * x - 0.05 * y;
        let points: Vec<[f64; 2]> =
            ThinPlate::LINES.iter().flat_map(|&x| ThinPlate::LINES.iter().map(move |&y| [x, y])).collect();
        let theta: Vec<f32> = points.iter().chain(&points).map(|&[x, y]| line(x, y) as f32).collect();
        let [of_x, of_y] = ThinPlate::coefficients(&theta);
        for (k, (a, b)) in of_x.iter().zip(&of_y).enumerate() {
            let expected = if k < 25 { 0.0 } else { [0.1, 0.2, -0.05][k - 25] };
            assert!((a - expected).abs() < 1e-5 && (b - expected).abs() < 1e-5, "coefficient {k}: {a}, {b}");
        }
    }
}
