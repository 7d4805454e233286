//! What convolutions take beside what goes in and comes out, for who must know before.

use super::{
    transforms::POSITIONS,
    winograd::{SHARED_TILES, SHARED_WEIGHTS, pools},
};

/// Values of the transformed weights of a convolution.
pub(crate) fn filter_values(in_channels: usize, out_channels: usize) -> usize {
    let taps = if pools(in_channels) { POSITIONS } else { 9 };
    taps * in_channels * out_channels.next_multiple_of(16)
}

/// Values of transformed tiles and of products that threads share, where they do, for so many tiles in all.
pub(crate) fn shared_scratch(
    n_tiles: usize,
    in_channels: usize,
    out_channels: usize,
) -> Option<(usize, usize)> {
    let n_values = |channels| POSITIONS * n_tiles.min(SHARED_TILES) * channels;
    (pools(in_channels) && POSITIONS * in_channels * out_channels >= SHARED_WEIGHTS)
        .then(|| (n_values(in_channels), n_values(out_channels)))
}
