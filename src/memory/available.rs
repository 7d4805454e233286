//! The memory that another process may take: what is free on the machine, what the control group leaves and what `ulimit -v`
//! allows. Linux only; unknown on other systems.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::text::table::bytes;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Available {
    pub(crate) n_bytes: u64,
    /// What sets this limit.
    pub(crate) limit: &'static str,
}

const MACHINE: &str = "this machine";
const CONTROL_GROUP: &str = "the control group";
const ADDRESS_SPACE: &str = "`ulimit -v`";

impl Available {
    /// Whether processes share this memory; a limit of `ulimit -v` is per process.
    pub(crate) fn is_shared(&self) -> bool {
        self.limit != ADDRESS_SPACE
    }
}

impl std::fmt::Display for Available {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} ({})", bytes(self.n_bytes), self.limit)
    }
}

/// The memory that a process may still take; `None` if the system does not report it.
pub(crate) fn available() -> Option<Available> {
    below(Path::new("/"))
}

/// Reads the limits from the files below `root`, which is another directory in tests.
fn below(root: &Path) -> Option<Available> {
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    let machine = read("proc/meminfo").and_then(|text| kib(&text, "MemAvailable:"));
    let group = read("proc/self/cgroup").and_then(|text| of_groups(root, &text));
    let address = read("proc/self/limits").and_then(|text| address_space(&text));
    let all = [
        (machine, MACHINE),
        (group, CONTROL_GROUP),
        (address, ADDRESS_SPACE),
    ];
    all.into_iter()
        .filter_map(|(n_bytes, limit)| n_bytes.map(|n_bytes| Available { n_bytes, limit }))
        .min_by_key(|available| available.n_bytes)
}

/// The number of a line like `MemAvailable:   23456 kB`, in bytes.
pub(super) fn kib(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number: u64 = line.split_whitespace().next()?.parse().ok()?;
    number.checked_mul(1024)
}

/// Reads `Max address space  8388608000  unlimited  bytes`, in which the first number is the one in force.
fn address_space(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A version of control groups: where it is mounted, and how its files are called.
struct Generation {
    mount: &'static str,
    limit: &'static str,
    usage: &'static str,
    /// The keys of `memory.stat` for cached pages of files, which the kernel drops when memory is needed.
    pages: [&'static str; 2],
}

const FIRST: Generation = Generation {
    mount: "sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    pages: ["total_inactive_file", "total_active_file"],
};
const SECOND: Generation = Generation {
    mount: "sys/fs/cgroup",
    limit: "memory.max",
    usage: "memory.current",
    pages: ["inactive_file", "active_file"],
};

/// The least that any group of `/proc/self/cgroup` or any group around it leaves.
fn of_groups(root: &Path, groups: &str) -> Option<u64> {
    let rooms = groups.lines().flat_map(|line| {
        let mut words = line.splitn(3, ':').skip(1);
        let (controllers, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let generation = match controllers {
            "" => Some(SECOND),
            _ if controllers.split(',').any(|it| it == "memory") => Some(FIRST),
            _ => None,
        };
        generation.map_or_else(Vec::new, |generation| {
            let mount = root.join(generation.mount);
            let group = mount.join(path.trim_start_matches('/'));
            let around: Vec<PathBuf> = group
                .ancestors()
                .take_while(|folder| folder.starts_with(&mount))
                .map(Path::to_owned)
                .collect();
            around
                .iter()
                .filter_map(|folder| room_in(folder, &generation))
                .collect()
        })
    });
    rooms.min()
}

fn room_in(folder: &Path, generation: &Generation) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    // `max`, or more than any machine has, means that there is no limit.
    let limit: u64 = read(generation.limit)?.trim().parse().ok()?;
    if limit >= 1 << 60 {
        return None;
    }
    let usage: u64 = read(generation.usage)?.trim().parse().ok()?;
    let stat = read("memory.stat").unwrap_or_default();
    let pages = generation.pages.iter().filter_map(|key| {
        let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
        lines
            .find(|(name, _)| name == key)?
            .1
            .trim()
            .parse::<u64>()
            .ok()
    });
    Some(limit.saturating_sub(usage.saturating_sub(pages.sum())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], expected: Option<(u64, &'static str)>) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let expected = expected.map(|(n_bytes, limit)| Available { n_bytes, limit });
        assert_eq!(below(root.path()), expected);
    }

    const MEMINFO: (&str, &str) = (
        "proc/meminfo",
        "MemTotal:       24566892 kB\nMemFree:        11837344 kB\nMemAvailable:   20000000 kB\n",
    );

    #[test]
    fn without_a_limit_the_machine_counts() {
        let limits = "Max resident set          unlimited            unlimited            bytes\n\
                      Max address space         unlimited            unlimited            bytes\n";
        let files = [
            MEMINFO,
            ("proc/self/limits", limits),
            ("proc/self/cgroup", "0::/user.slice\n"),
            ("sys/fs/cgroup/user.slice/memory.max", "max\n"),
            ("sys/fs/cgroup/user.slice/memory.current", "1000\n"),
        ];
        check(&files, Some((20_000_000 * 1024, MACHINE)));
        check(&[], None);
    }

    #[test]
    fn a_group_around_the_own_one_counts_too_and_cached_files_do_not() {
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "0::/jobs/one\n"),
            ("sys/fs/cgroup/jobs/one/memory.max", "max\n"),
            ("sys/fs/cgroup/jobs/one/memory.current", "100\n"),
            ("sys/fs/cgroup/jobs/memory.max", "5000000\n"),
            ("sys/fs/cgroup/jobs/memory.current", "3000000\n"),
            (
                "sys/fs/cgroup/jobs/memory.stat",
                "anon 900000\ninactive_file 1500000\nactive_file 500000\n",
            ),
        ];
        check(&files, Some((4_000_000, CONTROL_GROUP)));
    }

    #[test]
    fn the_first_generation_says_unlimited_by_a_huge_number() {
        let group = "9:name=systemd:/\n4:memory:/docker/abc\n0::/\n";
        let folder = "sys/fs/cgroup/memory/docker/abc";
        let limit = format!("{folder}/memory.limit_in_bytes");
        let usage = format!("{folder}/memory.usage_in_bytes");
        let files = |n_bytes| {
            [
                MEMINFO,
                ("proc/self/cgroup", group),
                (limit.as_str(), n_bytes),
                (usage.as_str(), "1000\n"),
            ]
        };
        let machine = Some((20_000_000 * 1024, MACHINE));
        check(&files("9223372036854771712\n"), machine);
        check(&files("3000000\n"), Some((2_999_000, CONTROL_GROUP)));
    }

    #[test]
    fn the_address_space_counts_where_it_is_the_least() {
        let limits = "Max address space         4096000000           unlimited            bytes\n";
        let files = [MEMINFO, ("proc/self/limits", limits)];
        check(&files, Some((4_096_000_000, ADDRESS_SPACE)));
    }
}
