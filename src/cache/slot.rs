//! Encodes the values of one item as the bytes of a slot: little-endian values, then their checksum. Must not know of files.

use half::{
    f16,
    slice::{HalfBitsSliceExt as _, HalfFloatSliceExt as _},
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    key::{ActivationPrecision, ItemKey, Recipe},
    record::RECORD_BYTES,
};

/// The checksum at the end of a slot.
const CHECKSUM_BYTES: usize = 8;
/// The largest activation of VGG16 has 13 MB, so a recipe that asks for more than this is damaged.
const MAX_SLOT_BYTES: usize = 1 << 30;
/// The smallest number that `f16` rounds to infinity.
const F16_OVERFLOW: f32 = 65520.0;
/// Number of values that are converted at once, in a buffer on the stack.
const N_CHUNK: usize = 1024;

impl ActivationPrecision {
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// Whether these activations of one image can be stored. Activations that are too large for 16 bits must not become infinite;
    /// they are computed again each time.
    pub(crate) fn can_hold(self, values: &[f32]) -> bool {
        let overflows = |value: &f32| value.is_finite() && value.abs() >= F16_OVERFLOW;
        self == Self::F32 || !values.iter().any(overflows)
    }

    /// Rounds `values` as storing and reading does, so that the first epoch, which computes them, sees the same as later ones.
    pub(crate) fn round(self, values: &mut [f32]) {
        if self == Self::F16 {
            let mut halves = [f16::ZERO; N_CHUNK];
            for values in values.chunks_mut(N_CHUNK) {
                let halves = &mut halves[..values.len()];
                halves.convert_from_f32_slice(values);
                halves.convert_to_f32_slice(values);
            }
        }
    }
}

/// The layout of the slots of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotLayout {
    precision: ActivationPrecision,
    pub(super) n_values: usize,
    pub(super) slot_bytes: usize,
    /// The seed of all checksums of the entry.
    pub(super) seed: u64,
}

impl SlotLayout {
    /// Computes the layout for a recipe, or says in a clause what is wrong with its shape.
    pub(super) fn new(recipe: &Recipe) -> Result<Self, String> {
        let shape = &recipe.shape;
        let slot_bytes = |n_values: usize| {
            let bytes = n_values.checked_mul(recipe.precision.bytes())?;
            bytes.checked_add(CHECKSUM_BYTES)
        };
        let n_values = shape
            .iter()
            .try_fold(1_usize, |n_values, n| n_values.checked_mul(*n));
        match n_values.and_then(|n_values| Some((n_values, slot_bytes(n_values)?))) {
            Some((n_values, slot_bytes)) if n_values > 0 && slot_bytes <= MAX_SLOT_BYTES => {
                Ok(Self {
                    precision: recipe.precision,
                    n_values,
                    slot_bytes,
                    seed: recipe.key().seed(),
                })
            }
            _ => {
                let sides: Vec<String> = shape.iter().map(usize::to_string).collect();
                Err(format!(
                    "the activation of an image cannot have the shape `{}`",
                    sides.join(" x ")
                ))
            }
        }
    }

    pub(super) fn bytes_with_index(&self) -> u64 {
        (self.slot_bytes + RECORD_BYTES) as u64
    }

    /// The offset of `slot` in its segment.
    pub(super) fn offset(&self, slot: u32) -> u64 {
        // At most 2^32 slots of 2^30 bytes each, so this cannot overflow.
        u64::from(slot) * self.slot_bytes as u64
    }

    /// The number of whole slots in a segment of this length.
    pub(super) fn n_slots_in(&self, bytes: u64) -> u64 {
        bytes / self.slot_bytes as u64
    }

    pub(super) fn can_hold(&self, values: &[f32]) -> bool {
        self.precision.can_hold(values)
    }

    /// Appends a slot to `bytes`.
    pub(super) fn encode(&self, item: &ItemKey, values: &[f32], bytes: &mut Vec<u8>) {
        assert_eq!(values.len(), self.n_values, "the caller has looked");
        let start = bytes.len();
        match self.precision {
            ActivationPrecision::F32 if cfg!(target_endian = "little") => {
                bytes.extend_from_slice(bytemuck::cast_slice(values));
            }
            ActivationPrecision::F32 => {
                bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
            ActivationPrecision::F16 => {
                let mut halves = [f16::ZERO; N_CHUNK];
                for values in values.chunks(N_CHUNK) {
                    let halves = &mut halves[..values.len()];
                    halves.convert_from_f32_slice(values);
                    let bits: &mut [u16] = halves.reinterpret_cast_mut();
                    for bits in bits.iter_mut() {
                        *bits = bits.to_le();
                    }
                    bytes.extend_from_slice(bytemuck::cast_slice(bits));
                }
            }
        }
        let checksum = self.checksum(item, &bytes[start..]);
        bytes.extend_from_slice(&checksum.to_le_bytes());
    }

    /// Whether `slot` is what [`Self::encode`] made of this item.
    pub(super) fn is_sound(&self, item: &ItemKey, slot: &[u8]) -> bool {
        slot.len() == self.slot_bytes
            && slot.split_last_chunk().is_some_and(|(payload, checksum)| {
                u64::from_le_bytes(*checksum) == self.checksum(item, payload)
            })
    }

    /// The numbers of a sound slot.
    pub(super) fn decode(&self, slot: &[u8], values: &mut [f32]) {
        assert_eq!(values.len(), self.n_values, "the caller has looked");
        let payload = &slot[..self.slot_bytes - CHECKSUM_BYTES];
        match self.precision {
            ActivationPrecision::F32 => {
                let bits: &mut [u32] = bytemuck::cast_slice_mut(values);
                bytemuck::cast_slice_mut::<u32, u8>(bits).copy_from_slice(payload);
                for bits in bits.iter_mut() {
                    *bits = u32::from_le(*bits);
                }
            }
            ActivationPrecision::F16 => {
                let mut bits = [0_u16; N_CHUNK];
                let chunks = payload.chunks(N_CHUNK * ActivationPrecision::F16.bytes());
                for (values, payload) in values.chunks_mut(N_CHUNK).zip(chunks) {
                    let bits = &mut bits[..values.len()];
                    bytemuck::cast_slice_mut::<u16, u8>(bits).copy_from_slice(payload);
                    for bits in bits.iter_mut() {
                        *bits = u16::from_le(*bits);
                    }
                    let halves: &[f16] = bits.reinterpret_cast();
                    halves.convert_to_f32_slice(values);
                }
            }
        }
    }

    /// The checksum covers the item as well, so that a damaged index that names the wrong slot cannot return the activations of
    /// another image.
    fn checksum(&self, item: &ItemKey, payload: &[u8]) -> u64 {
        xxh3_64_with_seed(payload, xxh3_64_with_seed(item, self.seed))
    }
}
