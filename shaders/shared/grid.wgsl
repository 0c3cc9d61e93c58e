// Where this invocation stands in a grid that the launch split in two dimensions (Work::grid in alias-tensor).

fn group_index(wg: vec3u, nwg: vec3u) -> u32 {
    return wg.y * nwg.x + wg.x;
}

fn thread_index(wg: vec3u, nwg: vec3u, lane: u32) -> u32 {
    return group_index(wg, nwg) * WG + lane;
}
