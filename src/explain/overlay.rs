//! A heat map laid over the photo that the network saw.

/// The colors of values from 0 to 1 in equal steps, from dark blue by red to light yellow: brightness rises with the value, so the
/// map can be read without seeing colors. Source: the `plasma` colormap of Matplotlib, nine of its 256 colors.
const COLORS: [[u8; 3]; 9] = [
    [13, 8, 135],
    [76, 2, 161],
    [126, 3, 168],
    [170, 35, 149],
    [204, 71, 120],
    [230, 108, 92],
    [248, 149, 64],
    [253, 197, 39],
    [240, 249, 33],
];
/// How much of the photo shows through where the map is 0, and where it is 1.
const PHOTO_SHARE: [f32; 2] = [0.75, 0.35];

/// The photo (three bytes per pixel) with the map over it; `map` has a value from 0 to 1 for each pixel.
pub(crate) fn overlay(rgb: &[u8], map: &[f32]) -> Vec<u8> {
    let pixels = rgb.chunks_exact(3).zip(map);
    let mix = |(pixel, value): (&[u8], &f32)| {
        let color = color(*value);
        let [low, high] = PHOTO_SHARE;
        let share = low + (high - low) * value;
        [0, 1, 2].map(|channel| {
            let mixed = f32::from(pixel[channel]) * share + color[channel] * (1.0 - share);
            mixed.round() as u8
        })
    };
    pixels.flat_map(mix).collect()
}

fn color(value: f32) -> [f32; 3] {
    let at = value.clamp(0.0, 1.0) * (COLORS.len() - 1) as f32;
    let below = (at as usize).min(COLORS.len() - 2);
    let above = at - below as f32;
    [0, 1, 2].map(|channel| {
        let of = |index: usize| f32::from(COLORS[index][channel]);
        of(below) * (1.0 - above) + of(below + 1) * above
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hottest_place_is_the_brightest() {
        let grey = [128; 9];
        let picture = overlay(&grey, &[0.0, 0.5, 1.0]);
        let brightness = |pixel: &[u8]| pixel.iter().map(|it| u32::from(*it)).sum::<u32>();
        let pixels: Vec<u32> = picture.chunks(3).map(brightness).collect();
        assert!(pixels.is_sorted(), "{pixels:?}");
        assert_eq!(picture[..3], [99, 98, 130]);
    }
}
