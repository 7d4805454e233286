//! Detects that a file has changed, without reading it.

use std::{
    fs::Metadata,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::text::moment;

/// File systems round times (FAT to two seconds), and a file server's clock may differ from this machine's.
const MARGIN: Duration = Duration::from_secs(4);

/// A time as whole seconds since 1970, rounded down, and the remaining nanoseconds.
type FileTime = (i64, u32);

/// The size, times and inode of a file.
///
/// The device number is left out, because network mounts and removable disks get a new one with each mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stamp {
    pub(crate) bytes: u64,
    /// The modification time. Not sufficient by itself: `rsync -t`, `cp -p` and `unzip` set it to that of the original.
    modified: Option<FileTime>,
    /// When content or metadata last changed. No program can set it; only Unix has it.
    changed: Option<FileTime>,
    /// The inode, or zero on systems without. Where a file system numbers its files anew with each mount, they are read again.
    inode: u64,
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let (changed, inode) = changed_and_inode(metadata);
        Self {
            bytes: metadata.len(),
            modified: metadata.modified().ok().map(moment::since_1970),
            changed,
            inode,
        }
    }

    /// Whether a file that is replaced after `scanned` is certain to get another stamp.
    ///
    /// A file that changed within the margin before `scanned` is not: it may change again within the same tick of the file
    /// system's clock.
    pub(crate) fn is_settled(&self, scanned: SystemTime) -> bool {
        let moment = |time: Option<SystemTime>| time.map(moment::since_1970);
        let Some(earliest) = moment(scanned.checked_sub(MARGIN)) else {
            return false;
        };
        let latest = moment(scanned.checked_add(MARGIN)).unwrap_or((i64::MAX, 0));
        let is_old = |time: FileTime| time < earliest;
        match (self.changed, self.modified) {
            // A modification time in the future was set explicitly, for example by a camera with a wrong clock, so it does not
            // mean that the file is recent.
            (Some(changed), Some(modified)) => {
                is_old(changed) && (is_old(modified) || modified > latest)
            }
            (Some(time), None) | (None, Some(time)) => is_old(time),
            (None, None) => false,
        }
    }
}

#[cfg(unix)]
fn changed_and_inode(metadata: &Metadata) -> (Option<FileTime>, u64) {
    use std::os::unix::fs::MetadataExt as _;
    let nanoseconds = metadata.ctime_nsec().clamp(0, 999_999_999) as u32;
    (Some((metadata.ctime(), nanoseconds)), metadata.ino())
}

#[cfg(not(unix))]
fn changed_and_inode(_metadata: &Metadata) -> (Option<FileTime>, u64) {
    (None, 0)
}

#[cfg(test)]
impl Stamp {
    pub(crate) const EMPTY: Self = Self {
        bytes: 0,
        modified: None,
        changed: None,
        inode: 0,
    };
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn is_settled(changed: Option<i64>, modified: Option<i64>) -> bool {
        let stamp = Stamp {
            modified: modified.map(|seconds| (seconds, 0)),
            changed: changed.map(|seconds| (seconds, 0)),
            ..Stamp::EMPTY
        };
        stamp.is_settled(UNIX_EPOCH + Duration::from_secs(1000))
    }

    #[test]
    fn files_that_changed_shortly_before_the_scan_are_not_settled() {
        assert!(is_settled(Some(990), Some(500)));
        assert!(!is_settled(Some(998), Some(500)));
        assert!(!is_settled(Some(1001), Some(-500)));
        assert!(!is_settled(Some(500), Some(999)));
        // The clock of the disk's server is ahead.
        assert!(!is_settled(Some(5000), Some(500)));
        // A camera's is.
        assert!(is_settled(Some(500), Some(5000)));
        assert!(is_settled(None, Some(500)) && !is_settled(None, Some(5000)));
        assert!(!is_settled(None, None));
    }
}
