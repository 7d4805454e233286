//! Reusable scratch memory that is aligned to cache lines. Knows nothing about what is stored in it.

use rayon::prelude::*;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::thread::LocalKey;

const LINE: usize = 16;

/// A slice of floats that starts on a cache line, so that a 64-byte load never touches two lines.
#[derive(Default)]
pub(crate) struct AlignedBuffer {
    storage: Vec<f32>,
}

impl AlignedBuffer {
    /// Returns `length` zeros.
    pub(crate) fn zeroed(length: usize) -> Self {
        Self {
            storage: vec![0.0; length + LINE],
        }
    }

    /// Returns the first `length` floats, and grows the buffer with zeros if necessary. Old content is arbitrary.
    pub(crate) fn take_mut(&mut self, length: usize) -> &mut [f32] {
        if self.storage.len() < length + LINE {
            // A new zeroed allocation, because growing would copy content that nobody reads.
            self.storage = vec![0.0; length + LINE];
        }
        let start = self.start();
        &mut self.storage[start..start + length]
    }

    /// Returns the first `length` floats.
    pub(crate) fn take(&self, length: usize) -> &[f32] {
        let start = self.start();
        &self.storage[start..start + length]
    }

    fn start(&self) -> usize {
        // `align_offset` may refuse (usize::MAX) in theory; unaligned is only slower.
        self.storage.as_ptr().align_offset(4 * LINE).min(LINE)
    }
}

/// Scratch memory that a thread keeps between calls, in two parts so that both can be borrowed at once.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) transformed: AlignedBuffer,
    pub(crate) products: AlignedBuffer,
}

thread_local! {
    /// The scratch memory of a thread for its own block of work.
    pub(crate) static BLOCK_SCRATCH: Cell<Scratch> = Cell::new(Scratch::default());
    /// The scratch memory that the thread which starts a kernel shares with its helpers.
    pub(crate) static SHARED_SCRATCH: Cell<Scratch> = Cell::new(Scratch::default());
}

/// Runs `work` with the thread's scratch memory. It is taken out meanwhile, so that a nested call on the same thread, as work
/// stealing makes it, gets a fresh one instead of a borrow error.
pub(crate) fn with_scratch<T>(
    key: &'static LocalKey<Cell<Scratch>>,
    work: impl FnOnce(&mut Scratch) -> T,
) -> T {
    let mut scratch = key.take();
    let result = work(&mut scratch);
    key.set(scratch);
    result
}

/// Returns `length` values that `work(index, chunk)` writes, a chunk per task; each chunk is zero at first. Every chunk is
/// cleared by the task that writes it, while one thread would take as long to clear large outputs as all take to compute them.
pub(crate) fn computed(
    length: usize,
    chunk: usize,
    work: impl Fn(usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let mut values = Vec::with_capacity(length);
    values.spare_capacity_mut()[..length]
        .par_chunks_mut(chunk.max(1))
        .enumerate()
        .for_each(|(index, part)| {
            part.fill(MaybeUninit::new(0.0));
            #[expect(unsafe_code, reason = "there is no safe way to fill spare capacity")]
            // SAFETY: the line above wrote every value of the part.
            let part = unsafe { part.assume_init_mut() };
            work(index, part);
        });
    #[expect(unsafe_code, reason = "there is no safe way to fill spare capacity")]
    // SAFETY: the parts cover the first `length` values, and each was written.
    unsafe {
        values.set_len(length);
    }
    values
}
