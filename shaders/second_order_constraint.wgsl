// Second-order constraint.   y = (|s.x m.x| + |s.y m.y|) / (n (n - 2)) + |d.x s.y - d.y s.x| for three points in a row
// d, e: the two steps between the points; s = e - d, m = e + d, so s m = e^2 - d^2 and d x s = d x e. The undisplaced points
// are evenly spaced, so s follows from the displacements alone and does not cancel.
override WG: u32 = 256;

struct Params { batch: u32, n: u32, spacing: f32 } // n by n points, their distance

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> theta: array<f32>;          // (batch, 2, n n): x, y of the displacements

fn displacement(image: u32, point: u32) -> vec2f {
    let at = image * 2u * p.n * p.n + point;
    return vec2f(theta[at], theta[at + p.n * p.n]);
}

struct Triple { d: vec2f, s: vec2f, m: vec2f }

// Points `at` .. `at` + 2 of a line: lines along y (0), whose points follow each other, or along x (1).
fn triple(image: u32, along_x: u32, line: u32, at: u32) -> Triple {
    let apart = select(1u, p.n, along_x != 0u);
    let first = at * apart + line * select(p.n, 1u, along_x != 0u);
    let t0 = displacement(image, first);
    let t1 = displacement(image, first + apart);
    let t2 = displacement(image, first + 2u * apart);
    let step = p.spacing * select(vec2f(0.0, 1.0), vec2f(1.0, 0.0), along_x != 0u);
    return Triple(step + (t1 - t0), (t2 - t1) - (t1 - t0), 2.0 * step + (t2 - t0));
}

// forward: one invocation per three points
@group(0) @binding(2) var<storage, read_write> y: array<f32>;        // (batch, 2, n, n - 2): direction, line, first point

@compute @workgroup_size(WG)
fn forward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    let starts = p.n - 2u;
    if i >= p.batch * 2u * p.n * starts { return; }
    let t = triple(i / (2u * p.n * starts), i / (p.n * starts) % 2u, i / starts % p.n, i % starts);
    let change = abs(t.s * t.m);
    y[i] = (change.x + change.y) / f32(p.n * starts) + abs(t.d.x * t.s.y - t.d.y * t.s.x);
}

// backward: one invocation per point, which sums over the up to six times three points that it is one of
@group(0) @binding(2) var<storage, read> dy: array<f32>;             // (batch, 2, n, n - 2)
@group(0) @binding(3) var<storage, read_write> dtheta: array<f32>;   // (batch, 2, n n)

@compute @workgroup_size(WG)
fn backward(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    let points = p.n * p.n;
    if i >= p.batch * points { return; }
    let image = i / points;
    let point = i % points;
    let starts = p.n - 2u;
    var sum = vec2f();
    for (var along_x = 0u; along_x < 2u; along_x++) {
        let line = select(point / p.n, point % p.n, along_x != 0u);
        let place = select(point % p.n, point / p.n, along_x != 0u);
        for (var k = 0u; k < 3u; k++) { // its place among the three
            if place < k || place - k >= starts { continue; }
            let t = triple(image, along_x, line, place - k);
            // Derivatives of d, s and m by the k-th point's displacement.
            let by = vec3f(array(-1.0, 1.0, 0.0)[k], array(1.0, -2.0, 1.0)[k], array(-1.0, 0.0, 1.0)[k]);
            let change = sign(t.s * t.m) * (by.y * t.m + by.z * t.s) / f32(points - 2u * p.n);
            let area = sign(t.d.x * t.s.y - t.d.y * t.s.x)
                * (by.x * vec2f(t.s.y, -t.s.x) + by.y * vec2f(-t.d.y, t.d.x));
            sum += dy[((image * 2u + along_x) * p.n + line) * starts + place - k] * (change + area);
        }
    }
    dtheta[image * 2u * points + point] = sum.x;
    dtheta[(image * 2u + 1u) * points + point] = sum.y;
}
