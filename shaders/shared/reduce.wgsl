// Sums over a workgroup of WG invocations, a power of two.

var<workgroup> partial: array<vec4f, WG>;

// The sum of every invocation's `value`, in a fixed order, known to all of them. All must call it.
fn workgroup_sum(value: vec4f, lane: u32) -> vec4f {
    partial[lane] = value;
    for (var width = WG / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if lane < width { partial[lane] += partial[lane + width]; }
    }
    workgroupBarrier();
    let total = partial[0];
    workgroupBarrier(); // before anyone overwrites `partial` for the next sum
    return total;
}
