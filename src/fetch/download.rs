//! Downloads one file over HTTP: resumed where it broke off, checked by its hash, and complete under its name or absent. Knows
//! neither the content of files nor the catalog.

use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::atomic::AtomicBool,
    time::Duration,
};

use ureq::{
    Agent, Body, Proxy,
    http::{Response, header},
    tls::RootCerts,
};

use super::{
    certificates,
    connection::{self, Blocks, check_stop, sleep},
    part::PartialFile,
    reply::{self, Reply},
};
use crate::{
    disk::hash,
    error::{Error, Result},
    text::plain::masked_address,
};

/// The longest `Retry-After` that is waited for; beyond it the download fails, so that the user can decide.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Whether the file had to be downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    AlreadyThere,
    Downloaded,
}

/// A file to download: its URL, its path, and what it must be.
pub(crate) struct DownloadRequest<'a> {
    pub(crate) url: &'a str,
    pub(crate) to: &'a Path,
    /// The beginning of the expected hash; empty accepts every file.
    pub(crate) sha256: &'a str,
    pub(crate) bytes: Option<u64>,
    /// The most bytes that are accepted, so that an endless body cannot fill the disk.
    pub(crate) at_most: u64,
}

impl DownloadRequest<'_> {
    /// The URL for messages, with secrets masked.
    pub(crate) fn place(&self) -> String {
        masked_address(self.url).into_owned()
    }

    /// The help line for a URL that does not work.
    pub(super) fn other_ways(&self) -> String {
        format!(
            "try another source with `--mirror URL`, or put the file at `{}` yourself",
            self.to.display()
        )
    }
}

/// Network settings, which tests replace.
pub(super) struct Manner {
    /// The pauses before each retry that follows an attempt without progress.
    pub(super) pauses: [Duration; 5],
    pub(super) proxy: Option<Proxy>,
    pub(super) authorities: RootCerts,
}

/// How one connection ended.
enum Attempt {
    Whole,
    /// The attempt failed but is worth a retry, at the earliest after `wait`.
    Broken {
        reason: String,
        wait: Duration,
    },
}

impl Attempt {
    fn broken(reason: String) -> Self {
        Self::Broken {
            reason,
            wait: Duration::ZERO,
        }
    }
}

/// Downloads the file. `progress` is called with the number of bytes received and in total.
pub(crate) fn download(
    order: &DownloadRequest,
    progress: &dyn Fn(u64, Option<u64>),
    stop: &AtomicBool,
) -> Result<Fetched> {
    let manner = Manner {
        pauses: [200, 500, 1000, 2000, 4000].map(Duration::from_millis),
        proxy: Proxy::try_from_env(),
        authorities: certificates::from_environment()?,
    };
    fetch(order, &manner, progress, stop)
}

/// Like [`download`], with the given network settings.
pub(super) fn fetch(
    order: &DownloadRequest,
    manner: &Manner,
    progress: &dyn Fn(u64, Option<u64>),
    stop: &AtomicBool,
) -> Result<Fetched> {
    check_scheme(order.url)?;
    if is_already_there(order, stop)? {
        return Ok(Fetched::AlreadyThere);
    }
    let folder = order
        .to
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    let mut part = PartialFile::open(order.to)?;
    // Another process may have finished the download just before this one locked the partial file.
    if is_already_there(order, stop)? {
        part.delete()?;
        return Ok(Fetched::AlreadyThere);
    }
    if let Err(error) = try_until_whole(order, manner, &mut part, progress, stop) {
        if part.bytes() == 0 {
            // An empty partial file is useless. If it cannot be deleted, the first error is still the one to report.
            let _ = part.delete();
        }
        return Err(error);
    }
    let sha256 = part.sha256(stop)?;
    if !begins_with(&sha256, order.sha256) {
        let bytes = part.bytes();
        part.delete()?;
        return Err(
            Error::fetch("the downloaded file has the wrong SHA-256 and was deleted")
                .at(order.place())
                .fact(expected_hash(order))
                .fact(format!("received: {sha256} ({bytes} bytes)"))
                .help("try again to download it from the start")
                .help(format!(
                    "if the hash is wrong again, the publisher or a proxy has changed the file: {}",
                    order.other_ways()
                )),
        );
    }
    part.finish(order.to)?;
    Ok(Fetched::Downloaded)
}

fn check_scheme(url: &str) -> Result<()> {
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(());
    }
    Err(Error::usage(format!(
        "unsupported URL `{}`: expected `https://` or `http://`",
        masked_address(url)
    ))
    .help("give the path of a file on this machine directly; it needs no download"))
}

fn expected_hash(order: &DownloadRequest) -> String {
    match order.sha256.len() {
        64.. => format!("expected: {}", order.sha256),
        _ => format!("expected: {}...", order.sha256),
    }
}

fn is_already_there(order: &DownloadRequest, stop: &AtomicBool) -> Result<bool> {
    if !order.to.exists() {
        return Ok(false);
    }
    // A link to a file is as good as the file, but hashing a pipe would never end.
    if !order.to.is_file() {
        let message = format!("`{}` is not a regular file", order.to.display());
        return Err(Error::fetch(message)
            .at(order.to)
            .help("move it away and try again"));
    }
    let mut file = File::open(order.to).map_err(Error::io("open", order.to))?;
    let sha256 = hash::sha256_of(&mut file, order.to, stop)?;
    if begins_with(&sha256, order.sha256) {
        return Ok(true);
    }
    Err(
        Error::fetch("the file exists already and has the wrong SHA-256")
            .at(order.to)
            .fact(expected_hash(order))
            .fact(format!("found: {sha256}"))
            .help("delete or rename this file and try again; it is never overwritten"),
    )
}

fn begins_with(sha256: &str, prefix: &str) -> bool {
    sha256.starts_with(&prefix.to_ascii_lowercase())
}

fn try_until_whole(
    order: &DownloadRequest,
    manner: &Manner,
    part: &mut PartialFile,
    progress: &dyn Fn(u64, Option<u64>),
    stop: &AtomicBool,
) -> Result<()> {
    let agent = connection::agent(order.url, manner.proxy.clone(), manner.authorities.clone());
    let mut n_failures = 0;
    // Progress is measured against the farthest byte: a server that always starts over and breaks makes none, however many
    // bytes it sends.
    let mut farthest = part.bytes();
    loop {
        let (reason, wait) = match attempt(&agent, order, part, progress, stop)? {
            Attempt::Whole => return Ok(()),
            Attempt::Broken { reason, wait } => (reason, wait),
        };
        if part.bytes() > farthest {
            farthest = part.bytes();
            n_failures = 0;
        }
        if wait > LONGEST_WAIT {
            let reason = format!("{reason} and asks to wait {} s", wait.as_secs());
            return Err(given_up(order, part, &reason));
        }
        let Some(&pause) = manner.pauses.get(n_failures) else {
            let reason = format!("{reason} (gave up after {n_failures} retries)");
            return Err(given_up(order, part, &reason));
        };
        n_failures += 1;
        sleep(pause.max(wait), stop)?;
    }
}

fn given_up(order: &DownloadRequest, part: &PartialFile, reason: &str) -> Error {
    let retry = match part.bytes() {
        0 => "try again later".to_owned(),
        // A server without ranges will start over again, so a promise to resume would be wrong.
        _ if part.is_started_over() => {
            "try again later (the server does not support resuming)".to_owned()
        }
        bytes => format!("try again later (the first {bytes} bytes are kept and will be resumed)"),
    };
    Error::fetch(format!("cannot download the file: {reason}"))
        .at(order.place())
        .help(retry)
        .help(order.other_ways())
}

/// Sends one request and receives as much of its body as comes.
fn attempt(
    agent: &Agent,
    order: &DownloadRequest,
    part: &mut PartialFile,
    progress: &dyn Fn(u64, Option<u64>),
    stop: &AtomicBool,
) -> Result<Attempt> {
    check_stop(stop)?;
    if order.bytes.is_some_and(|bytes| part.bytes() > bytes) {
        part.restart(None)?;
    }
    if part.bytes() > 0 && order.bytes == Some(part.bytes()) {
        return Ok(Attempt::Whole);
    }
    let mut request = agent.get(order.url);
    if part.bytes() > 0 {
        request = request.header(header::RANGE, format!("bytes={}-", part.bytes()));
        if let Some(validator) = part.validator() {
            request = request.header(header::IF_RANGE, validator);
        }
    }
    let response = match connection::call(request, stop)? {
        Ok(response) => response,
        Err(error) if is_worth_another_try(&error) => {
            return Ok(Attempt::broken(error.to_string()));
        }
        Err(error) => return Err(hopeless(order, &error)),
    };
    match reply::understand(&response, order, part)? {
        Reply::Body { total } => receive(response, total, order, part, progress, stop),
        Reply::Whole => Ok(Attempt::Whole),
        Reply::Broken(reason) => Ok(Attempt::broken(reason)),
        Reply::Busy { reason, wait } => Ok(Attempt::Broken { reason, wait }),
    }
}

/// Whether a retry may succeed: true unless the error is certain to happen again.
fn is_worth_another_try(error: &ureq::Error) -> bool {
    match error {
        // An untrusted certificate is reported as invalid data.
        ureq::Error::Io(error) => error.kind() != io::ErrorKind::InvalidData,
        ureq::Error::BadUri(_)
        | ureq::Error::Http(_)
        | ureq::Error::TooManyRedirects
        | ureq::Error::RedirectFailed
        | ureq::Error::RequireHttpsOnly(_)
        | ureq::Error::InvalidProxyUrl
        | ureq::Error::Tls(_)
        | ureq::Error::Pem(_)
        | ureq::Error::Rustls(_) => false,
        // The enum is non-exhaustive.
        _ => true,
    }
}

fn hopeless(order: &DownloadRequest, error: &ureq::Error) -> Error {
    let message = match error {
        // The library resolves a scheme that it does not know as a path on the same server, which redirects again.
        ureq::Error::TooManyRedirects => {
            "too many redirects, or a redirect to a URL that is not HTTP".to_owned()
        }
        error => format!("cannot download the file: {error}"),
    };
    let failed = Error::fetch(message).at(order.place());
    let failed = match error {
        ureq::Error::Io(_) => failed.help(format!(
            "if a proxy intercepts TLS, set `{}` to its CA certificate",
            certificates::VARIABLE
        )),
        _ => failed,
    };
    failed.help(order.other_ways())
}

fn receive(
    response: Response<Body>,
    total: Option<u64>,
    order: &DownloadRequest,
    part: &mut PartialFile,
    progress: &dyn Fn(u64, Option<u64>),
    stop: &AtomicBool,
) -> Result<Attempt> {
    let blocks = Blocks::of(response.into_body());
    loop {
        progress(part.bytes(), total);
        let block = match blocks.next(stop)? {
            None => break,
            Some(Ok(block)) => block,
            Some(Err(error)) => return Ok(Attempt::broken(error.to_string())),
        };
        let limit = total.unwrap_or(order.at_most);
        if part.bytes() + block.len() as u64 > limit {
            part.restart(None)?;
            let expected = if total.is_some() { "" } else { "at most " };
            let message = format!("received more bytes than expected ({expected}{limit})");
            return Err(reply::wrong_size(order, message));
        }
        part.append(&block)?;
    }
    match total {
        Some(total) if part.bytes() < total => Ok(Attempt::broken(format!(
            "the connection ended after {} of {total} bytes",
            part.bytes()
        ))),
        Some(_) | None => Ok(Attempt::Whole),
    }
}
