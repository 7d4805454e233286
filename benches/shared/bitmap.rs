//! Uncompressed images, which take next to no time to decode.

/// A square 24-bit BMP with sides of `side` pixels, a multiple of 4. The first pixels encode its number, so that no two files have
/// the same bytes.
pub(crate) fn bitmap(side: usize, class: usize, image: usize) -> Vec<u8> {
    let n_pixel_bytes = side * side * 3;
    let mut bytes = Vec::with_capacity(54 + n_pixel_bytes);
    bytes.extend(b"BM");
    for number in [
        54 + n_pixel_bytes as u32,
        0,
        54,
        40,
        side as u32,
        side as u32,
    ] {
        bytes.extend(number.to_le_bytes());
    }
    // One plane, 24 bits per pixel, no compression.
    for number in [1_u16, 24] {
        bytes.extend(number.to_le_bytes());
    }
    for number in [0, n_pixel_bytes as u32, 2835, 2835, 0, 0] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend((image as u32).to_le_bytes());
    bytes.extend((class as u32).to_le_bytes());
    let mut state = (image as u32 * 2 + class as u32).wrapping_mul(2_654_435_761) | 1;
    while bytes.len() < 54 + n_pixel_bytes {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        // Brighter in one class than in the other, so that there is something to learn.
        bytes.push((state >> 25) as u8 + 100 * class as u8);
    }
    bytes
}
