//! The geometry of sliding windows. Knows no values.

use super::tiles::Nhwc;

/// A square window that a convolution or a pooling moves over a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlidingWindow {
    pub(crate) side: usize,
    pub(crate) stride: usize,
    /// The number of pixels added on each side of the map.
    pub(crate) padding: usize,
}

impl SlidingWindow {
    /// The number of places of the window along a side of `length` pixels; 0 if it does not fit.
    pub(crate) fn places(self, length: usize) -> usize {
        let free = (length + 2 * self.padding).checked_sub(self.side);
        free.map_or(0, |free| free / self.stride + 1)
    }

    /// Like `places`, rounded up as by PyTorch's `ceil_mode`: an incomplete last window counts if it starts inside the map or in
    /// the padding before it.
    pub(crate) fn places_rounded_up(self, length: usize) -> usize {
        let free = (length + 2 * self.padding + self.stride - 1).checked_sub(self.side);
        let places = free.map_or(0, |free| free / self.stride + 1);
        let ends_outside = places > 0 && (places - 1) * self.stride >= length + self.padding;
        places - usize::from(ends_outside)
    }

    /// The sizes after a convolution with this window.
    pub(crate) fn after(self, shape: Nhwc, channels: usize) -> Nhwc {
        Nhwc {
            n: shape.n,
            height: self.places(shape.height),
            width: self.places(shape.width),
            channels,
        }
    }

    /// The number of pixels under the window.
    pub(crate) fn taps(self) -> usize {
        self.side * self.side
    }
}
