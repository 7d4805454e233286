//! The most memory this process has had so far.

/// Bytes of the largest resident set; `None` where the system does not say.
#[cfg(target_os = "linux")]
pub(crate) fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    super::available::kib(&status, "VmHWM:")
}

#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) fn peak() -> Option<u64> {
    // macOS counts bytes, the others KiB.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a value of our own, and all zeros is a valid `rusage`.
    #[expect(
        unsafe_code,
        reason = "the standard library does not give a process's memory"
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
