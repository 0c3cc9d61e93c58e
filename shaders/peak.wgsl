// Peak throughput of an adapter: multiply-adds in registers, and a copy.
override WG: u32 = 256;

struct Params { n: u32, rounds: u32 } // invocations; rounds of 64 vec4 multiply-adds

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;            // (n)
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;      // (n)

// multiply_add: eight independent chains
@compute @workgroup_size(WG)
fn multiply_add(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i >= p.n { return; }
    let v = x[i];
    var a = v; var b = v + 1.0; var c = v + 2.0; var d = v + 3.0;
    var e = v + 4.0; var f = v + 5.0; var g = v + 6.0; var h = v + 7.0;
    for (var k = 0u; k < p.rounds; k++) {
        for (var m = 0u; m < 8u; m++) {
            a = fma(a, v, v); b = fma(b, v, v); c = fma(c, v, v); d = fma(d, v, v);
            e = fma(e, v, v); f = fma(f, v, v); g = fma(g, v, v); h = fma(h, v, v);
        }
    }
    y[i] = a + b + c + d + e + f + g + h;
}

@compute @workgroup_size(WG)
fn copy(@builtin(workgroup_id) wg: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lane: u32) {
    let i = thread_index(wg, nwg, lane);
    if i < p.n { y[i] = x[i]; }
}
