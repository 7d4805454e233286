//! Stop requests: signals set a flag that long-running work checks between its steps.

use std::sync::{
    Once,
    atomic::{AtomicBool, Ordering},
};

use crate::console::talk_line;

static STOP: AtomicBool = AtomicBool::new(false);

/// Set by SIGUSR1, which a scheduler sends some time before it ends a process.
static WARNED: AtomicBool = AtomicBool::new(false);

/// Whether a scheduler has warned that this process's time is up.
pub(crate) fn is_warned() -> bool {
    WARNED.load(Ordering::Relaxed)
}

/// Makes these signals request a stop: Ctrl-C, SIGTERM, SIGHUP, SIGXCPU, and SIGUSR1, which cluster schedulers send before a time
/// limit. A second Ctrl-C ends the process.
pub(crate) fn on_signals() -> &'static AtomicBool {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| listen(ask));
    &STOP
}

/// Calls `hear` for each of the signals of [`on_signals`], with whether it was Ctrl-C.
#[cfg(unix)]
pub(crate) fn listen(hear: impl Fn(bool) + Send + 'static) {
    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXCPU},
        iterator::Signals,
    };
    let mut wanted = vec![SIGINT, SIGTERM, SIGUSR1, SIGXCPU];
    // `nohup` makes SIGHUP ignored, so that the run outlives its terminal.
    if !is_ignored(SIGHUP) {
        wanted.push(SIGHUP);
    }
    // If this fails, signals end the process at once, which loses no data because checkpoints are whole at any moment.
    let Ok(mut signals) = Signals::new(wanted) else {
        return;
    };
    let_through();
    let listener = move || {
        for signal in signals.forever() {
            if signal == SIGUSR1 {
                WARNED.store(true, Ordering::Relaxed);
            }
            hear(signal == SIGINT);
        }
    };
    let _ = std::thread::Builder::new()
        .name("runner-signals".to_owned())
        .spawn(listener);
}

/// Holds signals back that ask to stop, for a program that this process becomes: until it listens, they would end it.
#[cfg(unix)]
pub(crate) fn hold_back() {
    use nix::sys::signal::{SigSet, Signal};
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGUSR1,
        Signal::SIGXCPU,
        Signal::SIGHUP,
    ] {
        signals.add(signal);
    }
    // If this fails, a signal in these milliseconds ends the process at once, and its run is resumed like a killed one.
    let _ = signals.thread_block();
}

/// Lets the signals through that were held back.
#[cfg(unix)]
pub(crate) fn let_through() {
    let _ = nix::sys::signal::SigSet::all().thread_unblock();
}

/// Makes exceeding the file size limit (`ulimit -f`) an error like that of a full disk. By default, the system kills the process
/// without a message.
pub(crate) fn survive_file_limit() {
    // A registered flag replaces the default action. The flag itself is never read.
    #[cfg(unix)]
    let _ = signal_hook::flag::register(libc::SIGXFSZ, std::sync::Arc::default());
}

#[cfg(not(unix))]
pub(crate) fn listen(hear: impl Fn(bool) + Send + 'static) {
    let _ = ctrlc::set_handler(move || hear(true));
}

fn ask(is_ctrl_c: bool) {
    if STOP.swap(true, Ordering::Relaxed) {
        if is_ctrl_c {
            #[expect(
                clippy::exit,
                reason = "the user asked twice; checkpoints are whole at any moment"
            )]
            std::process::exit(130);
        }
        return;
    }
    let more = if is_ctrl_c {
        " (press Ctrl-C again to quit immediately)"
    } else {
        ""
    };
    talk_line(&format!("\nstopping at the next safe point{more}"));
}

/// Whether the process was started with this signal ignored; `false` if unknown, which it is outside Linux.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
