//! Ctrl-C at any moment.

use std::thread;

use super::*;

use crate::error::Kind;

#[test]
fn a_stop_ends_the_pause_between_tries() {
    let case = Case::new();
    let server = Server::start(vec![ScriptedReply::Status(500)]);
    let order = DownloadRequest {
        url: &server.url("/file.bin"),
        to: &case.to(),
        sha256: "",
        bytes: None,
        at_most: AT_MOST,
    };
    let patient = Manner {
        pauses: [Duration::from_hours(1); 5],
        proxy: None,
        authorities: ureq::tls::RootCerts::WebPki,
    };
    let stop = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            while server.requests().is_empty() {
                thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
        });
        fetch(&order, &patient, &|_, _| {}, &stop)
    });
    assert!(matches!(outcome, Err(error) if error.kind() == Kind::Interrupted));
}

#[test]
fn a_stop_does_not_wait_for_a_silent_connection() {
    let case = Case::new();
    let hanging = Served {
        break_after: Some(200_000),
        hangs: true,
        ..case.served()
    };
    for answer in [ScriptedReply::Silence, ScriptedReply::File(hanging)] {
        let server = Server::start(vec![answer]);
        let stop = AtomicBool::new(false);
        let start = Instant::now();
        let outcome = thread::scope(|scope| {
            scope.spawn(|| {
                while server.requests().is_empty() {
                    thread::yield_now();
                }
                thread::sleep(Duration::from_millis(300));
                stop.store(true, Ordering::Relaxed);
            });
            case.fetch_with(&server, None, &|_, _| {}, &stop)
        });
        assert!(matches!(outcome, Err(error) if error.kind() == Kind::Interrupted));
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(fs::metadata(case.part()).unwrap().len(), 200_000);
}

#[test]
fn a_stop_keeps_the_part_and_the_next_call_finishes() {
    let case = Case::new();
    let server = Server::start(vec![ScriptedReply::File(case.served())]);
    let stop = AtomicBool::new(false);
    let stop_soon = |done, _| stop.store(done > 100_000, Ordering::Relaxed);
    let outcome = case.fetch_with(&server, None, &stop_soon, &stop);
    assert!(matches!(outcome, Err(error) if error.kind() == Kind::Interrupted));
    let kept = fs::metadata(case.part()).unwrap().len();
    assert!((100_000..3_000_000).contains(&kept), "{kept}");
    assert!(!case.to().exists());
    case.fetch(&server).unwrap();
    case.check_whole();
    let range = format!("bytes={kept}-");
    assert_eq!(ranges(&server.requests()), [None, Some(range.as_str())]);
}
