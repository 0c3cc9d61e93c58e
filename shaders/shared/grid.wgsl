// Linear indices of a workgroup and an invocation: alias-tensor's `Work::grid` may split a grid over two dimensions.

fn group_index(wg: vec3u, nwg: vec3u) -> u32 {
    return wg.y * nwg.x + wg.x;
}

fn thread_index(wg: vec3u, nwg: vec3u, lane: u32) -> u32 {
    return group_index(wg, nwg) * WG + lane;
}
