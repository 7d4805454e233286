//! The files of an entry's segments: their names, positioned reads and writes, appending. Must not know which item is in which.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    hash::{BuildHasher as _, RandomState},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    own::Trust,
    record::{RECORD_BYTES, Record},
    slot::SlotLayout,
};
use crate::error::{Error, Result};

const DATA_ENDING: &str = ".act";
const INDEX_ENDING: &str = ".idx";
/// The most segments that are open at once. Systems often allow a process 1024 open files, and an entry may have more segments.
const MAX_N_OPEN: usize = 64;
/// Names contain 64 random bits, so a second attempt is needed only on a misbehaving file system.
const N_NAME_TRIES: usize = 8;
/// Number of digits that [`random_digits`] returns.
const N_RANDOM_DIGITS: usize = 16;

pub(super) fn data_path(folder: &Path, stem: &str) -> PathBuf {
    folder.join(format!("{stem}{DATA_ENDING}"))
}

pub(super) fn index_path(folder: &Path, stem: &str) -> PathBuf {
    folder.join(format!("{stem}{INDEX_ENDING}"))
}

/// The name of an index file without its extension; `None` for other files.
pub(super) fn stem_of_index(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(INDEX_ENDING)?;
    number_of(stem).map(|_| stem)
}

/// Whether a segment's data or index could have this name.
pub(super) fn is_file_name(name: &str) -> bool {
    let stem = name.strip_suffix(DATA_ENDING);
    let stem = stem.or_else(|| name.strip_suffix(INDEX_ENDING));
    let parts = stem.and_then(|stem| stem.split_once('-'));
    parts.is_some_and(|(number, digits)| {
        !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && digits.len() == N_RANDOM_DIGITS
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn number_of(stem: &str) -> Option<u32> {
    stem.split_once('-')?.0.parse().ok()
}

/// Sixteen random hexadecimal digits.
pub(super) fn random_digits() -> String {
    // `RandomState` is seeded by the system, which saves a dependency on a random number generator.
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// A file that several threads read and write at given offsets.
pub(super) struct PlacedFile {
    file: File,
    #[cfg(not(unix))]
    turn: std::sync::Mutex<()>,
}

impl PlacedFile {
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            #[cfg(not(unix))]
            turn: std::sync::Mutex::new(()),
        }
    }

    #[cfg(unix)]
    pub(super) fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, bytes, offset)
    }

    #[cfg(unix)]
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, offset)
    }

    #[cfg(not(unix))]
    pub(super) fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        use std::io::{Read as _, Seek as _};
        let _turn = self.turn.lock().expect("no panic under lock");
        (&self.file).seek(io::SeekFrom::Start(offset))?;
        (&self.file).read_exact(bytes)
    }

    #[cfg(not(unix))]
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        use std::io::{Seek as _, Write as _};
        let _turn = self.turn.lock().expect("no panic under lock");
        (&self.file).seek(io::SeekFrom::Start(offset))?;
        (&self.file).write_all(bytes)
    }
}

/// The most recently read segments, which are kept open.
#[derive(Default)]
pub(super) struct OpenFiles {
    files: VecDeque<(u16, Arc<PlacedFile>)>,
}

impl OpenFiles {
    pub(super) fn get(
        &mut self,
        segment: u16,
        trust: Trust,
        path: impl FnOnce() -> PathBuf,
    ) -> io::Result<Arc<PlacedFile>> {
        if let Some(at) = self.files.iter().position(|(number, _)| *number == segment) {
            // The order matters only once the table is full, because only then is a file closed.
            if self.files.len() == MAX_N_OPEN
                && let Some(file) = self.files.remove(at)
            {
                self.files.push_front(file);
                return Ok(Arc::clone(&self.files[0].1));
            }
            return Ok(Arc::clone(&self.files[at].1));
        }
        let path = path();
        if !path.metadata()?.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = File::open(path)?;
        // The owner of the opened file is checked, because the name may belong to another file by now.
        if !trust.includes(&file.metadata()?) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = Arc::new(PlacedFile::new(file));
        self.files.truncate(MAX_N_OPEN - 1);
        self.files.push_front((segment, Arc::clone(&file)));
        Ok(file)
    }
}

/// The segment that this process appends to.
pub(super) struct SegmentWriter {
    pub(super) stem: Arc<str>,
    data: PlacedFile,
    data_path: PathBuf,
    index: PlacedFile,
    index_path: PathBuf,
    n_slots: u32,
    index_bytes: u64,
}

impl SegmentWriter {
    /// Creates a segment that no other process uses.
    pub(super) fn create(folder: &Path) -> Result<Self> {
        let mut number = 0;
        for file in fs::read_dir(folder).map_err(Error::io("read", folder))? {
            let file = file.map_err(Error::io("read", folder))?;
            let name = file.file_name();
            let taken = name.to_str().and_then(number_of).unwrap_or(0);
            number = number.max(taken.saturating_add(1));
        }
        let create = |path: &Path| OpenOptions::new().write(true).create_new(true).open(path);
        let mut n_tries = 0;
        loop {
            let stem: Arc<str> = format!("{number:03}-{}", random_digits()).into();
            let data_path = data_path(folder, &stem);
            let index_path = index_path(folder, &stem);
            n_tries += 1;
            let data = match create(&data_path) {
                Ok(data) => data,
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && n_tries < N_NAME_TRIES =>
                {
                    continue;
                }
                Err(error) => return Err(Error::io("create", data_path)(error)),
            };
            let index = create(&index_path).map_err(|error| {
                // No other process has noticed the segment yet, because it has no index.
                let _ = fs::remove_file(&data_path);
                Error::io("create", &index_path)(error)
            })?;
            return Ok(Self::new(stem, (data, data_path), (index, index_path)));
        }
    }

    fn new(stem: Arc<str>, data: (File, PathBuf), index: (File, PathBuf)) -> Self {
        Self {
            stem,
            data: PlacedFile::new(data.0),
            data_path: data.1,
            index: PlacedFile::new(index.0),
            index_path: index.1,
            n_slots: 0,
            index_bytes: 0,
        }
    }

    /// Appends whole slots and returns the number of the first one. A failed write is overwritten by the next.
    pub(super) fn append_slots(&mut self, slots: &[u8], layout: &SlotLayout) -> Result<u32> {
        let first = self.n_slots;
        let n_new = slots.len() / layout.slot_bytes;
        // `checked_add` keeps `n_slots` within `u32`, so the last slot is below `u32::MAX`, which means "no slot".
        let n_slots = u32::try_from(n_new).ok().and_then(|n| first.checked_add(n));
        let n_slots = n_slots
            .ok_or_else(|| Error::run(&self.data_path, "the segment of the cache is full"))?;
        let offset = layout.offset(first);
        self.data.write_all_at(slots, offset).map_err(|error| {
            // On a full disk, the part that was written is given back.
            let _ = self.data.file.set_len(offset);
            Error::io("write", &self.data_path)(error)
        })?;
        // The slots stay taken even if writing their records fails: a record that was written after all must not name a slot that
        // another item gets.
        self.n_slots = n_slots;
        Ok(first)
    }

    pub(super) fn append_records(&mut self, records: &[Record], layout: &SlotLayout) -> Result<()> {
        let mut bytes = Vec::with_capacity(records.len() * RECORD_BYTES);
        for record in records {
            bytes.extend_from_slice(&record.to_bytes(layout.seed));
        }
        self.index
            .write_all_at(&bytes, self.index_bytes)
            .map_err(|error| {
                let _ = self.index.file.set_len(self.index_bytes);
                Error::io("write", &self.index_path)(error)
            })?;
        self.index_bytes += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{ActivationPrecision, Recipe};

    fn layout() -> SlotLayout {
        let text = String::new;
        SlotLayout::new(&Recipe {
            arch: text(),
            prefix: text(),
            weights_sha256: text(),
            transforms: text(),
            decoder: 0,
            backend: text(),
            kernels: 0,
            precision: ActivationPrecision::F32,
            shape: vec![1],
        })
        .unwrap()
    }

    fn writer(data: &Path, index: &Path) -> SegmentWriter {
        let open = |path: &Path| {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .unwrap();
            (file, path.to_owned())
        };
        SegmentWriter::new("000-a".into(), open(data), open(index))
    }

    #[test]
    fn a_full_disk_is_an_error_that_names_the_file_and_the_next_write_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let full = Path::new("/dev/full");
        let slot = vec![1; layout().slot_bytes];
        let record = Record {
            item: [1; 32],
            slot: Some(0),
            generation: 0,
        };
        let mut no_data = writer(full, &path);
        let error = no_data.append_slots(&slot, &layout()).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot write `/dev/full`: No space")
        );
        assert_eq!(no_data.n_slots, 0);
        let mut no_index = writer(&path, full);
        assert_eq!(no_index.append_slots(&slot, &layout()).unwrap(), 0);
        assert!(no_index.append_records(&[record], &layout()).is_err());
        assert_eq!(no_index.index_bytes, 0);
        assert_eq!(no_index.append_slots(&slot, &layout()).unwrap(), 1);
    }
}
