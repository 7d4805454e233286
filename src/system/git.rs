//! Reads the checked-out commit from git's own files. Does not start `git`, which would run commands from the repository's
//! configuration (`core.fsmonitor`, filters): an unpacked archive may contain a malicious repository.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Component, Path, PathBuf},
};

/// The most bytes of a file with one line: `HEAD`, a loose reference, a `.git` file, `commondir`.
const MOST_LINE_BYTES: u64 = 4 << 10;

/// The most bytes of `packed-refs`, which has a line for each branch and tag.
const MOST_PACKED_BYTES: u64 = 32 << 20;

/// The longest chain of symbolic references; git follows five as well.
const MOST_HOPS: usize = 5;

/// The commit of `HEAD` in the repository around `folder`, in hexadecimal digits. Empty if there is no repository or commit, or if
/// its references are not stored in files.
pub(crate) fn commit(folder: &Path) -> String {
    let Ok(folder) = fs::canonicalize(folder) else {
        return String::new();
    };
    let repository = folder.ancestors().find_map(Repository::at);
    repository
        .and_then(|repository| repository.head())
        .unwrap_or_default()
}

/// The folders that hold a repository's references.
struct Repository {
    /// The folder of this worktree: `HEAD` and a few references.
    own: PathBuf,
    /// The folder that all worktrees share.
    common: PathBuf,
}

impl Repository {
    /// The repository whose working tree begins at `folder`.
    fn at(folder: &Path) -> Option<Self> {
        let dot_git = folder.join(".git");
        let own = if dot_git.is_dir() {
            dot_git
        } else {
            // In a linked worktree or a submodule, `.git` is a file with the path of the folder.
            let text = read_line(&dot_git)?;
            folder.join(text.strip_prefix("gitdir:")?.trim())
        };
        let own = fs::canonicalize(own).ok()?;
        let common = match read_line(&own.join("commondir")) {
            Some(path) => fs::canonicalize(own.join(path)).ok()?,
            None => own.clone(),
        };
        Some(Self { own, common })
    }

    fn head(&self) -> Option<String> {
        let mut text = read_inside(&self.own, "HEAD")?;
        for _ in 0..MOST_HOPS {
            let Some(name) = text.strip_prefix("ref:") else {
                return is_hash(&text).then_some(text);
            };
            text = self.reference(name.trim())?;
        }
        None
    }

    /// The content of a reference such as `refs/heads/main`.
    fn reference(&self, name: &str) -> Option<String> {
        if !is_reference(name) {
            return None;
        }
        [&self.own, &self.common]
            .into_iter()
            .find_map(|folder| read_inside(folder, name))
            .or_else(|| self.packed(name))
    }

    fn packed(&self, name: &str) -> Option<String> {
        let text = read_bounded(&self.common.join("packed-refs"), MOST_PACKED_BYTES)?;
        text.lines().find_map(|line| {
            let (hash, found) = line.split_once(' ')?;
            (found == name).then(|| hash.to_owned())
        })
    }
}

/// Whether the name is one of a reference and cannot lead out of `refs`.
fn is_reference(name: &str) -> bool {
    name.starts_with("refs/")
        && Path::new(name)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

/// Whether a text is a SHA-1 or SHA-256.
fn is_hash(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Reads a one-line file in `folder`, unless a link leads out of the folder.
fn read_inside(folder: &Path, name: &str) -> Option<String> {
    let path = fs::canonicalize(folder.join(name)).ok()?;
    path.starts_with(folder).then(|| read_line(&path)).flatten()
}

fn read_line(path: &Path) -> Option<String> {
    let text = read_bounded(path, MOST_LINE_BYTES)?;
    Some(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Reads a regular file of at most this many bytes.
fn read_bounded(path: &Path, at_most: u64) -> Option<String> {
    // Opening a pipe would block.
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > at_most {
        return None;
    }
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(at_most).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0123456789abcdef0123456789abcdef01234567";
    const TWO: &str = "89abcdef0123456789abcdef0123456789abcdef";

    /// The commit that is found in a folder with these files.
    fn check(files: &[(&str, &str)], at: &str, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let at = folder.path().join(at);
        fs::create_dir_all(&at).unwrap();
        // Nothing above the folder must be found in its place.
        fs::create_dir_all(folder.path().join(".git")).unwrap();
        assert_eq!(commit(&at), expected, "{files:?}");
    }

    #[test]
    fn the_commit_is_found_where_git_keeps_it() {
        let line = format!("{ONE}\n");
        let head = (".git/HEAD", "ref: refs/heads/main\n");
        check(&[(".git/HEAD", &line)], "", ONE);
        check(&[head, (".git/refs/heads/main", &line)], "photos/cats", ONE);
        let packed = format!(
            "# pack-refs with: peeled fully-peeled sorted\n{TWO} refs/heads/a\n{ONE} refs/heads/main\n^{TWO}\n"
        );
        check(&[head, (".git/packed-refs", &packed)], "", ONE);
        let files = [
            head,
            (".git/refs/heads/main", "ref: refs/heads/b"),
            (".git/refs/heads/b", &line),
        ];
        check(&files, "", ONE);
    }

    #[test]
    fn a_worktree_has_a_head_of_its_own_and_shared_references() {
        let line = format!("{ONE}\n");
        let files = [
            (".git/HEAD", TWO),
            (".git/refs/heads/side", line.as_str()),
            (".git/worktrees/side/HEAD", "ref: refs/heads/side\n"),
            (".git/worktrees/side/commondir", "../..\n"),
            ("side/.git", "gitdir: ../.git/worktrees/side\n"),
        ];
        check(&files, "side", ONE);
        check(&files, "", TWO);
    }

    #[test]
    fn what_is_no_commit_is_not_recorded() {
        check(&[], "", "");
        check(&[(".git/HEAD", "ref: refs/heads/main\n")], "", "");
        check(&[(".git/HEAD", "0123")], "", "");
        check(&[(".git/HEAD", &"x".repeat(40))], "", "");
        check(&[(".git/HEAD", &format!("{ONE}\u{1b}"))], "", "");
        // References that never end, and those that would leave the folder.
        check(&[(".git/HEAD", "ref: HEAD")], "", "");
        let circle = [(".git/HEAD", "ref: refs/a"), (".git/refs/a", "ref: refs/a")];
        check(&circle, "", "");
        let outside = [(".git/HEAD", "ref: refs/../../secret"), ("secret", ONE)];
        check(&outside, "", "");
        let long = format!("{ONE}{}", "\n".repeat(5000));
        check(&[(".git/HEAD", &long)], "", "");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_the_repository_is_not_followed_and_a_pipe_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let git = folder.path().join(".git");
        fs::create_dir_all(git.join("refs")).unwrap();
        fs::write(folder.path().join("secret"), ONE).unwrap();
        fs::write(git.join("HEAD"), "ref: refs/a").unwrap();
        std::os::unix::fs::symlink("../../secret", git.join("refs/a")).unwrap();
        assert_eq!(commit(folder.path()), "");
        fs::remove_file(git.join("HEAD")).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(git.join("HEAD"))
            .status();
        assert!(made.unwrap().success());
        assert_eq!(commit(folder.path()), "");
    }
}
