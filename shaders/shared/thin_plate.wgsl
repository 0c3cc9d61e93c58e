// The thin-plate spline of alias_plan::ThinPlate. Needs math.wgsl and the buffers of `Spline` in tps_grid.rs:
// `coefficient` (batch, TERMS), for x and y; `line`, `column_x`, `row_y`: coordinates of control points, columns and rows.
//
// U(d) = d ln(d / 4), not d ln d: for squared distances up to 6.5, the sums have smaller rounding errors.
// It is the same spline: the sums of w_k and w_k p_k are 0, so the change is the constant ln 4 (sum over k of w_k |p_k|^2),
// which a0 takes back.

const SIDE = 5u;   // control points: SIDE x SIDE
const POINTS = 25u;
const TERMS = 28u; // U of the distance from each control point, 1, x, y

// U(d) of the squared distance of a point from control point k
fn bend(k: u32, point: vec2f) -> f32 {
    let apart = point - vec2f(line[k / SIDE], line[k % SIDE]);
    let d = dot(apart, apart);
    return select(d * precise_ln(0.25 * d), 0.0, d == 0.0);
}

// Where to look for the pixel in row i and column j. The point itself is added last, for accuracy.
fn look_up_at(n: u32, i: u32, j: u32) -> vec2f {
    let point = vec2f(column_x[j], row_y[i]);
    let at = n * TERMS;
    var moved = vec2f();
    for (var k = 0u; k < POINTS; k++) { moved += coefficient[at + k] * bend(k, point); }
    let line_part = coefficient[at + POINTS] + coefficient[at + POINTS + 1u] * point.x + coefficient[at + POINTS + 2u] * point.y;
    return point + (line_part + moved);
}
