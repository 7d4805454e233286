//! The in-memory index of an entry, which maps items to slots, and reading it from index files. Must not know of payloads.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

use super::{
    key::ItemKey,
    own::Trust,
    record::{RECORD_BYTES, Record},
    segment::{self, PlacedFile},
    slot::SlotLayout,
};
use crate::error::{Error, Result};

/// The most segments of an entry, limited by the number in a [`CacheSlot`]. Each process that adds items creates one.
pub(super) const MAX_N_SEGMENTS: usize = u16::MAX as usize;
const STRUCK: u32 = u32::MAX;
/// The most bytes of an index file that are read at once.
const CHUNK_BYTES: u64 = (RECORD_BYTES << 14) as u64;
/// Invalid records within this distance of the end may still be being written and are read again next time; older ones are
/// skipped for good.
const TAIL_BYTES: u64 = (RECORD_BYTES << 10) as u64;
/// An index has a record for each slot, and some that strike items out. The rest of an index that exceeds the slots by more than
/// this is not read.
const SPARE_INDEX_BYTES: u64 = 64 << 20;

/// The slot that an item is stored in. Eight bytes, because memory holds one for each image; the checksum is in the slot instead.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct CacheSlot {
    pub(super) slot: u32,
    pub(super) segment: u16,
    generation: u16,
}

impl CacheSlot {
    fn is_struck(self) -> bool {
        self.slot == STRUCK
    }
}

/// The index of an entry. Items that were struck out stay in it, because their next record must have a higher generation.
#[derive(Default)]
pub(super) struct Index {
    places: HashMap<ItemKey, CacheSlot>,
    n_items: usize,
    /// The file names of the segments without extension, by number.
    stems: Vec<Arc<str>>,
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.n_items
    }

    pub(super) fn place(&self, item: &ItemKey) -> Option<CacheSlot> {
        let place = self.places.get(item).copied();
        place.filter(|place| !place.is_struck())
    }

    pub(super) fn stem(&self, segment: u16) -> Arc<str> {
        Arc::clone(&self.stems[usize::from(segment)])
    }

    /// All items, in the order in which they lie on the disk.
    pub(super) fn items_in_order(&self) -> Vec<ItemKey> {
        let sound = self.places.iter().filter(|(_, place)| !place.is_struck());
        let mut items: Vec<_> = sound.map(|(item, place)| (*place, *item)).collect();
        items.sort_unstable_by_key(|(place, _)| (place.segment, place.slot));
        items.into_iter().map(|(_, item)| item).collect()
    }

    /// The generation of a record that supersedes all known ones.
    pub(super) fn next_generation(&self, item: &ItemKey) -> u16 {
        let place = self.places.get(item);
        place.map_or(0, |place| place.generation.saturating_add(1))
    }

    /// The generation of the known record, for a record that strikes it out.
    pub(super) fn generation(&self, item: &ItemKey) -> u16 {
        self.places.get(item).map_or(0, |place| place.generation)
    }

    /// Forgets the item, unless another process has written it again in the meantime.
    pub(super) fn forget(&mut self, item: &ItemKey, damaged: CacheSlot) {
        if let Some(place) = self.places.get_mut(item)
            && *place == damaged
        {
            place.slot = STRUCK;
            self.n_items -= 1;
        }
    }

    pub(super) fn apply(&mut self, segment: u16, record: &Record) {
        let new = CacheSlot {
            slot: record.slot.unwrap_or(STRUCK),
            segment,
            generation: record.generation,
        };
        let old = self.places.get(&record.item).copied();
        // Two processes may have computed the same item, which gives two records of one generation. The first one wins, except
        // over a record that strikes it out.
        let is_later = old.is_none_or(|old| {
            new.generation > old.generation
                || (new.generation == old.generation && new.is_struck() && !old.is_struck())
        });
        if is_later {
            let was_there = old.is_some_and(|old| !old.is_struck());
            self.n_items = self.n_items - usize::from(was_there) + usize::from(!new.is_struck());
            self.places.insert(record.item, new);
        }
    }

    fn add_segment(&mut self, stem: Arc<str>) {
        self.stems.push(stem);
    }

    /// The memory of the hash table, which is nearly all of the index: each bucket has an entry and a control byte, and 7 of 8
    /// buckets may be full.
    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        self.places.capacity() / 7 * 8 * (size_of::<(ItemKey, CacheSlot)>() + 1)
    }
}

/// How far one index file has been read.
struct Tail {
    stem: Arc<str>,
    /// Whether this process writes the segment, so that there is nothing to read.
    is_own: bool,
    read_bytes: u64,
}

/// How far each index file of an entry has been read.
pub(super) struct Tails {
    folder: PathBuf,
    trust: Trust,
    known: HashSet<Arc<str>>,
    /// The segments by number.
    segments: Vec<Tail>,
}

impl Tails {
    pub(super) fn new(folder: &Path, trust: Trust) -> Self {
        Self {
            folder: folder.to_owned(),
            trust,
            known: HashSet::new(),
            segments: Vec::new(),
        }
    }

    /// Whether no number is left for another segment.
    pub(super) fn is_full(&self) -> bool {
        self.segments.len() >= MAX_N_SEGMENTS
    }

    /// Gives a segment its number; `None` if none is left.
    pub(super) fn add(
        &mut self,
        stem: Arc<str>,
        is_own: bool,
        index: &RwLock<Index>,
    ) -> Option<u16> {
        let number = u16::try_from(self.segments.len()).ok();
        let number = number.filter(|_| !self.is_full())?;
        index
            .write()
            .expect("no panic under lock")
            .add_segment(Arc::clone(&stem));
        self.known.insert(Arc::clone(&stem));
        self.segments.push(Tail {
            stem,
            is_own,
            read_bytes: 0,
        });
        Some(number)
    }

    /// Reads the records that were written since the last refresh.
    pub(super) fn refresh(&mut self, layout: &SlotLayout, index: &RwLock<Index>) -> Result<()> {
        for stem in self.new_stems()? {
            if self.add(stem, false, index).is_none() {
                break;
            }
        }
        for (number, tail) in self.segments.iter_mut().enumerate() {
            if !tail.is_own {
                let number = u16::try_from(number).expect("no more are added");
                tail.refresh(&self.folder, self.trust, number, layout, index)?;
            }
        }
        Ok(())
    }

    /// The segments that are not known yet, in the order of their names.
    fn new_stems(&self) -> Result<Vec<Arc<str>>> {
        let mut stems = Vec::new();
        let files = match fs::read_dir(&self.folder) {
            Ok(files) => files,
            // The entry was evicted while it was only being inspected, which does not lock it.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(stems),
            Err(error) => return Err(Error::io("read", &self.folder)(error)),
        };
        for file in files {
            let file = file.map_err(Error::io("read", &self.folder))?;
            let name = file.file_name();
            let stem = name.to_str().and_then(segment::stem_of_index);
            if let Some(stem) = stem.filter(|stem| !self.known.contains(*stem)) {
                stems.push(Arc::from(stem));
            }
        }
        stems.sort_unstable();
        Ok(stems)
    }
}

impl Tail {
    fn refresh(
        &mut self,
        folder: &Path,
        trust: Trust,
        number: u16,
        layout: &SlotLayout,
        index: &RwLock<Index>,
    ) -> Result<()> {
        let data_path = segment::data_path(folder, &self.stem);
        let path = segment::index_path(folder, &self.stem);
        let record_bytes = RECORD_BYTES as u64;
        let n_slots = layout.n_slots_in(file_bytes(&data_path));
        let most = n_slots
            .saturating_mul(record_bytes)
            .saturating_add(SPARE_INDEX_BYTES);
        let end = file_bytes(&path).min(most);
        if end < self.read_bytes + record_bytes {
            return Ok(());
        }
        let file = match File::open(&path) {
            Ok(file) if !file.metadata().is_ok_and(|data| trust.includes(&data)) => return Ok(()),
            Ok(file) => PlacedFile::new(file),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        let mut bytes = Vec::new();
        let mut offset = self.read_bytes;
        let mut end_of_sound = offset;
        while end - offset >= record_bytes {
            let n_bytes = (end - offset).min(CHUNK_BYTES) / record_bytes * record_bytes;
            bytes.resize(n_bytes as usize, 0);
            if file.read_exact_at(&mut bytes, offset).is_err() {
                // Items whose records cannot be read are computed again.
                break;
            }
            // Payloads are written before their records. So the length is taken after reading the records: every slot that they
            // name must lie within it, or the record is damaged.
            let n_slots = layout.n_slots_in(file_bytes(&data_path));
            let mut index = index.write().expect("no panic under lock");
            for bytes in bytes.as_chunks::<RECORD_BYTES>().0 {
                offset += record_bytes;
                let record = Record::from_bytes(bytes, layout.seed);
                let is_whole =
                    |record: &Record| record.slot.is_none_or(|slot| u64::from(slot) < n_slots);
                if let Some(record) = record.filter(is_whole) {
                    index.apply(number, &record);
                    end_of_sound = offset;
                }
            }
        }
        self.read_bytes = end_of_sound.max(offset.saturating_sub(TAIL_BYTES));
        Ok(())
    }
}

/// The length of a file; 0 if it is not a regular one, so that a pipe, whose opening would block, is never opened.
fn file_bytes(path: &Path) -> u64 {
    let metadata = path.metadata().ok();
    let metadata = metadata.filter(fs::Metadata::is_file);
    metadata.map_or(0, |metadata| metadata.len())
}
