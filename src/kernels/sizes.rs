//! The sizes of the temporary memory of convolutions, for the prediction of memory.

use super::{
    transforms::POSITIONS,
    winograd::{SHARED_TILES, SHARED_WEIGHTS, pools},
};

/// The number of values in the transformed weights of a convolution.
pub(crate) fn filter_values(in_channels: usize, out_channels: usize) -> usize {
    let taps = if pools(in_channels) { POSITIONS } else { 9 };
    taps * in_channels * out_channels.next_multiple_of(16)
}

/// The numbers of values in the transformed tiles and in the products that threads share, for this total number of tiles;
/// `None` for convolutions whose threads share nothing.
pub(crate) fn shared_scratch(
    n_tiles: usize,
    in_channels: usize,
    out_channels: usize,
) -> Option<(usize, usize)> {
    let n_values = |channels| POSITIONS * n_tiles.min(SHARED_TILES) * channels;
    (pools(in_channels) && POSITIONS * in_channels * out_channels >= SHARED_WEIGHTS)
        .then(|| (n_values(in_channels), n_values(out_channels)))
}
