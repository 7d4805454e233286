use std::{fs::OpenOptions, path::PathBuf, process::Command, sync::Mutex};

use super::*;

const EVERY: Duration = Duration::from_millis(400);

fn flag() -> &'static AtomicBool {
    Box::leak(Box::new(AtomicBool::new(false)))
}

/// Two hosts whose locks do not reach each other have two lock files.
fn place(dir: &Path, host: &str) -> ClaimPaths {
    ClaimPaths {
        dir: dir.to_owned(),
        lock: dir.join(format!("{host}.lock")),
        owner: dir.join("claim.toml"),
    }
}

fn ask(place: &ClaimPaths, stop: &'static AtomicBool) -> (Result<ClaimAnswer>, Vec<String>) {
    ask_every(place, EVERY, stop)
}

fn ask_every(
    place: &ClaimPaths,
    every: Duration,
    stop: &'static AtomicBool,
) -> (Result<ClaimAnswer>, Vec<String>) {
    let notes = Mutex::new(Vec::new());
    let answer = take(place.clone(), every, stop, &|text| {
        notes.lock().unwrap().push(text.to_owned());
    });
    (answer, notes.into_inner().unwrap())
}

fn ours(place: &ClaimPaths) -> Claim {
    match ask(place, flag()).0.unwrap() {
        ClaimAnswer::Ours(claim) => claim,
        ClaimAnswer::Theirs(who) => panic!("{who} has it"),
    }
}

fn theirs(place: &ClaimPaths) -> String {
    match ask(place, flag()).0.unwrap() {
        ClaimAnswer::Ours(_) => panic!("it was given"),
        ClaimAnswer::Theirs(who) => who,
    }
}

fn elsewhere() -> Owner {
    Owner {
        host: "faraway".to_owned(),
        process: 77,
        ..Owner::new()
    }
}

fn in_file(path: &Path) -> Owner {
    Owner::parse(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn an_owner_beats_while_it_works_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path(), "a");
    let claim = ours(&place);
    assert_eq!(in_file(&place.owner).beat, 0);
    thread::sleep(EVERY * 4);
    assert!(in_file(&place.owner).beat >= 2);
    assert!(claim.ensure_ours().is_ok());
    drop(claim);
    assert!(!place.owner.exists());
}

#[test]
fn one_that_is_locked_is_refused_with_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path(), "a");
    let _claim = ours(&place);
    assert!(is_taken(&place));
    let who = theirs(&place);
    let process = format!("{}, process {}, since 2", host_name(), std::process::id());
    assert!(who.starts_with(&process), "{who}");
}

#[test]
fn a_dead_process_of_this_machine_is_followed_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path(), "a");
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let dead = Owner {
        process: child.id(),
        process_started: 0,
        ..Owner::new()
    };
    dead.replace(&place.owner).unwrap();
    File::create(&place.lock).unwrap();
    assert!(is_taken(&place) && !dead.is_dead());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(dead.is_dead());
    assert!(!is_taken(&place));
    let (answer, notes) = ask(&place, flag());
    assert!(matches!(answer.unwrap(), ClaimAnswer::Ours(_)));
    assert!(notes.is_empty(), "{notes:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_later_process_with_the_same_id_is_another() {
    let other = Owner {
        process_started: Owner::new().process_started + 1,
        ..Owner::new()
    };
    assert!(other.is_dead());
    assert!(!Owner::new().is_dead());
    // Nobody here knows of the processes of another host.
    assert!(
        !Owner {
            host: "faraway".to_owned(),
            ..other
        }
        .is_dead()
    );
}

#[test]
fn one_of_another_host_that_is_silent_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path(), "a");
    elsewhere().replace(&place.owner).unwrap();
    let started = Instant::now();
    let (answer, notes) = ask(&place, flag());
    assert!(started.elapsed() > EVERY * 2);
    assert!(
        notes[0].contains("whether faraway, process 77 is still running"),
        "{notes:?}"
    );
    let ClaimAnswer::Ours(claim) = answer.unwrap() else {
        panic!("it was not given");
    };
    assert_eq!(in_file(&place.owner).host, host_name());
    drop(claim);
    assert!(!place.owner.exists());
}

#[test]
fn what_cannot_be_read_is_watched_too() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path(), "a");
    fs::write(&place.owner, "").unwrap();
    let started = Instant::now();
    drop(ours(&place));
    assert!(started.elapsed() > EVERY * 2);
}

#[test]
fn one_of_another_host_that_beats_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (place(folder.path(), "a"), place(folder.path(), "b"));
    let claim = ours(&there);
    // Their process is this one, which is alive: only its beats tell.
    let who = theirs(&here);
    assert!(who.contains("process"), "{who}");
    assert!(claim.ensure_ours().is_ok());
}

#[test]
fn one_that_ends_while_it_is_watched_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path(), "a");
    elsewhere().replace(&place.owner).unwrap();
    let path = place.owner.clone();
    let end = thread::spawn(move || {
        thread::sleep(EVERY);
        fs::remove_file(path).unwrap();
    });
    drop(ours(&place));
    end.join().unwrap();
}

#[test]
fn who_waits_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path(), "a");
    elsewhere().replace(&place.owner).unwrap();
    let stop = flag();
    stop.set();
    assert!(matches!(ask(&place, stop).0, Err(error) if error.is_interrupted()));
    assert_eq!(in_file(&place.owner).host, "faraway");
}

#[test]
fn of_many_that_see_the_same_silence_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    elsewhere()
        .replace(&folder.path().join("claim.toml"))
        .unwrap();
    let dir: PathBuf = folder.path().to_owned();
    let askers: Vec<_> = (0..6)
        .map(|host| {
            let place = place(&dir, &host.to_string());
            // Writing takes its time where many do.
            thread::spawn(move || ask_every(&place, EVERY * 4, flag()).0.unwrap())
        })
        .collect();
    let answers: Vec<ClaimAnswer> = askers.into_iter().map(|it| it.join().unwrap()).collect();
    let n_ours = answers
        .iter()
        .filter(|it| matches!(it, ClaimAnswer::Ours(_)))
        .count();
    assert_eq!(n_ours, 1);
}

#[test]
fn who_was_taken_over_finds_out_stops_and_leaves_the_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path(), "a");
    let stop = flag();
    let ClaimAnswer::Ours(claim) = ask(&place, stop).0.unwrap() else {
        panic!("it was not given");
    };
    let other = elsewhere();
    other.replace(&place.owner).unwrap();
    // The old owner notices with its next beat, which must not reach the file of the new one.
    thread::sleep(EVERY * 3);
    assert!(stop.is_set());
    let error = claim.ensure_ours().unwrap_err().to_string();
    assert!(
        error.contains("was taken over by faraway, process 77"),
        "{error}"
    );
    // Once lost is lost.
    fs::remove_file(&place.owner).unwrap();
    assert!(
        claim
            .ensure_ours()
            .unwrap_err()
            .to_string()
            .contains("faraway")
    );
    other.replace(&place.owner).unwrap();
    drop(claim);
    assert_eq!(in_file(&place.owner), other);
}

#[test]
fn a_claim_whose_file_has_gone_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path(), "a");
    let stop = flag();
    let ClaimAnswer::Ours(claim) = ask(&place, stop).0.unwrap() else {
        panic!("it was not given");
    };
    fs::remove_file(&place.owner).unwrap();
    let error = claim.ensure_ours().unwrap_err().to_string();
    assert!(error.contains("`claim.toml` has been removed"), "{error}");
    assert!(stop.is_set());
}

#[test]
fn one_that_was_silent_for_a_day_is_shown_as_gone() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path(), "a");
    File::create(&place.lock).unwrap();
    elsewhere().replace(&place.owner).unwrap();
    assert!(is_taken(&place));
    let file = OpenOptions::new().write(true).open(&place.owner).unwrap();
    file.set_modified(SystemTime::now() - SILENCE - BEAT)
        .unwrap();
    assert!(!is_taken(&place));
}

#[test]
fn a_lock_that_no_claim_explains_is_told_from_work() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path(), "a");
    let reader = File::create(&place.lock).unwrap();
    reader.lock().unwrap();
    let dead = Owner {
        process: u32::MAX / 4,
        ..Owner::new()
    };
    for owner in [None, Some(dead)] {
        if let Some(owner) = owner {
            owner.replace(&place.owner).unwrap();
        }
        let who = theirs(&place);
        assert!(
            who.contains("has locked") && who.contains("a.lock"),
            "{who}"
        );
        #[cfg(target_os = "linux")]
        if fs::exists("/proc/locks").unwrap() {
            let process = format!("process {}", std::process::id());
            assert!(
                who.contains(&process) || who.contains("another process"),
                "{who}"
            );
        }
    }
    drop(reader);
    drop(ours(&place));
}

/// A start of a job of a scheduler.
fn start_of(job: &str, restarts: u32) -> Owner {
    Owner {
        job: job.to_owned(),
        restarts,
        ..Owner::new()
    }
}

fn ours_as(owner: Owner, place: &ClaimPaths) -> Claim {
    match take_as(owner, place.clone(), EVERY, flag(), &|_| {}).unwrap() {
        ClaimAnswer::Ours(claim) => claim,
        ClaimAnswer::Theirs(who) => panic!("{who} has it"),
    }
}

#[test]
fn only_a_later_start_of_the_same_job_replaces_an_owner() {
    let first = start_of("14_3", 0);
    assert!(start_of("14_3", 1).replaces(&first));
    assert!(!start_of("14_3", 0).replaces(&first));
    assert!(!start_of("14_4", 1).replaces(&first));
    assert!(!start_of("", 1).replaces(&start_of("", 0)));
}

#[test]
fn a_later_start_of_a_job_takes_over_from_one_that_is_alive_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let first = ours_as(start_of("14_3", 0), &place(folder.path(), "a"));
    let second = ours_as(start_of("14_3", 1), &place(folder.path(), "b"));
    assert!(first.ensure_ours().is_err());
    assert!(first.held.stop.is_set());
    assert!(second.ensure_ours().is_ok());
    drop(first);
    assert_eq!(in_file(&second.held.place.owner).restarts, 1);
}

#[test]
fn a_later_start_of_a_job_waits_until_one_on_this_machine_has_given_way() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path(), "a");
    let first = ours_as(start_of("14_3", 0), &place);
    let later = thread::spawn({
        let place = place.clone();
        move || ours_as(start_of("14_3", 1), &place).ensure_ours().is_ok()
    });
    // The heartbeat notices it, and the work ends.
    while !first.held.stop.is_set() {
        thread::sleep(EVERY / 10);
    }
    assert!(!later.is_finished());
    drop(first);
    assert!(later.join().unwrap());
}
