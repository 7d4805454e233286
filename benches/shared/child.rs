//! Runs a program and measures its time and peak memory.

use std::{
    error::Error,
    io::Read as _,
    process::{Child, Command, Stdio},
    time::Instant,
};

/// The result of a successful process.
pub(crate) struct Finished {
    pub(crate) seconds: f64,
    /// The time of all its threads, also in the kernel; `None` if the system does not report it.
    #[allow(dead_code, reason = "not every benchmark reads it")]
    pub(crate) processor_seconds: Option<f64>,
    /// The largest resident set; `None` if the system does not report it.
    pub(crate) peak_mib: Option<f64>,
    pub(crate) stdout: String,
}

/// A command of the program itself, without variables like `RUNNER_BENCH_DATA`, which are meant for the benchmark but would be
/// read as settings of the experiment.
pub(crate) fn runner() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RUNNER_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs `command`, whose stderr goes to ours. An exit status other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<Finished, Box<dyn Error>> {
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdout = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut stdout)?;
    }
    let ended = wait(&mut child)?;
    if !ended.is_success {
        let name = command.get_program().to_string_lossy().into_owned();
        let words = command.get_args().map(|word| word.to_string_lossy());
        let words: Vec<_> = words.take_while(|word| word != "--set").collect();
        return Err(format!("{name} {} failed", words.join(" ")).into());
    }
    Ok(Finished {
        seconds: started.elapsed().as_secs_f64(),
        processor_seconds: ended.processor_seconds,
        peak_mib: ended.peak_mib,
        stdout,
    })
}

/// How a process ended, and what it used if the system reports that.
pub(crate) struct Ended {
    pub(crate) is_success: bool,
    pub(crate) processor_seconds: Option<f64>,
    pub(crate) peak_mib: Option<f64>,
}

/// Waits for a process to end. A child starts with the peak memory of its parent, so a benchmark must not do memory-intensive work in
/// its own process before it starts one.
#[cfg(unix)]
pub(crate) fn wait(child: &mut Child) -> Result<Ended, Box<dyn Error>> {
    let pid = libc::pid_t::try_from(child.id())?;
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    #[expect(
        unsafe_code,
        reason = "the standard library does not report the memory of a child"
    )]
    // SAFETY: both pointers are to values of this function, and all zeros is a valid `rusage`.
    let (waited, usage) = unsafe {
        let waited = libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr());
        (waited, usage.assume_init())
    };
    if waited != pid {
        return Err(std::io::Error::last_os_error().into());
    }
    // macOS counts in bytes, other systems in KiB.
    let unit = if cfg!(target_os = "macos") {
        1.0
    } else {
        1024.0
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(Ended {
        is_success: libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
        processor_seconds: Some(seconds(usage.ru_utime) + seconds(usage.ru_stime)),
        peak_mib: Some(usage.ru_maxrss as f64 * unit / (1024.0 * 1024.0)),
    })
}

#[cfg(not(unix))]
pub(crate) fn wait(child: &mut Child) -> Result<Ended, Box<dyn Error>> {
    Ok(Ended {
        is_success: child.wait()?.success(),
        processor_seconds: None,
        peak_mib: None,
    })
}
