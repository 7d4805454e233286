//! Downloads from a server that misbehaves as real ones do.

mod refusals;
mod stops;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

use super::{
    download::{DownloadRequest, Fetched, Manner, fetch},
    server::{Length, ScriptedReply, Served, Server, TestRequest},
};
use crate::{disk::hash, error::Result};

const AT_MOST: u64 = 4_000_000;

/// A temporary folder, and the file that should be downloaded to it.
struct Case {
    folder: tempfile::TempDir,
    body: Vec<u8>,
}

impl Case {
    fn new() -> Self {
        // Larger than what sockets and readers buffer.
        let body = (0..3_000_000_u32)
            .map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        Self {
            folder: tempfile::tempdir().unwrap(),
            body,
        }
    }

    /// The target, in a folder that the download must create.
    fn to(&self) -> PathBuf {
        self.folder.path().join("new/file.bin")
    }

    fn part(&self) -> PathBuf {
        self.folder.path().join("new/file.bin.part")
    }

    fn served(&self) -> Served {
        Served::new(&self.body)
    }

    fn sha256(&self) -> String {
        hash::hex(&Sha256::digest(&self.body))
    }

    fn fetch(&self, server: &Server) -> Result<Fetched> {
        self.fetch_with(server, None, &|_, _| {}, &AtomicBool::new(false))
    }

    fn fetch_with(
        &self,
        server: &Server,
        bytes: Option<u64>,
        progress: &dyn Fn(u64, Option<u64>),
        stop: &AtomicBool,
    ) -> Result<Fetched> {
        let order = DownloadRequest {
            url: &server.url("/file.bin"),
            to: &self.to(),
            sha256: &self.sha256()[..8].to_ascii_uppercase(),
            bytes,
            at_most: AT_MOST,
        };
        fetch(&order, &hasty(), progress, stop)
    }

    /// The file is whole, and nothing else is there.
    fn check_whole(&self) {
        assert!(fs::read(self.to()).unwrap() == self.body);
        assert_eq!(names_in(&self.folder.path().join("new")), ["file.bin"]);
    }

    /// Leaves the first `n_bytes` of the file as an interrupted download would.
    fn leave_part(&self, n_bytes: usize, etag: Option<&str>) {
        fs::create_dir_all(self.part().parent().unwrap()).unwrap();
        fs::write(self.part(), &self.body[..n_bytes]).unwrap();
        if let Some(etag) = etag {
            fs::write(self.folder.path().join("new/file.bin.part.etag"), etag).unwrap();
        }
    }
}

fn hasty() -> Manner {
    Manner {
        pauses: [Duration::ZERO; 5],
        proxy: None,
        authorities: ureq::tls::RootCerts::WebPki,
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn ranges(requests: &[TestRequest]) -> Vec<Option<&str>> {
    requests
        .iter()
        .map(|request| request.header("Range"))
        .collect()
}

fn message(outcome: Result<Fetched>) -> String {
    outcome.unwrap_err().to_string()
}

fn broken(served: Served, after: usize) -> ScriptedReply {
    ScriptedReply::File(Served {
        break_after: Some(after),
        ..served
    })
}

#[test]
fn a_whole_download_has_the_right_bytes_and_leaves_nothing_beside_it() {
    let case = Case::new();
    let server = Server::start(vec![ScriptedReply::File(case.served())]);
    let last = std::cell::Cell::new((0, None));
    let outcome = case.fetch_with(
        &server,
        Some(3_000_000),
        &|done, total| last.set((done, total)),
        &AtomicBool::new(false),
    );
    assert_eq!(outcome.unwrap(), Fetched::Downloaded);
    assert_eq!(last.get(), (3_000_000, Some(3_000_000)));
    case.check_whole();
    assert_eq!(server.requests()[0].path, "/file.bin");
    assert_eq!(ranges(&server.requests()), [None]);
}

#[test]
fn a_broken_download_asks_for_the_rest_only() {
    let case = Case::new();
    let answers = vec![
        broken(case.served(), 1_000_000),
        broken(case.served(), 500_000),
        ScriptedReply::File(case.served()),
    ];
    let server = Server::start(answers);
    assert_eq!(case.fetch(&server).unwrap(), Fetched::Downloaded);
    case.check_whole();
    let requests = server.requests();
    assert_eq!(
        ranges(&requests),
        [None, Some("bytes=1000000-"), Some("bytes=1500000-")]
    );
    assert_eq!(requests[1].header("If-Range"), Some("\"one\""));
}

#[test]
fn progress_gives_new_tries_and_standing_still_does_not() {
    let case = Case::new();
    // The connection breaks nine times, but each time after new bytes.
    let mut answers: Vec<ScriptedReply> = (0..9).map(|_| broken(case.served(), 100_000)).collect();
    answers.push(broken(case.served(), 0));
    let server = Server::start(answers);
    let text = message(case.fetch(&server));
    assert!(text.contains("gave up after 5 retries"), "{text}");
    assert!(text.contains("first 900000 bytes are kept"), "{text}");
    assert_eq!(server.requests().len(), 9 + 5);
    assert_eq!(fs::metadata(case.part()).unwrap().len(), 900_000);
}

#[test]
fn a_server_without_ranges_starts_over() {
    let case = Case::new();
    let file = Served {
        ranges: false,
        ..case.served()
    };
    let server = Server::start(vec![
        broken(file.clone(), 1_000_000),
        ScriptedReply::File(file),
    ]);
    case.fetch(&server).unwrap();
    case.check_whole();
    assert_eq!(ranges(&server.requests()), [None, Some("bytes=1000000-")]);
}

#[test]
fn a_file_that_changes_between_tries_starts_over() {
    let case = Case::new();
    let old = Served {
        body: vec![7; 2_000_000],
        etag: Some("\"old\""),
        ..case.served()
    };
    let server = Server::start(vec![
        broken(old, 1_000_000),
        ScriptedReply::File(case.served()),
    ]);
    case.fetch(&server).unwrap();
    case.check_whole();
    assert_eq!(server.requests()[1].header("If-Range"), Some("\"old\""));
}

#[test]
fn a_continuation_of_another_place_is_not_believed() {
    let case = Case::new();
    case.leave_part(1000, None);
    let wrong = Served {
        range_error: 1,
        ..case.served()
    };
    let server = Server::start(vec![
        ScriptedReply::File(wrong),
        ScriptedReply::File(case.served()),
    ]);
    case.fetch(&server).unwrap();
    case.check_whole();
    assert_eq!(ranges(&server.requests()), [Some("bytes=1000-"), None]);
}

#[test]
fn a_continuation_of_another_version_is_not_believed() {
    let case = Case::new();
    case.leave_part(1000, Some("\"old\""));
    let heedless = Served {
        versions: false,
        ..case.served()
    };
    let server = Server::start(vec![ScriptedReply::File(heedless)]);
    case.fetch(&server).unwrap();
    case.check_whole();
    assert_eq!(ranges(&server.requests()), [Some("bytes=1000-"), None]);
}

#[test]
fn a_part_that_was_whole_is_only_checked() {
    let case = Case::new();
    case.leave_part(case.body.len(), Some("\"one\""));
    // Without a known size, the server has to say that the file is complete; with one, it is not asked.
    let server = Server::start(vec![ScriptedReply::File(case.served())]);
    case.fetch(&server).unwrap();
    case.check_whole();
    assert_eq!(server.requests().len(), 1);
    fs::remove_file(case.to()).unwrap();
    case.leave_part(case.body.len(), None);
    case.fetch_with(
        &server,
        Some(3_000_000),
        &|_, _| {},
        &AtomicBool::new(false),
    )
    .unwrap();
    case.check_whole();
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_part_that_is_too_long_starts_over() {
    let case = Case::new();
    case.leave_part(case.body.len(), None);
    let part = fs::OpenOptions::new()
        .append(true)
        .open(case.part())
        .unwrap();
    part.set_len(3_000_001).unwrap();
    let server = Server::start(vec![ScriptedReply::File(case.served())]);
    case.fetch(&server).unwrap();
    case.check_whole();
    assert_eq!(ranges(&server.requests()), [Some("bytes=3000001-"), None]);
}

#[test]
fn a_redirect_is_followed_with_its_range() {
    let case = Case::new();
    case.leave_part(1000, Some("\"one\""));
    let answers = vec![
        ScriptedReply::Redirect("/elsewhere".to_owned()),
        ScriptedReply::File(case.served()),
    ];
    let server = Server::start(answers);
    case.fetch(&server).unwrap();
    case.check_whole();
    let requests = server.requests();
    assert_eq!(requests[1].path, "/elsewhere");
    assert_eq!(requests[1].header("Range"), Some("bytes=1000-"));
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    let case = Case::new();
    let answers = vec![
        ScriptedReply::Status(500),
        ScriptedReply::Status(503),
        ScriptedReply::Status(429),
        ScriptedReply::File(case.served()),
    ];
    let server = Server::start(answers);
    case.fetch(&server).unwrap();
    case.check_whole();
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn a_server_is_asked_again_when_it_wants_to_be() {
    let case = Case::new();
    let server = Server::start(vec![
        ScriptedReply::Later(1),
        ScriptedReply::File(case.served()),
    ]);
    let start = Instant::now();
    case.fetch(&server).unwrap();
    case.check_whole();
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_body_of_unsaid_length_ends_with_its_connection() {
    let case = Case::new();
    let file = Served {
        length: Length::Unsaid,
        ..case.served()
    };
    let server = Server::start(vec![ScriptedReply::File(file)]);
    case.fetch(&server).unwrap();
    case.check_whole();
}

#[test]
fn a_body_shorter_than_announced_counts_as_broken() {
    let case = Case::new();
    let file = Served {
        length: Length::Wrong(3_000_001),
        ..case.served()
    };
    let server = Server::start(vec![ScriptedReply::File(file)]);
    // The second reply says that there is no more, and the hash that nothing is missing.
    case.fetch(&server).unwrap();
    case.check_whole();
    assert_eq!(ranges(&server.requests()), [None, Some("bytes=3000000-")]);
}
