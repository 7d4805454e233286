//! One open entry: looking up, reading and adding items. Must not know what the items are.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
    time::Duration,
};

use super::{
    index::{CacheSlot, Index, Tails},
    key::{self, Description, ItemKey, Recipe, RecipeKey},
    lease::{self, Lease, Reason},
    own::{self, EntryStatus, Trust},
    record::Record,
    segment::{self, OpenFiles, SegmentWriter},
    slot::SlotLayout,
};
use crate::{
    disk::files,
    error::{Error, Result},
};

/// Small items are written together, up to this size.
const BATCH_BYTES: usize = 4 << 20;
/// Number of attempts to open an entry. Two processes that both find it damaged have to wait for each other.
const N_OPEN_TRIES: usize = 40;
const TOO_MANY_SEGMENTS: &str = "it has too many segments";
const PAUSE: Duration = Duration::from_millis(5);

/// The result of looking up an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    Sound,
    Absent,
    /// The item was damaged and is now forgotten; the caller should compute it and put it again.
    Damaged,
}

/// An open entry, which cannot be evicted while it is open. Threads may share it.
pub(crate) struct Store {
    folder: PathBuf,
    key: RecipeKey,
    layout: SlotLayout,
    // To avoid deadlocks, code that locks several of the following does so in their order.
    /// The segment that this store writes, and its number.
    own: Mutex<Option<(u16, SegmentWriter)>>,
    tails: Mutex<Tails>,
    files: Mutex<OpenFiles>,
    index: RwLock<Index>,
    trust: Trust,
    /// Buffers for slots, one per thread that reads; kept to avoid allocating one for each item.
    buffers: Mutex<Vec<Vec<u8>>>,
    _lease: Lease,
}

impl Store {
    /// Opens the entry of a recipe. Creates it if it does not exist, and sets it aside if it is damaged. Fails if its name is taken
    /// by something that is not an entry, or not a trusted one.
    pub(crate) fn open(dir: &Path, recipe: &Recipe, trust: Trust) -> Result<Self> {
        // An invalid recipe fails here, before anything is created for it.
        layout_of(recipe)?;
        let folder = dir.join(recipe.key().folder_name());
        let mut fact = String::new();
        for _ in 0..N_OPEN_TRIES {
            let describe = |folder: &Path| key::write_about(folder, recipe);
            let lease = Lease::take(&folder, trust, &describe)?;
            files::clear_litter(&folder, files::STALE);
            if matches!(key::read_about(&folder)?, Description::Absent) {
                // The description was lost and can be written again: the checksums of segments of another recipe do not match.
                key::write_about(&folder, recipe)?;
            }
            match problem(&folder, recipe)? {
                None => {
                    let store = Self::with_lease(folder.clone(), recipe, trust, lease)?;
                    if !lock(&store.tails).is_full() {
                        return Ok(store);
                    }
                    drop(store);
                    TOO_MANY_SEGMENTS.clone_into(&mut fact);
                    lease::retire(&folder, Reason::Damaged, || Ok(own::is_entry(&folder)))?;
                }
                Some(found) => {
                    fact = found;
                    drop(lease);
                    let still =
                        || Ok(own::is_entry(&folder) && problem(&folder, recipe)?.is_some());
                    lease::retire(&folder, Reason::Damaged, still)?;
                }
            }
            thread::sleep(PAUSE);
        }
        Err(Error::run(
            folder,
            format!("cannot replace the cache entry while another process uses it: {fact}"),
        ))
    }

    /// Opens an existing entry without creating anything; `None` if there is no valid one.
    pub(crate) fn peek(dir: &Path, recipe: &Recipe, trust: Trust) -> Result<Option<Self>> {
        let folder = dir.join(recipe.key().folder_name());
        let is_entry = own::status(&folder, trust) == EntryStatus::Entry;
        if !is_entry || problem(&folder, recipe)?.is_some() {
            return Ok(None);
        }
        Self::inspect(&folder, recipe, trust)
    }

    /// Opens an entry whose description has been read, without marking it as used; `None` if it is being evicted.
    pub(super) fn inspect(folder: &Path, recipe: &Recipe, trust: Trust) -> Result<Option<Self>> {
        let lease = Lease::of_existing(folder)?;
        lease
            .map(|lease| Self::with_lease(folder.to_owned(), recipe, trust, lease))
            .transpose()
    }

    fn with_lease(folder: PathBuf, recipe: &Recipe, trust: Trust, lease: Lease) -> Result<Self> {
        let layout = layout_of(recipe)?;
        let store = Self {
            key: recipe.key(),
            layout,
            own: Mutex::default(),
            tails: Mutex::new(Tails::new(&folder, trust)),
            trust,
            index: RwLock::default(),
            files: Mutex::default(),
            buffers: Mutex::default(),
            _lease: lease,
            folder,
        };
        store.refresh()?;
        Ok(store)
    }

    pub(crate) fn key(&self) -> RecipeKey {
        self.key
    }

    #[cfg(test)]
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The number of values of one item.
    pub(crate) fn n_values(&self) -> usize {
        self.layout.n_values
    }

    /// The number of items that this process knows of; see [`Self::refresh`].
    pub(crate) fn len(&self) -> usize {
        self.read_index().len()
    }

    pub(crate) fn contains(&self, item: &ItemKey) -> bool {
        self.read_index().place(item).is_some()
    }

    /// The positions of the items that are not in the entry.
    pub(crate) fn missing(&self, items: &[ItemKey]) -> Vec<usize> {
        let index = self.read_index();
        let is_missing = |at: &usize| index.place(&items[*at]).is_none();
        (0..items.len()).filter(is_missing).collect()
    }

    /// Reads the items that other processes have added since the entry was opened or last refreshed.
    pub(crate) fn refresh(&self) -> Result<()> {
        lock(&self.tails).refresh(&self.layout, &self.index)
    }

    /// Reads an item into `values`, which are unchanged unless the item is sound.
    pub(crate) fn get(&self, item: &ItemKey, values: &mut [f32]) -> Result<Lookup> {
        self.check_length(values)?;
        self.read(item, Some(values))
    }

    /// Whether `values` can be stored in the entry's precision without becoming infinite.
    pub(crate) fn can_hold(&self, values: &[f32]) -> bool {
        self.layout.can_hold(values)
    }

    /// Adds an item, unless the entry has it already.
    pub(crate) fn put(&self, item: &ItemKey, values: &[f32]) -> Result<()> {
        self.put_many(&[(*item, values)])
    }

    /// Adds the items that the entry does not have already. An error does not affect existing items.
    pub(crate) fn put_many(&self, items: &[(ItemKey, &[f32])]) -> Result<()> {
        for (item, values) in items {
            self.check_length(values)?;
            if !self.layout.can_hold(values) {
                let item = crate::disk::hash::hex(item);
                return Err(Error::run(
                    self.folder.clone(),
                    format!("the activations of the image `{item}` are too large for 16 bits"),
                ));
            }
        }
        let n_at_once = (BATCH_BYTES / self.layout.slot_bytes).max(1);
        let mut own = lock(&self.own);
        for items in items.chunks(n_at_once) {
            let is_new = |(item, _): &&(ItemKey, &[f32])| !self.contains(item);
            let items: Vec<_> = items.iter().filter(is_new).collect();
            if items.is_empty() {
                continue;
            }
            let mut bytes = self.buffer();
            bytes.clear();
            for (item, values) in &items {
                self.layout.encode(item, values, &mut bytes);
            }
            let own = self.own_segment(&mut own)?;
            let first = own.1.append_slots(&bytes, &self.layout)?;
            lock(&self.buffers).push(bytes);
            let index = self.read_index();
            let records: Vec<_> = (first..)
                .zip(&items)
                .map(|(slot, (item, _))| Record {
                    item: *item,
                    slot: Some(slot),
                    generation: index.next_generation(item),
                })
                .collect();
            drop(index);
            self.add_records(own, &records)?;
        }
        Ok(())
    }

    /// Returns whether the item is sound, or `None` if it does not exist. A damaged item is struck out, for all processes.
    pub(super) fn verify(&self, item: &ItemKey) -> Result<Option<bool>> {
        let generation = self.read_index().generation(item);
        match self.read(item, None)? {
            Lookup::Absent => Ok(None),
            Lookup::Sound => Ok(Some(true)),
            Lookup::Damaged => {
                let mut own = lock(&self.own);
                let own = self.own_segment(&mut own)?;
                let record = Record {
                    item: *item,
                    slot: None,
                    generation,
                };
                self.add_records(own, &[record])?;
                Ok(Some(false))
            }
        }
    }

    /// All items, in the order in which they lie on the disk.
    pub(super) fn items(&self) -> Vec<ItemKey> {
        self.read_index().items_in_order()
    }

    pub(super) fn slot_bytes(&self) -> u64 {
        self.layout.slot_bytes as u64
    }

    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        self.read_index().memory_bytes()
    }

    fn read(&self, item: &ItemKey, values: Option<&mut [f32]>) -> Result<Lookup> {
        let Some(place) = self.read_index().place(item) else {
            return Ok(Lookup::Absent);
        };
        let mut bytes = self.buffer();
        bytes.resize(self.layout.slot_bytes, 0);
        let is_sound = self.read_slot(place, &mut bytes)? && self.layout.is_sound(item, &bytes);
        if is_sound && let Some(values) = values {
            self.layout.decode(&bytes, values);
        }
        lock(&self.buffers).push(bytes);
        if is_sound {
            return Ok(Lookup::Sound);
        }
        self.write_index().forget(item, place);
        Ok(Lookup::Damaged)
    }

    /// Reads a slot; `false` if the disk fails to, which is treated like any other damage.
    fn read_slot(&self, place: CacheSlot, bytes: &mut [u8]) -> Result<bool> {
        let path = || {
            let stem = self.read_index().stem(place.segment);
            segment::data_path(&self.folder, &stem)
        };
        let file = lock(&self.files).get(place.segment, self.trust, path);
        match file {
            Ok(file) => Ok(file
                .read_exact_at(bytes, self.layout.offset(place.slot))
                .is_ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("open", path())(error)),
        }
    }

    /// The segment of this store, which is created when something is first written.
    fn own_segment<'a>(
        &self,
        own: &'a mut Option<(u16, SegmentWriter)>,
    ) -> Result<&'a mut (u16, SegmentWriter)> {
        if let Some(own) = own {
            return Ok(own);
        }
        // Locked across both steps, so that a refresh does not take the new segment for one of another process.
        let mut tails = lock(&self.tails);
        if tails.is_full() {
            return Err(Error::run(
                &self.folder,
                format!("cannot add to the cache entry: {TOO_MANY_SEGMENTS}"),
            ));
        }
        let writer = SegmentWriter::create(&self.folder)?;
        let number = tails.add(Arc::clone(&writer.stem), true, &self.index);
        let number = number.expect("it is not full");
        Ok(own.insert((number, writer)))
    }

    fn add_records(&self, own: &mut (u16, SegmentWriter), records: &[Record]) -> Result<()> {
        let (number, writer) = own;
        writer.append_records(records, &self.layout)?;
        let mut index = self.write_index();
        for record in records {
            index.apply(*number, record);
        }
        Ok(())
    }

    fn check_length(&self, values: &[f32]) -> Result<()> {
        let (n, n_values) = (values.len(), self.layout.n_values);
        if n == n_values {
            return Ok(());
        }
        Err(Error::internal(format!(
            "the activation cache expected {n_values} values, got {n}"
        )))
    }

    fn buffer(&self) -> Vec<u8> {
        lock(&self.buffers).pop().unwrap_or_default()
    }

    fn read_index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().expect("no panic under lock")
    }

    fn write_index(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().expect("no panic under lock")
    }
}

/// Why the cache cannot be used for a recipe, if something else has the name of its entry.
pub(crate) fn obstacle(dir: &Path, recipe: &Recipe, trust: Trust) -> Option<String> {
    let folder = dir.join(recipe.key().folder_name());
    match own::status(&folder, trust) {
        EntryStatus::Foreign(fact) => Some(format!("`{}` {fact}", folder.display())),
        EntryStatus::Absent | EntryStatus::Entry => None,
    }
}

/// Counts the items of an entry whose description has been read, without locking it.
pub(super) fn n_items_in(folder: &Path, recipe: &Recipe) -> Result<usize> {
    let index = RwLock::default();
    Tails::new(folder, Trust::All).refresh(&layout_of(recipe)?, &index)?;
    let index: Index = index.into_inner().expect("no panic under lock");
    Ok(index.len())
}

fn layout_of(recipe: &Recipe) -> Result<SlotLayout> {
    SlotLayout::new(recipe).map_err(|fact| Error::internal(format!("activation cache: {fact}")))
}

/// Why the entry is not a valid one of the recipe, as a clause.
fn problem(folder: &Path, recipe: &Recipe) -> Result<Option<String>> {
    Ok(match key::read_about(folder)? {
        Description::Sound(found, _) if found == *recipe => None,
        Description::Sound(..) => Some("it belongs to another recipe".to_owned()),
        Description::Damaged(fact) => Some(fact),
        Description::Absent => Some(format!("it has no `{}`", key::ABOUT)),
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic under lock")
}
