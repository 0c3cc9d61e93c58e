// Sums over a workgroup of WG invocations, a power of two.

var<workgroup> partial: array<vec4f, WG>;

// Returns to every invocation the sum of all `value`s, added in a fixed order. Every invocation must call it.
fn workgroup_sum(value: vec4f, lane: u32) -> vec4f {
    partial[lane] = value;
    for (var width = WG / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if lane < width { partial[lane] += partial[lane + width]; }
    }
    workgroupBarrier();
    let total = partial[0];
    workgroupBarrier(); // before the next sum overwrites `partial`
    return total;
}
