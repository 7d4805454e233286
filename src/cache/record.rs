//! One record of an index file, which says in which slot an item is stored. Must not know of files.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::key::ItemKey;

pub(super) const RECORD_BYTES: usize = 48;
const ITEM_BYTES: usize = 32;
/// The bytes that the record's checksum covers.
const BODY_BYTES: usize = 40;
const PLACED: u16 = 0;
const STRUCK: u16 = 1;

/// The statement that an item is stored in a slot of the segment of this index, or no longer anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) item: ItemKey,
    /// `None` strikes the item out, up to this generation.
    pub(super) slot: Option<u32>,
    /// How often the item was written again. It decides which record is the later one, which neither clocks nor the names of
    /// segments can.
    pub(super) generation: u16,
}

impl Record {
    pub(super) fn to_bytes(self, seed: u64) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let kind = if self.slot.is_some() { PLACED } else { STRUCK };
        bytes[..ITEM_BYTES].copy_from_slice(&self.item);
        bytes[32..36].copy_from_slice(&self.slot.unwrap_or(0).to_le_bytes());
        bytes[36..38].copy_from_slice(&self.generation.to_le_bytes());
        bytes[38..BODY_BYTES].copy_from_slice(&kind.to_le_bytes());
        let checksum = xxh3_64_with_seed(&bytes[..BODY_BYTES], seed);
        bytes[BODY_BYTES..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Parses a record; `None` if it is incomplete, damaged or of another entry.
    pub(super) fn from_bytes(bytes: &[u8; RECORD_BYTES], seed: u64) -> Option<Self> {
        let (body, checksum) = bytes.split_last_chunk::<8>()?;
        if u64::from_le_bytes(*checksum) != xxh3_64_with_seed(body, seed) {
            return None;
        }
        let (item, rest) = body.split_first_chunk::<ITEM_BYTES>()?;
        let (slot, rest) = rest.split_first_chunk::<4>()?;
        let (generation, kind) = rest.split_first_chunk::<2>()?;
        let kind = u16::from_le_bytes(kind.try_into().ok()?);
        let slot = match (kind, u32::from_le_bytes(*slot)) {
            // The index uses this number for items that were struck out.
            (PLACED, u32::MAX) => return None,
            (PLACED, slot) => Some(slot),
            (STRUCK, _) => None,
            _ => return None,
        };
        Some(Self {
            item: *item,
            slot,
            generation: u16::from_le_bytes(*generation),
        })
    }
}
