//! The program's allocator: the system's, except that large blocks start on a huge page and are kept for reuse.
//! A training step allocates and frees the same few blocks of hundreds of megabytes; taken from the system each time,
//! their pages would be cleared again, and blocks in between cache lines make wide loads twice as slow.

#![expect(unsafe_code, reason = "an allocator is made of raw memory")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    ptr,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Blocks from this size on are kept.
const MIN_LARGE: usize = 1 << 20;
/// A huge page of x86-64 and of 64-bit Arm; blocks of at least this size start on one.
const HUGE_PAGE: usize = 2 << 20;
const PAGE: usize = 1 << 12;
/// Freed blocks at hand.
pub(crate) const MAX_KEPT: usize = 64;
/// Bytes of freed blocks at hand; beyond it the oldest go back to the system.
pub(crate) const MAX_KEPT_BYTES: usize = 1 << 30;

pub(crate) struct LargeBlocks {
    kept: Mutex<Kept>,
}

/// Freed blocks, oldest first.
struct Kept {
    blocks: [KeptBlock; MAX_KEPT],
    n_blocks: usize,
    n_bytes: usize,
}

#[derive(Clone, Copy)]
struct KeptBlock {
    start: usize,
    n_bytes: usize,
}

#[global_allocator]
static ALLOCATOR: LargeBlocks = LargeBlocks::new();

/// Gives all freed blocks at hand back to the system, for other processes.
pub(crate) fn give_back_kept() {
    ALLOCATOR.give_back_kept();
}

impl LargeBlocks {
    pub(crate) const fn new() -> Self {
        let none = KeptBlock {
            start: 0,
            n_bytes: 0,
        };
        Self {
            kept: Mutex::new(Kept {
                blocks: [none; MAX_KEPT],
                n_blocks: 0,
                n_bytes: 0,
            }),
        }
    }

    fn give_back_kept(&self) {
        let mut kept = self.kept();
        while kept.n_blocks > 0 {
            let oldest = kept.remove(0);
            // SAFETY: a block at hand is nobody's, and from here on not at hand.
            unsafe { give_back(oldest) };
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The layout that a large block really has; `None` for the others.
fn large(layout: Layout) -> Option<Layout> {
    if layout.size() < MIN_LARGE || layout.align() > HUGE_PAGE {
        return None;
    }
    let (unit, align) = if layout.size() < HUGE_PAGE {
        (PAGE, PAGE)
    } else {
        (HUGE_PAGE, HUGE_PAGE)
    };
    let n_bytes = layout.size().checked_next_multiple_of(unit)?;
    Layout::from_size_align(n_bytes, align.max(layout.align())).ok()
}

/// What a block of so many bytes really takes, if it is large.
pub(crate) fn large_bytes(n_bytes: usize) -> Option<usize> {
    let layout = Layout::from_size_align(n_bytes, 1).ok()?;
    large(layout).map(|layout| layout.size())
}

impl Kept {
    fn take(&mut self, layout: Layout) -> Option<*mut u8> {
        let fits = |block: &KeptBlock| {
            block.n_bytes == layout.size() && block.start.is_multiple_of(layout.align())
        };
        let index = self.blocks[..self.n_blocks].iter().rposition(fits)?;
        Some(ptr::with_exposed_provenance_mut(self.remove(index).start))
    }

    fn remove(&mut self, index: usize) -> KeptBlock {
        let block = self.blocks[index];
        self.blocks.copy_within(index + 1..self.n_blocks, index);
        self.n_blocks -= 1;
        self.n_bytes -= block.n_bytes;
        block
    }
}

unsafe impl GlobalAlloc for LargeBlocks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(large) = large(layout) else {
            return unsafe { System.alloc(layout) };
        };
        if let Some(block) = self.kept().take(large) {
            return block;
        }
        unsafe { fresh(large) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(large) = large(layout) else {
            return unsafe { System.alloc_zeroed(layout) };
        };
        if let Some(block) = self.kept().take(large) {
            unsafe { ptr::write_bytes(block, 0, layout.size()) };
            return block;
        }
        unsafe { fresh(large) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(large) = large(layout) else {
            return unsafe { System.dealloc(block, layout) };
        };
        let mut kept = self.kept();
        while kept.n_blocks > 0
            && (kept.n_blocks == MAX_KEPT || kept.n_bytes + large.size() > MAX_KEPT_BYTES)
        {
            let oldest = kept.remove(0);
            unsafe { give_back(oldest) };
        }
        let freed = KeptBlock {
            start: block.expose_provenance(),
            n_bytes: large.size(),
        };
        if large.size() > MAX_KEPT_BYTES {
            unsafe { give_back(freed) };
            return;
        }
        let n_blocks = kept.n_blocks;
        kept.blocks[n_blocks] = freed;
        kept.n_blocks += 1;
        kept.n_bytes += freed.n_bytes;
    }
}

/// Zeroed pages from the system.
unsafe fn fresh(layout: Layout) -> *mut u8 {
    unsafe {
        // Some room to cut an aligned piece out of.
        let n_bytes = layout.size() + layout.align();
        let start = libc::mmap(
            ptr::null_mut(),
            n_bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if start == libc::MAP_FAILED {
            return ptr::null_mut();
        }
        let start = start.cast::<u8>();
        let before = start.align_offset(layout.align());
        let block = start.add(before);
        if before > 0 {
            libc::munmap(start.cast(), before);
        }
        let after = n_bytes - before - layout.size();
        if after > 0 {
            libc::munmap(block.add(layout.size()).cast(), after);
        }
        #[cfg(target_os = "linux")]
        if layout.size() >= HUGE_PAGE {
            libc::madvise(block.cast(), layout.size(), libc::MADV_HUGEPAGE);
        }
        block
    }
}

unsafe fn give_back(block: KeptBlock) {
    unsafe {
        libc::munmap(ptr::with_exposed_provenance_mut(block.start), block.n_bytes);
    }
}
