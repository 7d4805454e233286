//! Turns panics into errors: the message of a panic is kept for the error that reports it instead of being printed.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{Mutex, PoisonError},
};

static LAST: Mutex<Option<String>> = Mutex::new(None);

/// Makes panics silent; `caught` returns their messages.
pub(crate) fn keep_quiet() {
    panic::set_hook(Box::new(|info| {
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(info.to_string().replace('\n', " "));
    }));
}

/// Runs `work`, and returns its result or the message of its panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        let message = LAST.lock().unwrap_or_else(PoisonError::into_inner).take();
        message.unwrap_or_else(|| "panic without a message".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(caught(|| 3), Ok(3));
        assert!(caught(|| -> u8 { panic!("no") }).is_err());
    }
}
