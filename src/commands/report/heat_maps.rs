//! Where the network looked: pictures that lie over the photos of the gallery.

use image::RgbImage;

use crate::runs::RunView;

/// The photos of the gallery that get a heat map: each takes a pass through the network, and room on the page.
pub(super) const MOST: usize = 48;

/// For each of these files, in order, the photo with its heat map; `None` for a photo that has none. `None` altogether if the run
/// has no checkpoint or heat maps cannot be computed for its architecture.
pub(super) fn heat_maps(_view: &RunView, _files: &[&str]) -> Option<Vec<Option<RgbImage>>> {
    None
}
