//! Interprets the head of an HTTP response to a download. Reads no body.

use std::time::Duration;

use ureq::{
    Body,
    http::{Response, StatusCode, header},
};

use super::{download::DownloadRequest, part::PartialFile};
use crate::error::{Error, Result};

/// What a response means for the partial download.
pub(super) enum Reply {
    /// The body continues the partial download. `total` is the size of the whole file, if it is known.
    Body {
        total: Option<u64>,
    },
    /// The partial download is complete already.
    Whole,
    Broken(String),
    /// The server asks to wait before the next request.
    Busy {
        reason: String,
        wait: Duration,
    },
}

/// Compares the head of the response with the partial download, and restarts the download if the body does not continue it.
pub(super) fn understand(
    response: &Response<Body>,
    order: &DownloadRequest,
    part: &mut PartialFile,
) -> Result<Reply> {
    let status = response.status();
    match status {
        // Checked before the partial download is touched: after the login it can still be resumed.
        StatusCode::OK if is_web_page(response) => {
            Err(Error::fetch("received an HTML page instead of the file")
                .at(order.place())
                .help("open a browser, if this network requires a login")
                .help(order.other_ways()))
        }
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
                    "the server sent a partial response without a valid `Content-Range`".to_owned(),
                ));
            };
            let recorded = part.validator();
            let is_same_version =
                recorded.is_none() || version(response).is_none_or(|now| Some(now) == recorded);
            if first != part.bytes() || !is_same_version {
                part.restart(None)?;
                let reason = "the server resumed at the wrong offset or with a different file";
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
        _ => Err(Error::fetch(format!("the server answered {status}"))
            .at(order.place())
            .help("check whether the file has moved, or whether this network blocks it")
            .help(order.other_ways())),
    }
}

/// Reads `Retry-After` in seconds. If it is a date, the usual pauses apply.
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

/// Whether the response is an HTML page. No published file is one, but the login page of a captive portal is.
fn is_web_page(response: &Response<Body>) -> bool {
    response
        .body()
        .mime_type()
        .is_some_and(|mime_type| mime_type.eq_ignore_ascii_case("text/html"))
}

/// Refuses a wrong size as soon as it is announced, rather than after a long download by its hash.
fn check_size(order: &DownloadRequest, announced: Option<u64>) -> Result<()> {
    match (order.bytes, announced) {
        (None, Some(announced)) if announced > order.at_most => {
            let at_most = order.at_most;
            Err(wrong_size(
                order,
                format!("the server offers {announced} bytes, expected at most {at_most}"),
            ))
        }
        (Some(expected), Some(announced)) if expected != announced => Err(wrong_size(
            order,
            format!("the server offers {announced} bytes, expected {expected}"),
        )),
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

pub(super) fn wrong_size(order: &DownloadRequest, message: String) -> Error {
    Error::fetch(message)
        .at(order.place())
        .help(
            "open the URL in a browser; the server may send a different file, such as a login page",
        )
        .help(order.other_ways())
}

/// The validator that `If-Range` accepts: a strong `ETag`, or else the date of the last change.
fn version(response: &Response<Body>) -> Option<String> {
    let text = |name| response.headers().get(name)?.to_str().ok();
    text(header::ETAG)
        .filter(|etag| !etag.starts_with("W/"))
        .or_else(|| text(header::LAST_MODIFIED))
        .map(str::to_owned)
}

/// Parses the first byte and the size of the file from `bytes 5-9/10`.
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

/// Parses the size of the file from `bytes */10`.
fn unsatisfied_total(response: &Response<Body>) -> Option<u64> {
    let value = response
        .headers()
        .get(header::CONTENT_RANGE)?
        .to_str()
        .ok()?;
    value.trim().strip_prefix("bytes */")?.parse().ok()
}
