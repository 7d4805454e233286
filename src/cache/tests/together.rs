//! Several processes and threads at once; each store opens its own files, as those of another process do.

use std::{
    env,
    process::{Command, Stdio},
    sync::Barrier,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::*;

#[test]
fn two_processes_fill_one_entry_at_once_and_see_each_others_items() {
    const N_ITEMS: usize = 2000;
    let dir = dir();
    let all_have_begun = Barrier::new(3);
    let fill = |start: usize| {
        let store = open(&dir);
        put(&store, start);
        // None is done before the others begin.
        all_have_begun.wait();
        for at in 0..N_ITEMS {
            let number = (start + at) % N_ITEMS;
            store.refresh().unwrap();
            if get(&store, number) == Lookup::Absent {
                put(&store, number);
            }
        }
        (0..N_ITEMS).for_each(|number| assert_eq!(get(&store, number), Lookup::Sound));
        store.folder().to_owned()
    };
    let folder = thread::scope(|scope| {
        let starts = [0, N_ITEMS / 2, N_ITEMS / 3];
        let fillers = starts.map(|start| scope.spawn(move || fill(start)));
        fillers.map(|filler| filler.join().unwrap())[0].clone()
    });
    assert_eq!(files(&folder, ".act").len(), 3);
    let store = open(&dir);
    assert_eq!(store.len(), N_ITEMS);
    // Nearly nothing was computed twice.
    let bytes = files(&folder, ".act")
        .into_iter()
        .map(|path| path.metadata().unwrap().len());
    assert!(bytes.sum::<u64>() < N_ITEMS as u64 * SLOT_BYTES * 5 / 4);
}

#[test]
fn threads_read_one_store_while_another_fills_it() {
    const N_ITEMS: usize = 3000;
    let dir = dir();
    let store = open(&dir);
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    let n_known = store.len();
                    for number in (0..n_known).step_by(1 + n_known / 50) {
                        assert_eq!(get(&store, number), Lookup::Sound);
                    }
                }
            });
        }
        for number in 0..N_ITEMS {
            put(&store, number);
        }
        is_done.store(true, Ordering::Relaxed);
    });
    assert_eq!(store.len(), N_ITEMS);
}

#[test]
fn more_segments_than_a_process_may_open_are_read() {
    let dir = dir();
    for number in 0..200 {
        put(&open(&dir), number);
    }
    let store = open(&dir);
    for number in (0..200).chain((0..200).rev()) {
        assert_eq!(get(&store, number), Lookup::Sound);
    }
}

#[test]
fn a_record_in_the_writing_counts_once_it_is_whole() {
    let (source, folder) = with_three_items();
    let dir = dir();
    let reader = open(&dir);
    let index = fs::read(file(&folder, ".idx")).unwrap();
    fs::copy(file(&folder, ".act"), reader.folder().join("000-a.act")).unwrap();
    let path = reader.folder().join("000-a.idx");
    for n_bytes in 0..=index.len() {
        // Later parts of the file may be visible as zeros first.
        let mut bytes = index.clone();
        bytes[n_bytes..].fill(0);
        if n_bytes % 2 == 0 {
            bytes.truncate(n_bytes);
        }
        fs::write(&path, bytes).unwrap();
        reader.refresh().unwrap();
        assert_eq!(reader.len(), n_bytes / RECORD_BYTES);
    }
    (0..3).for_each(|number| assert_eq!(get(&reader, number), Lookup::Sound));
    drop(source);
}

const DIR_OF_A_CHILD: &str = "RUNNER_TEST_CACHE_DIR";
const N_FOR_CHILDREN: usize = 100_000;

/// Not a test: what the next test runs in other processes.
#[test]
#[ignore = "fills for another test"]
fn a_child_fills_until_it_is_killed() {
    let Ok(dir) = env::var(DIR_OF_A_CHILD) else {
        return;
    };
    let store = Store::open(Path::new(&dir), &recipe(), Trust::Own).unwrap();
    for number in 0..N_FOR_CHILDREN {
        if number % 16 == 0 {
            store.refresh().unwrap();
        }
        if get(&store, number) == Lookup::Absent {
            put(&store, number);
        }
    }
    // Waits to be killed, but not for ever.
    thread::sleep(Duration::from_mins(1));
}

#[test]
fn killed_processes_leave_nothing_damaged_and_others_go_on() {
    let dir = dir();
    let start = || {
        Command::new(env::current_exe().unwrap())
            .args(["--ignored", "a_child_fills_until_it_is_killed"])
            .env(DIR_OF_A_CHILD, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    for round in 0..5 {
        let mut children = [start(), start()];
        let store = open(&dir);
        let n_before = store.len();
        let waiting = Instant::now();
        while store.len() < n_before + 100 * (round + 1) {
            assert!(
                waiting.elapsed() < Duration::from_mins(1),
                "the children do nothing"
            );
            store.refresh().unwrap();
        }
        drop(store);
        let in_use = prune(dir.path(), Prune::All, false).unwrap();
        assert!(in_use.is_empty());
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let checked = verify(dir.path(), |_, _| {}, &AtomicBool::new(false)).unwrap();
        assert_eq!((checked[0].n_damaged, &checked[0].problem), (0, &None));
        let store = open(&dir);
        assert!(store.len() > n_before);
        (0..store.len()).for_each(|number| assert_eq!(get(&store, number), Lookup::Sound));
    }
    // The system takes the locks from the dead.
    assert_eq!(prune(dir.path(), Prune::All, false).unwrap().len(), 1);
}
