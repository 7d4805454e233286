//! The user's directories, where each operating system has them.

use std::path::PathBuf;

use etcetera::base_strategy::{BaseStrategy as _, choose_native_strategy};

/// Where the program may keep what can be computed again: `$XDG_CACHE_HOME/runner` or `~/.cache/runner` on Linux,
/// `~/Library/Caches/runner` on macOS, `%LOCALAPPDATA%\runner` on Windows; `None` for a user without a home.
pub(crate) fn cache() -> Option<PathBuf> {
    let user = choose_native_strategy().ok()?;
    // A relative home would be another directory in each working directory.
    Some(user.cache_dir().join("runner")).filter(|dir| dir.is_absolute())
}
