//! One file over HTTP: resumed where it broke off, checked by its hash, whole under its name or absent. Knows neither
//! what is in it nor which files there are.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use ureq::{
    Agent, Body, Proxy,
    http::{Response, header},
};

use super::{
    part::Part,
    reply::{self, Reply},
};
use crate::{
    error::{Error, Result},
    hash,
};

const BLOCK_BYTES: usize = 128 << 10;

/// Without an answer or another byte for so long, a connection counts as broken.
const SILENCE: Duration = Duration::from_secs(30);

/// How often a pause looks whether to stop.
const PAUSE_STEP: Duration = Duration::from_millis(50);

/// Whether there was something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    AlreadyThere,
    Downloaded,
}

/// A file, where it comes from, and what it must be.
pub(super) struct Order<'a> {
    pub(super) url: &'a str,
    pub(super) to: &'a Path,
    /// The beginning of the hash; empty accepts everything.
    pub(super) sha256: &'a str,
    pub(super) bytes: Option<u64>,
}

/// How to deal with the network.
pub(super) struct Manner {
    /// Before each new try that follows one without progress.
    pub(super) pauses: [Duration; 5],
    pub(super) proxy: Option<Proxy>,
}

/// How one connection ended.
enum Attempt {
    Whole,
    /// Worth another try.
    Broken(String),
}

/// Downloads `item_url` to `to`; `progress` is told the bytes that are here and how many there will be.
pub(crate) fn download(
    item_url: &str,
    to: &Path,
    sha256_prefix: &str,
    expected_bytes: Option<u64>,
    progress: &dyn Fn(u64, Option<u64>),
    stop: &AtomicBool,
) -> Result<Fetched> {
    let order = Order {
        url: item_url,
        to,
        sha256: sha256_prefix,
        bytes: expected_bytes,
    };
    let manner = Manner {
        pauses: [200, 500, 1000, 2000, 4000].map(Duration::from_millis),
        proxy: Proxy::try_from_env(),
    };
    fetch(&order, &manner, progress, stop)
}

/// `download` in a manner of one's own.
pub(super) fn fetch(
    order: &Order,
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
        fs::create_dir_all(folder).map_err(Error::io("creating", folder))?;
    }
    let mut part = Part::open(order.to)?;
    // Another process may have finished while this one waited to open the part.
    if is_already_there(order, stop)? {
        part.delete()?;
        return Ok(Fetched::AlreadyThere);
    }
    if let Err(error) = try_until_whole(order, manner, &mut part, progress, stop) {
        if part.bytes() == 0 {
            // An empty file helps nobody; the first error is the one to tell.
            let _ = part.delete();
        }
        return Err(error);
    }
    let sha256 = part.sha256(stop)?;
    if !begins_with(&sha256, order.sha256) {
        let bytes = part.bytes();
        part.delete()?;
        return Err(Error::Fetch(format!(
            "{}: what came ({bytes} bytes) has SHA-256 {sha256}, should begin with {}; it was deleted\n\
             help: try again, which starts anew; if it happens again, the publisher changed the file or something \
             between changes it: try another source with `--mirror URL`",
            order.url, order.sha256
        )));
    }
    part.finish(order.to)?;
    Ok(Fetched::Downloaded)
}

fn check_scheme(url: &str) -> Result<()> {
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{url}: only `https://` and `http://` addresses can be fetched\n\
         help: a file that is on this machine needs no download; name its path instead"
    )))
}

fn is_already_there(order: &Order, stop: &AtomicBool) -> Result<bool> {
    if !order.to.exists() {
        return Ok(false);
    }
    let mut file = File::open(order.to).map_err(Error::io("opening", order.to))?;
    let sha256 = hash::sha256_of(&mut file, order.to, stop)?;
    if begins_with(&sha256, order.sha256) {
        return Ok(true);
    }
    Err(Error::Fetch(format!(
        "{}: is there already, but has SHA-256 {sha256}, should begin with {}\n\
         help: delete or rename that file and try again; it is never overwritten",
        order.to.display(),
        order.sha256
    )))
}

fn begins_with(sha256: &str, prefix: &str) -> bool {
    sha256.starts_with(&prefix.to_ascii_lowercase())
}

fn try_until_whole(
    order: &Order,
    manner: &Manner,
    part: &mut Part,
    progress: &dyn Fn(u64, Option<u64>),
    stop: &AtomicBool,
) -> Result<()> {
    let agent = agent(order.url, manner);
    let mut n_failures = 0;
    // A server that always starts over and breaks makes no progress, however many bytes come.
    let mut farthest = part.bytes();
    loop {
        let reason = match attempt(&agent, order, part, progress, stop)? {
            Attempt::Whole => return Ok(()),
            Attempt::Broken(reason) => reason,
        };
        if part.bytes() > farthest {
            farthest = part.bytes();
            n_failures = 0;
        }
        let Some(&pause) = manner.pauses.get(n_failures) else {
            let kept = match part.bytes() {
                0 => String::new(),
                bytes => {
                    format!(" (the {bytes} bytes that came are kept, and it goes on behind them)")
                }
            };
            return Err(Error::Fetch(format!(
                "{}: {reason}; gave up after {n_failures} more tries\n\
                 help: try again later{kept}, or try another source with `--mirror URL`",
                order.url
            )));
        };
        n_failures += 1;
        sleep(pause, stop)?;
    }
}

fn sleep(pause: Duration, stop: &AtomicBool) -> Result<()> {
    let end = Instant::now() + pause;
    loop {
        check_stop(stop)?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(PAUSE_STEP));
    }
}

fn check_stop(stop: &AtomicBool) -> Result<()> {
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    Ok(())
}

fn agent(url: &str, manner: &Manner) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        // A redirect must not give up the encryption that was asked for.
        .https_only(url.starts_with("https://"))
        .proxy(manner.proxy.clone())
        .timeout_resolve(Some(SILENCE))
        .timeout_connect(Some(SILENCE))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        // Each try has a connection of its own: a reused one may be as dead as the last.
        .max_idle_connections(0)
        .accept_encoding("identity")
        .user_agent(concat!(
            env!("CARGO_PKG_NAME"),
            "/",
            env!("CARGO_PKG_VERSION")
        ))
        .build()
        .new_agent()
}

/// One request, and as much of its body as comes.
fn attempt(
    agent: &Agent,
    order: &Order,
    part: &mut Part,
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
    let response = match request.call() {
        Ok(response) => response,
        Err(error) if is_worth_another_try(&error) => {
            return Ok(Attempt::Broken(error.to_string()));
        }
        Err(error) => return Err(hopeless(order.url, &error)),
    };
    match reply::understand(&response, order, part)? {
        Reply::Body { total } => receive(response, total, order, part, progress, stop),
        Reply::Whole => Ok(Attempt::Whole),
        Reply::Broken(reason) => Ok(Attempt::Broken(reason)),
    }
}

/// Everything but what another try cannot change.
fn is_worth_another_try(error: &ureq::Error) -> bool {
    match error {
        // A certificate that is not believed comes as invalid data.
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
        // The enum is the library's and grows.
        _ => true,
    }
}

fn hopeless(url: &str, error: &ureq::Error) -> Error {
    Error::Fetch(format!(
        "{url}: {error}\nhelp: try another source with `--mirror URL`"
    ))
}

fn receive(
    response: Response<Body>,
    total: Option<u64>,
    order: &Order,
    part: &mut Part,
    progress: &dyn Fn(u64, Option<u64>),
    stop: &AtomicBool,
) -> Result<Attempt> {
    let mut reader = response.into_body().into_reader();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        progress(part.bytes(), total);
        check_stop(stop)?;
        let n_bytes = match reader.read(&mut block) {
            Ok(n_bytes) => n_bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Ok(Attempt::Broken(error.to_string())),
        };
        if n_bytes == 0 {
            break;
        }
        if let Some(total) = total
            && part.bytes() + n_bytes as u64 > total
        {
            part.restart(None)?;
            return Err(reply::wrong_size(
                order,
                "more bytes come than announced",
                total,
            ));
        }
        part.append(&block[..n_bytes])?;
    }
    match total {
        Some(total) if part.bytes() < total => Ok(Attempt::Broken(format!(
            "the connection ended after {} of {total} bytes",
            part.bytes()
        ))),
        Some(_) | None => Ok(Attempt::Whole),
    }
}
