//! The peak memory of this process so far.

/// The largest resident set in bytes; `None` if the system does not report it.
#[cfg(target_os = "linux")]
pub(crate) fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    super::available::kib(&status, "VmHWM:")
}

#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) fn peak() -> Option<u64> {
    // macOS counts in bytes, other systems in KiB.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a value of our own, and all zeros is a valid `rusage`.
    #[expect(
        unsafe_code,
        reason = "the standard library does not report the memory of a process"
    )]
    let (result, usage) = unsafe {
        let result = libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        (result, usage.assume_init())
    };
    (result == 0).then(|| usage.ru_maxrss as u64 * unit)
}

#[cfg(not(unix))]
pub(crate) fn peak() -> Option<u64> {
    None
}
