//! Full disks: small file systems in memory that the test mounts.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use super::site::{Plan, Site, in_cluster, is_running, signal, wait_for_rest, wait_until};
use crate::program::read;

/// A file system in memory.
struct Mounted(PathBuf);

impl Mounted {
    fn new(place: PathBuf, size: &str) -> Self {
        fs::create_dir_all(&place).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        assert!(command.arg(&place).status().unwrap().success());
        Self(place)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Otherwise the folder of the case could not be removed. What a failed test shows may be in here.
        if !thread::panicking() {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
}

/// Writes until nothing more fits.
fn fill(file: &Path) {
    let mut file = fs::File::create(file).unwrap();
    let block = [1; 4096];
    while file.write_all(&block).is_ok() {}
    while file.write_all(&[1]).is_ok() {}
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn a_node_whose_cache_has_no_room_trains_without_it() {
    in_cluster(&[], || {
        let mut plan = Plan {
            epochs: 4,
            ..Plan::new("1e-3, 1e-2, 1e-4")
        };
        let site = Site::new(&plan);
        let full = site.case.path("full");
        let _mounted = Mounted::new(full.clone(), "64k");
        fill(&full.join("filler"));
        // One of three nodes, and a trial on each.
        let setup = format!(
            "[ $SLURMD_NODENAME != n1 ] || export XDG_CACHE_HOME={}",
            full.display()
        );
        plan.slurm = format!("cpus_per_task = 2\nsetup = [{setup:?}]");
        site.write(&plan);
        assert_eq!(site.submit(), 3);
        site.check_finished();
        let job = site.job(1);
        let logs = [1, 2, 3].map(|index| read(&site.log(&format!("{job}_{index}"))));
        let n_without = logs
            .iter()
            .filter(|log| log.contains("No space left on device"))
            .count();
        assert_eq!(n_without, 1, "{logs:#?}");
    });
}

#[test]
#[ignore = "needs a Slurm cluster"]
fn a_sweep_that_has_filled_its_disk_goes_on_once_there_is_room() {
    in_cluster(&[], || {
        let site = Site::new(&Plan::new("1e-3, 1e-2"));
        let _mounted = Mounted::new(site.case.path("runs"), "96m");
        assert_eq!(site.submit(), 2);
        let trials = site.trials();
        let processes = [site.catch(&trials[0]), site.catch(&trials[1])];
        let filler = site.case.path("runs/filler");
        fill(&filler);
        for process in processes {
            signal("CONT", process);
        }
        wait_until("both stop", || processes.iter().all(|it| !is_running(*it)));
        wait_for_rest();
        // With room for a few words only, not for a run.
        let status = site.status();
        for shown in status.values() {
            assert!(
                shown.state == "failed" || shown.state == "interrupted",
                "{status:#?}"
            );
            // If not even the log had room, Slurm knows at least that it failed.
            let is_said = shown.reason.contains("No space left on device");
            assert!(is_said || shown.reason == "Slurm: FAILED", "{status:#?}");
        }
        fs::remove_file(&filler).unwrap();
        assert_eq!(site.submit(), 2);
        site.check_finished();
    });
}
