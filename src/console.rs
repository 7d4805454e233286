//! The output of commands: progress bars on a terminal, plain lines elsewhere, JSON lines, or only results; and the same
//! lines in `run.log`. Notes and progress go to stderr, results to stdout.

mod streams;

use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{IsTerminal as _, Write as _},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

pub(crate) use self::streams::{
    answer_width, is_answer_on_terminal, print, print_csv, talk_coloured, talk_line,
};
use crate::{
    error::{Error, Result},
    text::{
        moment,
        plain::{for_a_line, for_people, is_harmful, masked},
        table::size,
    },
};

/// How often a bar is redrawn while there is no progress.
const TICK: Duration = Duration::from_millis(500);

/// How much a command prints, and in what format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Talk {
    /// Progress bars if stderr is a terminal, plain lines otherwise.
    Normal,
    /// Only errors and results.
    Quiet,
    /// One JSON object per line on stdout.
    Json,
}

pub(crate) struct Console {
    talk: Talk,
    is_terminal: bool,
    state: Mutex<ConsoleState>,
}

#[derive(Default)]
struct ConsoleState {
    log: Option<File>,
    bar: Option<ProgressBar>,
    /// The label of the current transfer if bars are not shown, and when its progress was last printed.
    transfer: Option<(String, Instant)>,
    /// The first error while writing to stdout.
    unsaid: Option<Error>,
}

impl Console {
    pub(crate) fn new(talk: Talk) -> Self {
        Self {
            talk,
            is_terminal: std::io::stderr().is_terminal(),
            state: Mutex::default(),
        }
    }

    /// From now on, appends every line to a log file as well.
    pub(crate) fn log_to(&self, path: &Path) -> Result<()> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(Error::io("open", path))?;
        self.state().log = Some(file);
        Ok(())
    }

    /// Prints a note.
    pub(crate) fn note(&self, text: &str) {
        self.event("note", json!({ "text": text }), text);
    }

    /// Prints a result: `text`, or an event with `fields` as JSON.
    pub(crate) fn answer(&self, event: &str, fields: Value, text: &str) {
        match self.talk {
            Talk::Normal | Talk::Quiet => print_line(&mut self.state(), &for_people(text)),
            Talk::Json => self.event(event, fields, text),
        }
    }

    /// Prints a document that is the whole result, byte for byte; or an event with `fields` as JSON.
    pub(crate) fn document(
        &self,
        event: &str,
        fields: Value,
        text: impl AsRef<[u8]>,
    ) -> Result<()> {
        match self.talk {
            Talk::Normal | Talk::Quiet => print(text),
            Talk::Json => {
                say_json(&mut self.state(), event, fields);
                Ok(())
            }
        }
    }

    /// Prints the error of a failed command as JSON. People read the error on stderr.
    pub(crate) fn failure(&self, fields: Value) {
        if self.talk == Talk::Json {
            say_json(&mut self.state(), "error", fields);
        }
    }

    /// Fails if a result could not be written: an incomplete file on a full disk must not pass for a complete one.
    pub(crate) fn ensure_said(&self) -> Result<()> {
        self.state().unsaid.take().map_or(Ok(()), Err)
    }

    /// Shows the progress of a scan. The bar opens with the first image, because the number of images is not known earlier.
    pub(crate) fn scanned(&self, n_done: usize, n_files: usize) {
        let mut state = self.state();
        if state.bar.is_none() {
            state.bar = self.new_bar("reading images", n_files);
        }
        if let Some(bar) = &state.bar {
            bar.set_position(n_done as u64);
        }
    }

    pub(crate) fn scan_ends(&self) {
        self.close_bar();
    }

    /// Opens the bar of a download or of unpacking. Without bars, the progress is printed now and then.
    pub(crate) fn transfer_starts(&self, label: &str) {
        if self.has_bars() {
            let template = "{prefix}  {bar:24} {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  {eta_precise} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.state().bar = Some(shown_bar(label, style, 0));
            }
        } else {
            self.state().transfer = Some((label.to_owned(), Instant::now()));
        }
    }

    pub(crate) fn transferred(&self, n_bytes: u64, n_in_all: Option<u64>) {
        let mut state = self.state();
        if let Some(bar) = &state.bar {
            if let Some(n_in_all) = n_in_all {
                bar.set_length(n_in_all);
            }
            if bar.position() == 0 && n_bytes > 0 {
                // Bytes from an earlier attempt came in no time and would distort the speed. The tick is paused meanwhile,
                // because a bar that ticks by itself ignores the reset.
                bar.disable_steady_tick();
                bar.update(|state| state.set_pos(n_bytes));
                bar.reset_eta();
                bar.enable_steady_tick(TICK);
            }
            bar.set_position(n_bytes);
        }
        let pause = match self.talk {
            Talk::Json => Duration::from_secs(1),
            Talk::Normal | Talk::Quiet => Duration::from_secs(10),
        };
        let Some((label, said)) = &mut state.transfer else {
            return;
        };
        if said.elapsed() < pause {
            return;
        }
        *said = Instant::now();
        let label = label.clone();
        drop(state);
        let mut text = format!("{label}: {}", size(n_bytes));
        if let Some(n_in_all) = n_in_all {
            let _ = write!(text, " of {}", size(n_in_all));
        }
        let fields = json!({ "what": label, "bytes": n_bytes, "of": n_in_all });
        self.event("transfer", fields, &text);
    }

    pub(crate) fn transfer_ends(&self) {
        self.state().transfer = None;
        self.close_bar();
    }

    pub(crate) fn epoch_starts(&self, epoch: usize, n_epochs: usize, n_images: usize) {
        self.open_bar(&format!("epoch {epoch}/{n_epochs}"), n_images);
    }

    /// Shows how many images of the epoch are done, and a message beside the bar.
    pub(crate) fn step(&self, n_images: usize, message: impl FnOnce() -> String) {
        if let Some(bar) = &self.state().bar {
            bar.set_position(n_images as u64);
            bar.set_message(message());
        }
    }

    pub(crate) fn evaluation_starts(&self, part: &str, n_images: usize) {
        self.close_bar();
        self.open_bar(part, n_images);
    }

    pub(crate) fn evaluated(&self, n_done: usize) {
        if let Some(bar) = &self.state().bar {
            bar.set_position(n_done as u64);
        }
    }

    pub(crate) fn evaluation_ends(&self) {
        self.close_bar();
    }

    /// Shows how many images are predicted, and of how many, as far as that is known by now; `None` if it will not be known, where
    /// the bar shows only the rate. The bar opens with the first images, because their number is not known earlier.
    pub(crate) fn predicted(&self, n_done: usize, n_images: Option<usize>) {
        let mut state = self.state();
        let bar = match &state.bar {
            Some(bar) => bar,
            None => match self.new_bar("predicting", n_images.unwrap_or(0).max(n_done)) {
                Some(bar) => state.bar.insert(bar),
                None => return,
            },
        };
        if let Some(n_images) = n_images {
            bar.set_length(n_images.max(n_done) as u64);
        } else if let Ok(style) = ProgressStyle::with_template(
            "{prefix:>14} {human_pos} images  {elapsed_precise}  {msg:.dim}",
        ) {
            bar.set_style(style);
            bar.set_message(format!("{:.1} images/s", bar.per_sec()));
        }
        bar.set_position(n_done as u64);
    }

    /// Writes rows of a result to stdout as they come, beside a bar; `false` if nobody reads them any more.
    pub(crate) fn rows(&self, text: &[u8]) -> Result<bool> {
        match &self.state().bar {
            Some(bar) => bar.suspend(|| streams::print_if_read(text)),
            None => streams::print_if_read(text),
        }
    }

    pub(crate) fn epoch_ends(&self) {
        self.close_bar();
    }

    /// Shows a table of several lines in place; `text` is given the lines and columns that fit the terminal.
    pub(crate) fn board(&self, text: impl FnOnce((usize, usize)) -> String) {
        if self.talk != Talk::Normal || !self.is_terminal {
            return;
        }
        let (n_lines, n_columns) = ::console::Term::stderr().size();
        let n_columns = usize::from(n_columns);
        let text: Vec<String> = text((usize::from(n_lines).saturating_sub(1), n_columns))
            .lines()
            .map(|line| for_a_line(line).chars().take(n_columns).collect())
            .collect();
        let mut state = self.state();
        let bar = state.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                bar.set_style(style);
            }
            bar
        });
        bar.set_message(text.join("\n"));
        bar.tick();
    }

    pub(crate) fn board_ends(&self) {
        self.close_bar();
    }

    /// Prints an event, unless the board shows it as well.
    pub(crate) fn news(&self, event: &str, fields: Value, text: &str, is_on_board: bool) {
        let has_board = self.talk == Talk::Normal && self.is_terminal;
        if !(is_on_board && has_board) {
            self.event(event, fields, text);
        }
    }

    /// Prints an event: a line of text, or an object with these fields.
    pub(crate) fn event(&self, event: &str, fields: Value, text: &str) {
        let text = &*for_people(text);
        let mut state = self.state();
        if let Some(log) = &mut state.log {
            // Best effort: a full disk is reported when a file that matters cannot be written.
            let _ = writeln!(log, "{}  {text}", moment::now_in_seconds());
        }
        match self.talk {
            Talk::Quiet => {}
            Talk::Normal => say(&state, text),
            Talk::Json => say_json(&mut state, event, fields),
        }
    }

    fn open_bar(&self, label: &str, n: usize) {
        if let Some(bar) = self.new_bar(label, n) {
            self.state().bar = Some(bar);
        }
    }

    /// A bar for `n` images; `None` if bars are not shown.
    fn new_bar(&self, label: &str, n: usize) -> Option<ProgressBar> {
        if !self.has_bars() {
            return None;
        }
        let style = ProgressStyle::with_template(
            "{prefix:>14} {bar:24} {human_pos}/{human_len}  {msg}  {per_sec:.dim}  {eta_precise} left",
        );
        let images_per_second = |state: &indicatif::ProgressState,
                                 out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{:.1} images/s", state.per_sec());
        };
        let style = style.ok()?.with_key("per_sec", images_per_second);
        Some(shown_bar(label, style, n as u64))
    }

    /// Whether results are printed as JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.talk == Talk::Json
    }

    /// Whether bars are shown.
    pub(crate) fn has_bars(&self) -> bool {
        self.talk == Talk::Normal && self.is_terminal
    }

    fn close_bar(&self) {
        if let Some(bar) = self.state().bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Locks the state. A thread that panicked while it held the lock leaves the state usable.
    fn state(&self) -> MutexGuard<'_, ConsoleState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new bar. Its length is set before it ticks, because the first tick draws it.
fn shown_bar(label: &str, style: ProgressStyle, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length)
        .with_prefix(for_a_line(label).into_owned())
        .with_style(style.progress_chars("=> "));
    bar.enable_steady_tick(TICK);
    bar
}

fn say(state: &ConsoleState, text: &str) {
    match &state.bar {
        Some(bar) => bar.suspend(|| talk_line(text)),
        None => talk_line(text),
    }
}

/// Prints a line to stdout. A failure is kept for [`Console::ensure_said`], because it must not stop a run.
fn print_line(state: &mut ConsoleState, text: &str) {
    if let Err(error) = print(format!("{text}\n")) {
        state.unsaid.get_or_insert(error);
    }
}

fn say_json(state: &mut ConsoleState, event: &str, fields: Value) {
    let mut object = json!({ "event": event });
    if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
        object.extend(fields);
    }
    mask(&mut object);
    print_line(state, &escaped(&object.to_string()));
}

fn mask(value: &mut Value) {
    match value {
        Value::String(text) => *text = masked(text).into_owned(),
        Value::Array(values) => values.iter_mut().for_each(mask),
        Value::Object(fields) => fields.values_mut().for_each(mask),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// JSON with the control characters escaped that it may hold unescaped. They only occur within strings.
pub(crate) fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if is_harmful(letter) {
            let _ = write!(text, "\\u{:04x}", u32::from(letter));
        } else {
            text.push(letter);
        }
    }
    text
}
