//! HTTP requests that can be abandoned at any moment, because everything that may block runs on a separate thread. Knows no
//! files.

use std::{
    io::{self, Read as _},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use ureq::{
    Agent, Body, Proxy, RequestBuilder,
    http::Response,
    tls::{RootCerts, TlsConfig},
    typestate::WithoutBody,
};

use crate::error::{Error, Result};

const BLOCK_BYTES: usize = 128 << 10;

/// Number of blocks that are received ahead of being asked for.
const BLOCKS_AHEAD: usize = 2;

/// A connection that sends nothing for this long counts as broken.
const SILENCE: Duration = Duration::from_secs(30);

/// How often a waiting thread checks whether to stop.
const LOOK: Duration = Duration::from_millis(50);

pub(super) fn agent(url: &str, proxy: Option<Proxy>, authorities: RootCerts) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        // A redirect must not give up the encryption that was asked for.
        .https_only(url.starts_with("https://"))
        .proxy(proxy)
        .tls_config(TlsConfig::builder().root_certs(authorities).build())
        .timeout_resolve(Some(SILENCE))
        .timeout_connect(Some(SILENCE))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        // A retry must not reuse a connection, which may be as dead as the one that failed.
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

/// Sends the request and waits for the head of its response.
pub(super) fn call(
    request: RequestBuilder<WithoutBody>,
    stop: &AtomicBool,
) -> Result<std::result::Result<Response<Body>, ureq::Error>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    aside(move || {
        // After a stop there is no receiver any more.
        let _ = sender.send(request.call());
    });
    let response = wait(&receiver, stop)?;
    Ok(response.unwrap_or_else(|| Err(io::Error::other("the server did not answer").into())))
}

/// The body of a response, block by block.
pub(super) struct Blocks(Receiver<io::Result<Vec<u8>>>);

impl Blocks {
    pub(super) fn of(body: Body) -> Self {
        let (sender, receiver) = mpsc::sync_channel(BLOCKS_AHEAD);
        aside(move || {
            let mut reader = body.into_reader();
            loop {
                let mut block = vec![0; BLOCK_BYTES];
                let read = reader.read(&mut block).map(|n_bytes| {
                    block.truncate(n_bytes);
                    block
                });
                if matches!(&read, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
                    continue;
                }
                // An empty block marks the end, because a closed channel may also mean that this thread died.
                let is_last = read.as_ref().map_or(true, Vec::is_empty);
                if sender.send(read).is_err() || is_last {
                    return;
                }
            }
        });
        Self(receiver)
    }

    /// Waits for the next block; `None` at the end of the body.
    pub(super) fn next(&self, stop: &AtomicBool) -> Result<Option<io::Result<Vec<u8>>>> {
        let lost = || Err(io::Error::other("the connection was lost"));
        let block = wait(&self.0, stop)?.unwrap_or_else(lost);
        Ok(Some(block).filter(|block| !block.as_ref().is_ok_and(Vec::is_empty)))
    }
}

pub(super) fn sleep(pause: Duration, stop: &AtomicBool) -> Result<()> {
    let end = Instant::now() + pause;
    loop {
        check_stop(stop)?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(LOOK));
    }
}

pub(super) fn check_stop(stop: &AtomicBool) -> Result<()> {
    if stop.load(Ordering::Relaxed) {
        return Err(Error::interrupted());
    }
    Ok(())
}

/// Runs `work` on a thread that ends with the connection, or with the process.
fn aside(work: impl FnOnce() + Send + 'static) {
    // If no thread can be started, `work` is dropped, and with it the sender: `wait` then returns `None` instead of blocking.
    let _ = thread::Builder::new()
        .name("runner-fetch".to_owned())
        .spawn(work);
}

/// Waits for a value from the channel; `None` if its sender is gone.
fn wait<T>(receiver: &Receiver<T>, stop: &AtomicBool) -> Result<Option<T>> {
    loop {
        check_stop(stop)?;
        match receiver.recv_timeout(LOOK) {
            Ok(value) => return Ok(Some(value)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_no_more_is_not_the_end_of_a_body() {
        let (sender, receiver) = mpsc::sync_channel(BLOCKS_AHEAD);
        sender.send(Ok(vec![1])).unwrap();
        drop(sender);
        let (blocks, stop) = (Blocks(receiver), AtomicBool::new(false));
        assert!(matches!(blocks.next(&stop), Ok(Some(Ok(_)))));
        assert!(matches!(blocks.next(&stop), Ok(Some(Err(_)))));
    }
}
