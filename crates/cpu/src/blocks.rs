//! How channels lie in memory.

/// Channels that lie together.
pub const BLOCK: usize = 16;
/// Columns of weights that lie together: two blocks of output channels.
pub(crate) const PANEL: usize = 2 * BLOCK;

/// Blocks that channels take.
pub(crate) fn blocks(channels: usize) -> usize {
    channels.div_ceil(BLOCK)
}

/// Where in the blocks the channels of concatenated tensors are: of each channel, its place.
pub(crate) fn places(operands: &[usize]) -> impl Iterator<Item = usize> {
    operands
        .iter()
        .scan(0, |start, &channels| {
            let places = *start..*start + channels;
            *start += channels.next_multiple_of(BLOCK);
            Some(places)
        })
        .flatten()
}
