// Bilinear look-up in a picture, as in PyTorch's grid_sample with padding_mode="border", align_corners=False.

// first, second: column and row before and after; part: share of the second; slope: derivative of the position in pixels by
// the coordinate, 0 where it was clamped
struct LookUp { first: vec2u, second: vec2u, part: vec2f, slope: vec2f }

// `at`: (x, y), where -1 and 1 are the outer edges of a picture of `size` (w, h). NaN counts as the first edge, as in PyTorch.
fn look_up(at: vec2f, size: vec2u) -> LookUp {
    let last = vec2f(size - 1u);
    let position = at * (vec2f(size) * 0.5) + last * 0.5;
    let inside = (position > vec2f()) & (position < last);
    let clamped = select(select(vec2f(), last, position >= last), position, inside);
    // In integers once more: what is indexed must not depend on how an adapter compares NaN.
    let first = min(vec2u(clamped), size - 1u);
    let second = min(first + 1u, size - 1u);
    return LookUp(first, second, clamped - vec2f(first), select(vec2f(), vec2f(size) * 0.5, inside));
}
