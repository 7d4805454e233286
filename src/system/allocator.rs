//! The global allocator: the system's, except that large blocks start on a huge page and are kept for reuse.
//! A training step allocates and frees the same few blocks of hundreds of megabytes. If they came from the system each time, it
//! would clear their pages again; and blocks that are not aligned to cache lines make wide loads twice as slow.

#![expect(unsafe_code, reason = "an allocator is made of raw memory")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    ptr,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Blocks of at least this size are kept for reuse.
const MIN_LARGE: usize = 1 << 20;
/// The huge page size of x86-64 and 64-bit Arm. Blocks of at least this size start on a huge page.
const HUGE_PAGE: usize = 2 << 20;
const PAGE: usize = 1 << 12;
/// The most freed blocks that are kept.
pub(crate) const MAX_KEPT: usize = 64;
/// The most bytes of freed blocks that are kept; beyond it, the oldest go back to the system.
pub(crate) const MAX_KEPT_BYTES: usize = 1 << 30;

pub(crate) struct LargeBlocks {
    kept: Mutex<Kept>,
}

/// Freed blocks that are kept for reuse, oldest first. An array, because the allocator must not allocate.
struct Kept {
    blocks: [KeptBlock; MAX_KEPT],
    n_blocks: usize,
    n_bytes: usize,
}

/// A freed block. Its address is a number with exposed provenance, because pointers are not `Send`.
#[derive(Clone, Copy)]
struct KeptBlock {
    start: usize,
    n_bytes: usize,
}

#[global_allocator]
static ALLOCATOR: LargeBlocks = LargeBlocks::new();

/// Returns all kept blocks to the system, for other processes.
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
            // SAFETY: a kept block was freed by its owner, and `remove` ensures that it is returned to the system only once.
            unsafe { give_back(oldest) };
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The layout that a large block is allocated with; `None` for blocks that are left to the system's allocator.
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

/// The number of bytes that a block of `n_bytes` really takes, if it is large.
pub(crate) fn large_bytes(n_bytes: usize) -> Option<usize> {
    let layout = Layout::from_size_align(n_bytes, 1).ok()?;
    large(layout).map(|layout| layout.size())
}

impl Kept {
    /// Takes the most recently freed block of this layout.
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

// SAFETY: a block has at least the size and alignment of its layout, because `large` only rounds up. `large` depends on the layout
// alone, so `dealloc` frees a block in the way in which it was allocated. A block is never kept and in use at the same time.
unsafe impl GlobalAlloc for LargeBlocks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(large) = large(layout) else {
            // SAFETY: the caller promises a layout of non-zero size, which `System` requires as well.
            return unsafe { System.alloc(layout) };
        };
        if let Some(block) = self.kept().take(large) {
            return block;
        }
        // SAFETY: a large layout has a non-zero size, and its size and alignment are multiples of the page size.
        unsafe { fresh(large) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(large) = large(layout) else {
            // SAFETY: the caller promises a layout of non-zero size, which `System` requires as well.
            return unsafe { System.alloc_zeroed(layout) };
        };
        if let Some(block) = self.kept().take(large) {
            // SAFETY: the block was removed from the kept ones, so nothing else refers to it, and it has at least `layout.size()`
            // writable bytes.
            unsafe { ptr::write_bytes(block, 0, layout.size()) };
            return block;
        }
        // The system returns fresh pages zeroed.
        // SAFETY: a large layout has a non-zero size, and its size and alignment are multiples of the page size.
        unsafe { fresh(large) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(large) = large(layout) else {
            // SAFETY: the caller passes the layout that the block was allocated with, so `alloc` took it from `System` too.
            return unsafe { System.dealloc(block, layout) };
        };
        let mut kept = self.kept();
        while kept.n_blocks > 0
            && (kept.n_blocks == MAX_KEPT || kept.n_bytes + large.size() > MAX_KEPT_BYTES)
        {
            let oldest = kept.remove(0);
            // SAFETY: a kept block was freed by its owner, and `remove` ensures that it is returned to the system only once.
            unsafe { give_back(oldest) };
        }
        let freed = KeptBlock {
            start: block.expose_provenance(),
            n_bytes: large.size(),
        };
        if large.size() > MAX_KEPT_BYTES {
            // SAFETY: `fresh` mapped the block with this size, the caller no longer uses it, and it is not kept.
            unsafe { give_back(freed) };
            return;
        }
        let n_blocks = kept.n_blocks;
        kept.blocks[n_blocks] = freed;
        kept.n_blocks += 1;
        kept.n_bytes += freed.n_bytes;
    }
}

/// Maps zeroed pages from the system; null if it has none.
///
/// # Safety
///
/// The size and alignment of the layout must be non-zero multiples of [`PAGE`].
unsafe fn fresh(layout: Layout) -> *mut u8 {
    // SAFETY: `mmap` without an address creates a new mapping of `n_bytes` that nothing else refers to. An aligned piece is kept
    // and the rest is unmapped: `before` is below the alignment and `before + size + after` is `n_bytes`, so both pieces lie in
    // the mapping and outside the block. Their bounds are multiples of `PAGE`; if the system's pages are larger, `munmap` refuses
    // unaligned bounds and the piece stays mapped, which is harmless. `madvise` only gives advice.
    unsafe {
        // More than the size, to cut an aligned piece out of it.
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

/// Returns a block to the system.
///
/// # Safety
///
/// The block must come from [`fresh`] with this size, and nothing may use it any more.
unsafe fn give_back(block: KeptBlock) {
    // SAFETY: the caller promises that the block is a mapping of this size that is no longer used.
    unsafe {
        libc::munmap(ptr::with_exposed_provenance_mut(block.start), block.n_bytes);
    }
}
