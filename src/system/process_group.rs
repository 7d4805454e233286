//! Process groups, which decide what Ctrl-C reaches.

use std::process::Command;

/// Makes a command start in a process group of its own, so that Ctrl-C does not reach it.
#[cfg(unix)]
pub(crate) fn own_group(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    command.process_group(0);
}

#[cfg(not(unix))]
pub(crate) fn own_group(_command: &mut Command) {}
