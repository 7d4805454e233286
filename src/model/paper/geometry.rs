//! The geometry of layers with windows. Pure.

use crate::kernels::window::SlidingWindow;

/// The geometry of `torch.nn.Conv2d`: square kernels, the same stride and padding in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    pub(crate) side: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) groups: usize,
}

/// The geometry of `torch.nn.MaxPool2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MaxPool {
    pub(crate) side: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    /// Whether a window that is only partly inside the image counts (PyTorch's `ceil_mode`).
    pub(crate) ceil: bool,
}

impl Kernel {
    /// A kernel with stride 1 that keeps the size of the image.
    pub(crate) const fn new(side: usize) -> Self {
        Self {
            side,
            stride: 1,
            padding: (side - 1) / 2,
            groups: 1,
        }
    }

    pub(crate) const fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    pub(crate) const fn padding(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    pub(crate) const fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// The length of the output along an axis of `length` pixels; 0 if the kernel does not fit.
    pub(crate) fn after(self, length: usize) -> usize {
        let Self {
            side,
            stride,
            padding,
            groups: _,
        } = self;
        SlidingWindow {
            side,
            stride,
            padding,
        }
        .places(length)
    }
}

impl MaxPool {
    pub(crate) const fn new(side: usize, stride: usize) -> Self {
        Self {
            side,
            stride,
            padding: 0,
            ceil: false,
        }
    }

    pub(crate) const fn padding(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    pub(crate) const fn ceil(self) -> Self {
        Self { ceil: true, ..self }
    }

    /// The length of the output along an axis of `length` pixels; 0 if the window does not fit.
    /// Source: `pooling_output_shape` in PyTorch's `aten/src/ATen/native/Pool.h`.
    pub(crate) fn after(self, length: usize) -> usize {
        let Self {
            side,
            stride,
            padding,
            ceil,
        } = self;
        let window = SlidingWindow {
            side,
            stride,
            padding,
        };
        if ceil {
            window.places_rounded_up(length)
        } else {
            window.places(length)
        }
    }
}
