//! What no new try can mend, and what must not be touched.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    thread,
};

use super::*;

use crate::error::Kind;

#[test]
fn a_server_without_ranges_that_always_breaks_is_given_up() {
    let case = Case::new();
    let file = Served {
        ranges: false,
        ..case.served()
    };
    let server = Server::start(vec![broken(file, 1000)]);
    let text = message(case.fetch(&server));
    assert!(text.contains("gave up"), "{text}");
    assert!(text.contains("does not support resuming"), "{text}");
    assert!(!text.contains("will be resumed"), "{text}");
    // One attempt makes progress, then five do not.
    assert_eq!(server.requests().len(), 6);
}

#[test]
fn wrong_contents_are_deleted_and_both_hashes_told() {
    let case = Case::new();
    let other = vec![1; 3_000_000];
    let server = Server::start(vec![ScriptedReply::File(Served::new(&other))]);
    let text = message(case.fetch(&server));
    assert!(text.contains(&hash::hex(&Sha256::digest(&other))), "{text}");
    let expected = case.sha256()[..8].to_ascii_uppercase();
    assert!(text.contains(&expected), "{text}");
    assert!(text.contains("from the start"), "{text}");
    assert!(names_in(&case.folder.path().join("new")).is_empty());
}

#[test]
fn a_redirect_in_a_circle_is_an_error() {
    let case = Case::new();
    for to in ["/file.bin", "file:///etc/passwd"] {
        let server = Server::start(vec![ScriptedReply::Redirect(to.to_owned())]);
        let text = message(case.fetch(&server));
        assert!(text.contains("too many redirects"), "{text}");
        assert!(names_in(&case.folder.path().join("new")).is_empty());
    }
}

#[test]
fn what_is_not_found_is_told_at_once() {
    let case = Case::new();
    for status in [404, 403] {
        let server = Server::start(vec![ScriptedReply::Status(status)]);
        let text = message(case.fetch(&server));
        assert!(text.starts_with(&server.url("/file.bin")), "{text}");
        assert!(text.contains(&status.to_string()), "{text}");
        assert!(text.contains("--mirror URL"), "{text}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_server_that_stays_in_trouble_is_given_up() {
    let case = Case::new();
    let server = Server::start(vec![ScriptedReply::Status(502)]);
    let text = message(case.fetch(&server));
    assert!(text.contains("502"), "{text}");
    assert_eq!(server.requests().len(), 6);
}

#[test]
fn nobody_listening_is_an_error() {
    let case = Case::new();
    let order = DownloadRequest {
        // Port 1 is reserved and unused.
        url: "http://127.0.0.1:1/file.bin",
        to: &case.to(),
        sha256: "",
        bytes: None,
        at_most: AT_MOST,
    };
    let outcome = fetch(&order, &hasty(), &|_, _| {}, &AtomicBool::new(false));
    assert!(message(outcome).contains("gave up"));
}

#[test]
fn what_is_there_already_is_checked_and_never_overwritten() {
    let case = Case::new();
    let server = Server::start(vec![ScriptedReply::File(case.served())]);
    fs::create_dir_all(case.to().parent().unwrap()).unwrap();
    fs::write(case.to(), &case.body).unwrap();
    assert_eq!(case.fetch(&server).unwrap(), Fetched::AlreadyThere);
    fs::write(case.to(), "mine").unwrap();
    let text = message(case.fetch(&server));
    assert!(text.contains("never overwritten"), "{text}");
    assert_eq!(fs::read(case.to()).unwrap(), b"mine");
    assert!(server.requests().is_empty());
}

#[test]
fn a_part_that_another_process_holds_is_left_alone() {
    let case = Case::new();
    case.leave_part(1000, None);
    let other = File::open(case.part()).unwrap();
    other.try_lock().unwrap();
    let server = Server::start(vec![ScriptedReply::File(case.served())]);
    let text = message(case.fetch(&server));
    assert!(text.contains("another process"), "{text}");
    assert_eq!(fs::metadata(case.part()).unwrap().len(), 1000);
    assert!(server.requests().is_empty());
    drop(other);
    case.fetch(&server).unwrap();
    case.check_whole();
}

#[test]
fn another_size_than_the_known_one_is_refused_before_it_comes() {
    let case = Case::new();
    let server = Server::start(vec![ScriptedReply::File(case.served())]);
    let outcome = case.fetch_with(&server, Some(10), &|_, _| {}, &AtomicBool::new(false));
    let text = message(outcome);
    assert!(text.contains("offers 3000000 bytes, expected 10"), "{text}");
    assert!(!case.part().exists());
}

#[test]
fn more_than_the_known_size_is_refused_when_it_comes() {
    let case = Case::new();
    let endless = Served {
        length: Length::Unsaid,
        ..case.served()
    };
    let server = Server::start(vec![ScriptedReply::File(endless)]);
    let outcome = case.fetch_with(&server, Some(10), &|_, _| {}, &AtomicBool::new(false));
    let text = message(outcome);
    assert!(
        text.contains("received more bytes than expected (10)"),
        "{text}"
    );
    assert!(!case.part().exists());
}

#[test]
fn more_than_any_such_file_has_is_refused_before_it_fills_the_disk() {
    let case = Case::new();
    let large = Served::new(&vec![7; 4_000_001]);
    let endless = Served {
        length: Length::Unsaid,
        ..large.clone()
    };
    for (file, reason) in [
        (large, "expected at most 4000000"),
        (
            endless,
            "received more bytes than expected (at most 4000000)",
        ),
    ] {
        let server = Server::start(vec![ScriptedReply::File(file)]);
        let text = message(case.fetch(&server));
        assert!(text.contains(reason), "{text}");
        assert!(!case.part().exists());
    }
}

#[test]
fn a_login_page_is_called_one_and_costs_no_part() {
    let case = Case::new();
    case.leave_part(1000, Some("\"one\""));
    let server = Server::start(vec![ScriptedReply::WebPage]);
    let text = message(case.fetch(&server));
    assert!(text.contains("received an HTML page"), "{text}");
    let by_hand = format!("put the file at `{}` yourself", case.to().display());
    assert!(text.contains(&by_hand), "{text}");
    assert_eq!(fs::metadata(case.part()).unwrap().len(), 1000);
}

#[test]
fn a_server_that_wants_an_hour_is_left_alone() {
    let case = Case::new();
    let server = Server::start(vec![ScriptedReply::Later(3600)]);
    let text = message(case.fetch(&server));
    assert!(text.contains("asks to wait 3600 s"), "{text}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_password_in_the_address_is_used_and_not_shown() {
    let case = Case::new();
    let server = Server::start(vec![ScriptedReply::Status(404)]);
    let url = server.url("/file.bin").replace("//", "//me:secret@");
    let order = DownloadRequest {
        url: &url,
        to: &case.to(),
        sha256: "",
        bytes: None,
        at_most: AT_MOST,
    };
    let text = message(fetch(&order, &hasty(), &|_, _| {}, &AtomicBool::new(false)));
    assert!(!text.contains("secret"), "{text}");
    assert!(server.requests()[0].header("Authorization").is_some());
}

#[test]
fn a_body_longer_than_announced_is_cut_and_then_refused_for_its_hash() {
    let case = Case::new();
    let file = Served {
        length: Length::Wrong(2_999_999),
        ..case.served()
    };
    let server = Server::start(vec![ScriptedReply::File(file)]);
    let text = message(case.fetch(&server));
    assert!(text.contains("(2999999 bytes)"), "{text}");
    assert!(names_in(&case.folder.path().join("new")).is_empty());
}

#[test]
fn other_schemes_are_refused() {
    let case = Case::new();
    for url in ["file:///etc/passwd", "ftp://a/b", "model.pth"] {
        let order = DownloadRequest {
            url,
            to: &case.to(),
            sha256: "",
            bytes: None,
            at_most: AT_MOST,
        };
        let outcome = fetch(&order, &hasty(), &|_, _| {}, &AtomicBool::new(false));
        assert!(
            matches!(outcome, Err(error) if error.kind() == Kind::Usage),
            "{url}"
        );
    }
}

/// The address of a server that gives every request this answer.
fn address_that_says(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1 << 14]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn a_continuation_beyond_all_numbers_is_refused() {
    let case = Case::new();
    case.leave_part(1000, None);
    let address = address_that_says(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1000-/*\r\nContent-Length: 18446744073709551615\r\n\r\n",
    );
    let order = DownloadRequest {
        url: &format!("http://{address}/file.bin"),
        to: &case.to(),
        sha256: "",
        bytes: None,
        at_most: AT_MOST,
    };
    let outcome = fetch(&order, &hasty(), &|_, _| {}, &AtomicBool::new(false));
    let text = message(outcome);
    assert!(text.contains("expected at most"), "{text}");
}

#[test]
fn an_answer_that_is_not_encrypted_is_no_answer_to_https() {
    let case = Case::new();
    let address = address_that_says("HTTP/1.1 400 Bad Request\r\n\r\n");
    let order = DownloadRequest {
        url: &format!("https://{address}/file.bin"),
        to: &case.to(),
        sha256: "",
        bytes: None,
        at_most: AT_MOST,
    };
    let outcome = fetch(&order, &hasty(), &|_, _| {}, &AtomicBool::new(false));
    assert!(matches!(outcome, Err(error) if error.kind() == Kind::Fetch));
    assert!(!case.to().exists());
}

#[cfg(unix)]
#[test]
fn nothing_is_written_through_a_link_and_no_pipe_is_waited_for() {
    let case = Case::new();
    let server = Server::start(vec![ScriptedReply::File(case.served())]);
    case.leave_part(0, None);
    let victim = case.folder.path().join("victim");
    let pipe = |path: &Path| {
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    };
    for place in [case.part(), case.to()] {
        fs::remove_file(&place).ok();
        pipe(&place);
        let text = message(case.fetch(&server));
        assert!(text.contains("not a regular file"), "{text}");
        fs::remove_file(&place).unwrap();
    }
    fs::write(&victim, "mine").unwrap();
    std::os::unix::fs::symlink(&victim, case.part()).unwrap();
    let text = message(case.fetch(&server));
    assert!(text.contains("not a regular file"), "{text}");
    assert!(server.requests().is_empty());
    // The version beside it, where the part itself is good, and a link of the file's own name that leads nowhere.
    fs::remove_file(case.part()).unwrap();
    let etag = case.folder.path().join("new/file.bin.part.etag");
    std::os::unix::fs::symlink(&victim, &etag).unwrap();
    std::os::unix::fs::symlink("nowhere", case.to()).unwrap();
    assert_eq!(case.fetch(&server).unwrap(), Fetched::Downloaded);
    case.check_whole();
    assert_eq!(fs::read(&victim).unwrap(), b"mine");
}
