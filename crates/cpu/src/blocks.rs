//! How channels lie in memory.

/// Channels per block.
pub const BLOCK: usize = 16;
/// Columns per panel of weights: two blocks of output channels.
pub const PANEL: usize = 2 * BLOCK;

/// Blocks that `channels` take, the last one padded.
pub fn blocks(channels: usize) -> usize {
    channels.div_ceil(BLOCK)
}

/// The place of each channel in blocks when tensors of these channels are concatenated: each tensor starts a new block.
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
