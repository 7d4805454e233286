//! One file over HTTP: resumed where it broke off, checked by its hash, whole under its name or absent. Knows neither
//! what is in it nor which files there are.

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

/// Who asks for more patience than this does not want to be asked again soon.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Whether there was something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    AlreadyThere,
    Downloaded,
}

/// A file, where it comes from, and what it must be.
pub(crate) struct DownloadRequest<'a> {
    pub(crate) url: &'a str,
    pub(crate) to: &'a Path,
    /// The beginning of the hash; empty accepts everything.
    pub(crate) sha256: &'a str,
    pub(crate) bytes: Option<u64>,
    /// No such file is larger: a body without an end must not fill the disk.
    pub(crate) at_most: u64,
}

impl DownloadRequest<'_> {
    /// The address, for messages.
    pub(crate) fn place(&self) -> String {
        masked_address(self.url).into_owned()
    }

    /// What to do where this address is of no use.
    pub(super) fn other_ways(&self) -> String {
        format!(
            "try another source with `--mirror URL`, or put the file at {} yourself",
            self.to.display()
        )
    }
}

/// How to deal with the network.
pub(super) struct Manner {
    /// Before each new try that follows one without progress.
    pub(super) pauses: [Duration; 5],
    pub(super) proxy: Option<Proxy>,
    pub(super) authorities: RootCerts,
}

/// How one connection ended.
enum Attempt {
    Whole,
    /// Worth another try, but not before `wait` is over.
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

/// Brings the file; `progress` is told the bytes that are here and how many there will be.
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

/// `download` in a manner of one's own.
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
        return Err(Error::fetch(format!(
            "{}: what came ({bytes} bytes) has SHA-256 {sha256}, should begin with {}; it was deleted\n\
             help: try again, which starts anew; if it happens again, the publisher changed the file or something \
             between changes it: {}",
            order.place(),
            order.sha256,
            order.other_ways()
        )));
    }
    part.finish(order.to)?;
    Ok(Fetched::Downloaded)
}

fn check_scheme(url: &str) -> Result<()> {
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(());
    }
    Err(Error::usage(format!(
        "{}: only `https://` and `http://` addresses can be fetched\n\
         help: a file that is on this machine needs no download; name its path instead",
        masked_address(url)
    )))
}

fn is_already_there(order: &DownloadRequest, stop: &AtomicBool) -> Result<bool> {
    if !order.to.exists() {
        return Ok(false);
    }
    // A link to a file is as good as the file; of a pipe there is no end.
    if !order.to.is_file() {
        return Err(Error::fetch(format!(
            "{}: not a regular file\nhelp: move it away and try again",
            order.to.display()
        )));
    }
    let mut file = File::open(order.to).map_err(Error::io("open", order.to))?;
    let sha256 = hash::sha256_of(&mut file, order.to, stop)?;
    if begins_with(&sha256, order.sha256) {
        return Ok(true);
    }
    Err(Error::fetch(format!(
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
    order: &DownloadRequest,
    manner: &Manner,
    part: &mut PartialFile,
    progress: &dyn Fn(u64, Option<u64>),
    stop: &AtomicBool,
) -> Result<()> {
    let agent = connection::agent(order.url, manner.proxy.clone(), manner.authorities.clone());
    let mut n_failures = 0;
    // A server that always starts over and breaks makes no progress, however many bytes come.
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
            let reason = format!("{reason} and asks for {} s of patience", wait.as_secs());
            return Err(given_up(order, part, &reason));
        }
        let Some(&pause) = manner.pauses.get(n_failures) else {
            let reason = format!("{reason}; gave up after {n_failures} more tries");
            return Err(given_up(order, part, &reason));
        };
        n_failures += 1;
        sleep(pause.max(wait), stop)?;
    }
}

fn given_up(order: &DownloadRequest, part: &PartialFile, reason: &str) -> Error {
    let kept = match part.bytes() {
        0 => String::new(),
        // As from a server without ranges: to promise more would be wrong.
        _ if part.is_started_over() => {
            " (this server did not go on behind what had come, but began again)".to_owned()
        }
        bytes => format!(" (the {bytes} bytes that came are kept, and it goes on behind them)"),
    };
    Error::fetch(format!(
        "{}: {reason}\nhelp: try again later{kept}, {}",
        order.place(),
        order.other_ways()
    ))
}

/// One request, and as much of its body as comes.
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

fn hopeless(order: &DownloadRequest, error: &ureq::Error) -> Error {
    let trust = match error {
        ureq::Error::Io(_) => format!(
            "if your network reads along, name its authorities with {}=FILE.pem; or ",
            certificates::VARIABLE
        ),
        _ => String::new(),
    };
    // The library takes every scheme that it does not know for the name of a file on the same server.
    let fact = match error {
        ureq::Error::TooManyRedirects => {
            "the server sends from one address to the next without end, or to what is no web address"
                .to_owned()
        }
        error => error.to_string(),
    };
    Error::fetch(format!(
        "{}: {fact}\nhelp: {trust}{}",
        order.place(),
        order.other_ways()
    ))
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
        let (limit, what) = match total {
            Some(total) => (total, "announced"),
            None => (order.at_most, "any such file has"),
        };
        if part.bytes() + block.len() as u64 > limit {
            part.restart(None)?;
            let fact = format!("more bytes come than {what}");
            return Err(reply::wrong_size(order, &fact, limit));
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
