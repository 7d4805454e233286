//! A web server for tests: every request is recorded and gets the next reply of a script. Needs nothing but `std`.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

/// The reply to one request.
#[derive(Clone)]
pub(crate) enum ScriptedReply {
    File(Served),
    /// Status 302 with a path of this server or a whole URL.
    Redirect(String),
    /// A status with a short text.
    Status(u16),
    /// Status 503 with this many seconds in `Retry-After`.
    Later(u64),
    /// Status 200 with an HTML page.
    WebPage,
    /// No reply, with the connection left open.
    Silence,
}

/// A file, and how the server mistreats it.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) body: Vec<u8>,
    pub(crate) etag: Option<&'static str>,
    /// Whether `Range` is honoured.
    pub(crate) ranges: bool,
    /// Whether `If-Range` is.
    pub(crate) versions: bool,
    /// Closes the connection after so many bytes of the body.
    pub(crate) break_after: Option<usize>,
    pub(crate) length: Length,
    /// Added to the offset in `Content-Range`.
    pub(crate) range_error: usize,
    /// Whether the server falls silent instead of closing the connection.
    pub(crate) hangs: bool,
}

/// How the server announces the length of the body.
#[derive(Clone, Copy)]
pub(crate) enum Length {
    Right,
    /// The body ends with the connection.
    Unsaid,
    /// A wrong `Content-Length`.
    Wrong(usize),
}

impl Served {
    /// A file that is served correctly.
    pub(crate) fn new(body: &[u8]) -> Self {
        Self {
            body: body.to_vec(),
            etag: Some("\"one\""),
            ranges: true,
            versions: true,
            break_after: None,
            length: Length::Right,
            range_error: 0,
            hangs: false,
        }
    }
}

/// A request that the server received.
#[derive(Clone, Debug)]
pub(crate) struct TestRequest {
    pub(crate) path: String,
    headers: Vec<(String, String)>,
}

impl TestRequest {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<TestRequest>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts the server. The last reply is repeated for all further requests.
    pub(crate) fn start(answers: Vec<ScriptedReply>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (log, over) = (Arc::clone(&requests), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            // One after another: the order of the script is the order of the requests.
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let _ = stream.and_then(|stream| talk(stream, &answers, &log));
            }
        });
        Self {
            address,
            requests,
            is_over,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far, in order.
    pub(crate) fn requests(&self) -> Vec<TestRequest> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the thread from its waiting.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn talk(
    mut stream: TcpStream,
    answers: &[ScriptedReply],
    log: &Mutex<Vec<TestRequest>>,
) -> std::io::Result<()> {
    let Some(request) = read_request(&stream)? else {
        return Ok(());
    };
    let answer = {
        let mut log = log.lock().unwrap();
        log.push(request.clone());
        answers[(log.len() - 1).min(answers.len() - 1)].clone()
    };
    match answer {
        ScriptedReply::File(served) => serve(&mut stream, &request, &served),
        ScriptedReply::Redirect(to) => {
            say(&mut stream, "302 Found", &format!("Location: {to}\r\n"))
        }
        ScriptedReply::Status(status) => say(&mut stream, &format!("{status} Scripted"), ""),
        ScriptedReply::Later(seconds) => say(
            &mut stream,
            "503 Scripted",
            &format!("Retry-After: {seconds}\r\n"),
        ),
        ScriptedReply::WebPage => say(
            &mut stream,
            "200 OK",
            "Content-Type: text/html; charset=utf-8\r\n",
        ),
        ScriptedReply::Silence => {
            // Dropped, it would be closed.
            std::mem::forget(stream);
            Ok(())
        }
    }
}

fn say(stream: &mut TcpStream, status: &str, headers: &str) -> std::io::Result<()> {
    let text =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 4\r\nConnection: close\r\n\r\ntext");
    stream.write_all(text.as_bytes())
}

fn read_request(stream: &TcpStream) -> std::io::Result<Option<TestRequest>> {
    let mut lines = BufReader::new(stream).lines();
    let Some(first) = lines.next().transpose()? else {
        return Ok(None);
    };
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }
    Ok(Some(TestRequest { path, headers }))
}

fn serve(stream: &mut TcpStream, request: &TestRequest, served: &Served) -> std::io::Result<()> {
    let n_bytes = served.body.len();
    let is_same_version = request
        .header("If-Range")
        .is_none_or(|version| !served.versions || Some(version) == served.etag);
    let first = request
        .header("Range")
        .filter(|_| served.ranges && is_same_version)
        .and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse()
                .ok()
        });
    let mut head = match first {
        Some(first) if first >= n_bytes => {
            return stream.write_all(
                format!(
                    "HTTP/1.1 416 Scripted\r\nContent-Range: bytes */{n_bytes}\r\nContent-Length: 0\r\n\
                     Connection: close\r\n\r\n"
                )
                .as_bytes(),
            );
        }
        Some(first) => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {}-{}/{n_bytes}\r\n",
            first + served.range_error,
            n_bytes - 1
        ),
        None => "HTTP/1.1 200 OK\r\n".to_owned(),
    };
    let body = &served.body[first.unwrap_or(0)..];
    if let Some(etag) = served.etag {
        let _ = write!(head, "ETag: {etag}\r\n");
    }
    let announced = match served.length {
        Length::Right => Some(body.len()),
        Length::Unsaid => None,
        Length::Wrong(n_bytes) => Some(n_bytes),
    };
    if let Some(announced) = announced {
        let _ = write!(head, "Content-Length: {announced}\r\n");
    }
    stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
    let end = served
        .break_after
        .map_or(body.len(), |end| end.min(body.len()));
    stream.write_all(&body[..end])?;
    if served.hangs {
        // A second handle keeps it open when this one is dropped.
        std::mem::forget(stream.try_clone()?);
    }
    Ok(())
}
