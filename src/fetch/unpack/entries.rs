//! Lists the entries of an archive and checks that all of them are safe to unpack. Writes nothing.

use std::{
    collections::{HashMap, HashSet},
    io::{Read, Seek},
};

use zip::{CompressionMethod, ZipArchive, read::ZipFileEntry};

use super::Limits;

/// Names that Windows gives to devices, whatever the extension.
const DEVICE_NAMES: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8",
    "com9", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// The longest component of a path; the limit of most file systems.
const NAME_BYTES: usize = 255;

/// The longest path. `check_collisions` remembers every folder on the way, so its memory grows with the square of the length.
const PATH_BYTES: usize = 1024;

/// The longest name in a message.
const SHOWN_CHARS: usize = 80;

/// The file type, in the upper half of the attributes that Unix archivers write.
const UNIX_KIND: u32 = 0o170_000;
const UNIX_REGULAR: u32 = 0o100_000;
const UNIX_FOLDER: u32 = 0o040_000;

/// An entry that may be unpacked.
pub(super) struct Entry {
    /// The position in the archive.
    pub(super) index: usize,
    /// The relative path with `/`, without a trailing one.
    pub(super) path: String,
    pub(super) kind: EntryKind,
    /// The declared size, which the unpacked data must have exactly.
    pub(super) bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Folder,
}

/// The entries that will be written.
pub(super) struct UnpackPlan {
    pub(super) entries: Vec<Entry>,
    pub(super) n_files: u64,
    pub(super) bytes: u64,
}

impl UnpackPlan {
    /// Removes the entries with these indexes from the plan.
    pub(super) fn leave_out(&mut self, indexes: &HashSet<usize>) {
        self.entries.retain(|entry| !indexes.contains(&entry.index));
        let files = self
            .entries
            .iter()
            .filter(|entry| entry.kind == EntryKind::File);
        self.n_files = files.clone().count() as u64;
        self.bytes = files.map(|entry| entry.bytes).sum();
    }

    /// The names that will appear in the target folder, without duplicates, in the order of the archive.
    pub(super) fn top_level(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        self.entries
            .iter()
            .filter_map(|entry| entry.path.split('/').next())
            .filter(|name| seen.insert(*name))
            .collect()
    }
}

/// Reads the archive's directory. Fails with the first reason not to unpack it, as a clause.
pub(super) fn plan<R: Read + Seek>(
    archive: &ZipArchive<R>,
    archive_bytes: u64,
    limits: &Limits,
) -> Result<UnpackPlan, String> {
    if archive.len() as u64 > limits.files {
        return Err(format!(
            "it has {} entries, more than the {} that are allowed",
            archive.len(),
            limits.files
        ));
    }
    if archive.has_duplicate_names() {
        return Err("it has several entries with the same name".to_owned());
    }
    let mut seen = HashMap::new();
    let mut plan = UnpackPlan {
        entries: Vec::with_capacity(archive.len()),
        n_files: 0,
        bytes: 0,
    };
    for index in 0..archive.len() {
        let listed = archive
            .by_index_data(index)
            .map_err(|error| error.to_string())?;
        let entry = checked(index, &listed, limits)?;
        check_collisions(&entry, &mut seen)?;
        plan.bytes = plan.bytes.saturating_add(entry.bytes);
        plan.n_files += u64::from(entry.kind == EntryKind::File);
        plan.entries.push(entry);
    }
    if plan.bytes > limits.bytes {
        return Err(format!(
            "it would unpack to {} bytes, more than the {} that are allowed",
            plan.bytes, limits.bytes
        ));
    }
    if plan.bytes > archive_bytes.saturating_mul(limits.ratio) {
        return Err(format!(
            "its {archive_bytes} bytes would unpack to {}, more than {} times as many",
            plan.bytes, limits.ratio
        ));
    }
    Ok(plan)
}

fn checked(index: usize, listed: &ZipFileEntry, limits: &Limits) -> Result<Entry, String> {
    let shown: String = String::from_utf8_lossy(listed.name_raw())
        .escape_debug()
        .take(SHOWN_CHARS)
        .collect();
    let refuse = |why: &str| Err(format!("entry `{shown}` {why}"));
    let raw = str::from_utf8(listed.name_raw());
    // Programs would disagree about a name whose decoding depends on flags, so what one checks, another may unpack elsewhere.
    let Some(name) = raw
        .ok()
        .filter(|raw| listed.name().is_ok_and(|name| name == *raw))
    else {
        return refuse("has a name that is not plain UTF-8");
    };
    let path = name.strip_suffix('/').unwrap_or(name);
    if let Some(why) = reason_against(path) {
        return refuse(why);
    }
    let kind = if name.ends_with('/') {
        EntryKind::Folder
    } else {
        EntryKind::File
    };
    let unix_kind = (listed.external_attributes() >> 16) & UNIX_KIND;
    let is_regular = match kind {
        EntryKind::File => matches!(unix_kind, 0 | UNIX_REGULAR),
        EntryKind::Folder => matches!(unix_kind, 0 | UNIX_FOLDER),
    };
    if !is_regular || listed.is_symlink() {
        return refuse("is a link or special file");
    }
    if listed.encrypted() {
        return refuse("is encrypted");
    }
    if !matches!(
        listed.compression(),
        CompressionMethod::Stored | CompressionMethod::Deflated
    ) {
        return refuse("has a compression method that is not supported");
    }
    if listed.size() > limits.entry_bytes {
        return refuse(&format!(
            "has {} bytes, more than the {} that are allowed",
            listed.size(),
            limits.entry_bytes
        ));
    }
    if kind == EntryKind::Folder && listed.size() > 0 {
        return refuse("is a folder but has data");
    }
    Ok(Entry {
        index,
        path: path.to_owned(),
        kind,
        bytes: listed.size(),
    })
}

/// Why a path is unsafe on one of the systems that this program runs on: a predicate whose subject is the entry.
fn reason_against(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("has no name");
    }
    if path.len() > PATH_BYTES || path.split('/').any(|part| part.len() > NAME_BYTES) {
        return Some("has a name that is too long");
    }
    if path.starts_with('/') {
        return Some("has an absolute path");
    }
    if path.contains('\\') {
        return Some("has a backslash in its name");
    }
    if path.contains(':') {
        return Some("has a drive letter or a stream in its name");
    }
    if path.chars().any(char::is_control) {
        return Some("has a control character in its name");
    }
    path.split('/').find_map(|part| match part {
        "" | "." => Some("has an empty component in its path"),
        ".." => Some("has a path that leads out of the folder"),
        _ if part.ends_with(['.', ' ']) => Some("has a name that Windows would change"),
        _ if is_device(part) => Some("has the name of a Windows device"),
        _ => None,
    })
}

fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or_default().trim_end();
    DEVICE_NAMES
        .iter()
        .any(|name| stem.eq_ignore_ascii_case(name))
}

/// Fails if two paths would be the same file on a file system that ignores case.
fn check_collisions(
    entry: &Entry,
    seen: &mut HashMap<String, (String, EntryKind)>,
) -> Result<(), String> {
    let folders = entry
        .path
        .match_indices('/')
        .map(|(end, _)| (&entry.path[..end], EntryKind::Folder));
    for (path, kind) in folders.chain([(entry.path.as_str(), entry.kind)]) {
        let Some((other, other_kind)) = seen.get(&path.to_lowercase()) else {
            seen.insert(path.to_lowercase(), (path.to_owned(), kind));
            continue;
        };
        let is_same_folder =
            kind == EntryKind::Folder && *other_kind == EntryKind::Folder && other == path;
        if !is_same_folder {
            return Err(format!(
                "entries `{}` and `{}` would be the same file",
                other.escape_debug(),
                path.escape_debug()
            ));
        }
    }
    Ok(())
}
