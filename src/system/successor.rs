//! Replaces this process by another command of the same program, which keeps its process id, its standard streams and what
//! a scheduler knows of it.

use std::ffi::OsString;

use crate::error::Error;

/// Starts the program anew with `args`, the program's name first. Returns only if that fails.
///
/// Signals that ask to stop are held back until the new command listens to them, see [`super::stop::listen`].
#[cfg(unix)]
pub(crate) fn become_with(args: &[OsString]) -> Error {
    use std::{ffi::CString, os::unix::ffi::OsStrExt as _};

    let c_string = |text: &OsString| CString::new(text.as_bytes());
    // The program that runs now, even if its file was replaced by another build.
    let program = if cfg!(target_os = "linux") {
        Ok(OsString::from("/proc/self/exe"))
    } else {
        std::env::current_exe().map(Into::into)
    };
    let words: Result<Vec<CString>, _> = args.iter().map(c_string).collect();
    let (program, words) = match (program.map(|it| c_string(&it)), words) {
        (Ok(Ok(program)), Ok(words)) => (program, words),
        (Err(cause), _) => return Error::io("find", "this program")(cause),
        (Ok(Err(_)), _) | (_, Err(_)) => return Error::internal("an argument has a zero byte"),
    };
    super::stop::hold_back();
    match nix::unistd::execv(&program, &words) {
        Ok(never) => match never {},
        Err(errno) => {
            super::stop::let_through();
            Error::io("start", "this program")(errno.into())
        }
    }
}

/// Without `exec`, waits for the new command and ends as it does.
#[cfg(not(unix))]
pub(crate) fn become_with(args: &[OsString]) -> Error {
    let ended = std::env::current_exe().and_then(|program| {
        let mut command = std::process::Command::new(program);
        command.args(args.iter().skip(1)).status()
    });
    match ended {
        #[expect(clippy::exit, reason = "this process stands for the other one")]
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(cause) => Error::io("start", "this program")(cause),
    }
}
