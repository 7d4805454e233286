//! What the head of an HTTP response means for the part of a file that is here. Reads no body.

use std::time::Duration;

use ureq::{
    Body,
    http::{Response, StatusCode, header},
};

use super::{download::DownloadRequest, part::PartialFile};
use crate::error::{Error, Result};

/// What a response means for the part that is here.
pub(super) enum Reply {
    /// The body continues the part; the file has so many bytes altogether, where that is known.
    Body {
        total: Option<u64>,
    },
    /// The part was whole already.
    Whole,
    Broken(String),
    /// The server wants to be left alone for a while.
    Busy {
        reason: String,
        wait: Duration,
    },
}

/// Compares the response's head with the part; starts the part over where the body does not continue it.
pub(super) fn understand(
    response: &Response<Body>,
    order: &DownloadRequest,
    part: &mut PartialFile,
) -> Result<Reply> {
    let status = response.status();
    match status {
        // Before the part is touched: behind the login it is still good.
        StatusCode::OK if is_web_page(response) => Err(Error::fetch(format!(
            "{}: a web page came instead of the file\n\
             help: perhaps this network asks for a login, which a browser shows; else {}",
            order.place(),
            order.other_ways()
        ))),
        StatusCode::OK => {
            let total = response.body().content_length();
            check_size(order, total)?;
            part.restart(version(response).as_deref())?;
            Ok(Reply::Body {
                total: total.or(order.bytes),
            })
        }
        StatusCode::PARTIAL_CONTENT => {
            let Some((first, total)) = content_range(response) else {
                part.restart(None)?;
                return Ok(Reply::Broken(
                    "the server's answer names no range".to_owned(),
                ));
            };
            let recorded = part.validator();
            let is_same_version =
                recorded.is_none() || version(response).is_none_or(|now| Some(now) == recorded);
            if first != part.bytes() || !is_same_version {
                part.restart(None)?;
                let reason = "the server continued another place or version";
                return Ok(Reply::Broken(reason.to_owned()));
            }
            let rest = || response.body().content_length();
            let total = total.or_else(|| Some(first.saturating_add(rest()?)));
            check_size(order, total)?;
            Ok(Reply::Body {
                total: total.or(order.bytes),
            })
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let is_whole = part.bytes() > 0 && unsatisfied_total(response) == Some(part.bytes());
            if is_whole && order.bytes.is_none_or(|bytes| bytes == part.bytes()) {
                return Ok(Reply::Whole);
            }
            part.restart(None)?;
            Ok(Reply::Broken(format!("the server answered {status}")))
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Ok(busy(response)),
        _ if status.is_server_error() => Ok(busy(response)),
        _ => Err(Error::fetch(format!(
            "{}: the server answered {status}\n\
             help: the file may have moved, or this network may not let it through; {}",
            order.place(),
            order.other_ways()
        ))),
    }
}

/// `Retry-After` in seconds; a date is left to the usual pauses.
fn busy(response: &Response<Body>) -> Reply {
    let seconds = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Reply::Busy {
        reason: format!("the server answered {}", response.status()),
        wait: Duration::from_secs(seconds.unwrap_or_default()),
    }
}

/// No published file is one, but the answer of a network that wants a login is.
fn is_web_page(response: &Response<Body>) -> bool {
    response
        .body()
        .mime_type()
        .is_some_and(|mime_type| mime_type.eq_ignore_ascii_case("text/html"))
}

/// A size that is announced wrong is not worth the wait for the hash.
fn check_size(order: &DownloadRequest, announced: Option<u64>) -> Result<()> {
    match (order.bytes, announced) {
        (None, Some(announced)) if announced > order.at_most => Err(Error::fetch(format!(
            "{}: the server offers {announced} bytes, but no such file has more than {}\nhelp: {}",
            order.place(),
            order.at_most,
            order.other_ways()
        ))),
        (Some(expected), Some(announced)) if expected != announced => Err(wrong_size(
            order,
            &format!("the server offers {announced} bytes"),
            expected,
        )),
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

pub(super) fn wrong_size(order: &DownloadRequest, fact: &str, expected: u64) -> Error {
    Error::fetch(format!(
        "{}: {fact}, should be {expected}\n\
         help: this is another file, perhaps a page that asks for a login; {}",
        order.place(),
        order.other_ways()
    ))
}

/// What `If-Range` may name: an `ETag` that is not weak, or else the date of the last change.
fn version(response: &Response<Body>) -> Option<String> {
    let text = |name| response.headers().get(name)?.to_str().ok();
    text(header::ETAG)
        .filter(|etag| !etag.starts_with("W/"))
        .or_else(|| text(header::LAST_MODIFIED))
        .map(str::to_owned)
}

/// The first byte and the size of the file from `bytes 5-9/10`.
fn content_range(response: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let value = response
        .headers()
        .get(header::CONTENT_RANGE)?
        .to_str()
        .ok()?;
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.trim().split_once('-')?;
    Some((first.parse().ok()?, total.trim().parse().ok()))
}

/// The size of the file from `bytes */10`.
fn unsatisfied_total(response: &Response<Body>) -> Option<u64> {
    let value = response
        .headers()
        .get(header::CONTENT_RANGE)?
        .to_str()
        .ok()?;
    value.trim().strip_prefix("bytes */")?.parse().ok()
}
