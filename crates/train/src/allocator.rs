//! The allocator of the binary: mimalloc, and a shelf on which large blocks wait for the next one of their size. A training
//! step asks for the same blocks as the step before; fresh pages for them cost a tenth of its time, and to let an allocator
//! keep freed memory instead costs half as much memory again.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use mimalloc::MiMalloc;

/// Blocks from this size on are put on the shelf when they are freed.
const LARGE: usize = 512 << 10;

/// What every large block is aligned to.
const ALIGNMENT: usize = 64;

/// Blocks that the shelf has room for.
const PLACES: usize = 512;

/// See the module.
pub(crate) struct Allocator {
    shelf: Mutex<Shelf>,
}

/// Free blocks in the order in which they were freed. Before a new block is made, others leave the shelf as far as it takes
/// to keep all large blocks together, free or in use, within what was in use at one time.
struct Shelf {
    blocks: [Option<Block>; PLACES],
    count: usize,
    /// Bytes of the free blocks.
    free: usize,
    in_use: usize,
    /// The largest value that `in_use` has had.
    most: usize,
}

#[derive(Clone, Copy)]
struct Block {
    place: NonNull<u8>,
    size: usize,
}

// SAFETY: a block on the shelf is nobody's memory, whichever thread freed it.
#[expect(unsafe_code, reason = "memory that threads hand to each other; see SAFETY")]
unsafe impl Send for Block {}

impl Shelf {
    /// The block of this size that was freed last: it is the likeliest to be in a cache.
    fn take(&mut self, size: usize) -> Option<Block> {
        let is_wanted = |block: &Option<Block>| block.is_some_and(|block| block.size == size);
        let index = self.blocks[..self.count].iter().rposition(is_wanted)?;
        self.use_more(size);
        self.remove(index)
    }

    /// The oldest block, if it has to leave for a new one of this size.
    fn leaving_for(&mut self, size: usize) -> Option<Block> {
        if self.in_use + self.free + size > self.most { self.remove(0) } else { None }
    }

    fn use_more(&mut self, size: usize) {
        self.in_use += size;
        self.most = self.most.max(self.in_use);
    }

    fn remove(&mut self, index: usize) -> Option<Block> {
        let block = self.blocks[..self.count].get(index).copied().flatten()?;
        self.blocks.copy_within(index + 1..self.count, index);
        self.count -= 1;
        self.free -= block.size;
        Some(block)
    }

    /// Returns a block that has to make room.
    fn put(&mut self, block: Block) -> Option<Block> {
        let leaving = if self.count == PLACES { self.remove(0) } else { None };
        self.blocks[self.count] = Some(block);
        self.count += 1;
        self.free += block.size;
        self.in_use -= block.size;
        leaving
    }
}

impl Allocator {
    pub(crate) const fn new() -> Self {
        let shelf = Shelf { blocks: [None; PLACES], count: 0, free: 0, in_use: 0, most: 0 };
        Self { shelf: Mutex::new(shelf) }
    }

    /// The layout that a large block is made with: its size rounded up by at most a sixteenth, so that the blocks of batches
    /// that differ by a little are alike. `None` for what is not large.
    fn large(layout: Layout) -> Option<Layout> {
        if layout.size() < LARGE || layout.align() > ALIGNMENT {
            return None;
        }
        let step = (layout.size() / 16 + 1).next_power_of_two() / 2;
        Layout::from_size_align(layout.size().checked_next_multiple_of(step)?, ALIGNMENT).ok()
    }

    /// Gives what is free back to the system: at the end of work whose like does not come again, as the reading of the data.
    /// Left to itself mimalloc waits, and what comes next would be laid beside it.
    pub(crate) fn give_back(&self) {
        while let Some(block) = self.on_shelf(|shelf| shelf.remove(0)) {
            release(block);
        }
        self.on_shelf(|shelf| shelf.most = shelf.in_use);
        // SAFETY: it frees no block that is in use, and may be called by any thread at any time.
        #[expect(unsafe_code, reason = "mimalloc's own function; see SAFETY")]
        unsafe {
            mi_collect(true);
        }
    }

    /// What `make` makes. Where the system has no more memory, what waits on the shelf goes back to it, and then the process ends with
    /// an error: Rust's own way to end here is an abort.
    fn made(&self, layout: Layout, make: impl Fn() -> *mut u8) -> *mut u8 {
        let place = make();
        if place.is_null() { self.made_at_last(layout, make) } else { place }
    }

    #[cold]
    fn made_at_last(&self, layout: Layout, make: impl Fn() -> *mut u8) -> *mut u8 {
        while let Some(block) = self.on_shelf(|shelf| shelf.remove(0)) {
            release(block);
        }
        let place = make();
        if place.is_null() { end_without_memory(layout.size()) } else { place }
    }

    fn on_shelf<T>(&self, act: impl FnOnce(&mut Shelf) -> T) -> T {
        act(&mut self.shelf.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A block from the shelf. Without one the shelf makes room for what the caller has to make.
    fn recycled(&self, large: Layout) -> Option<NonNull<u8>> {
        if let Some(block) = self.on_shelf(|shelf| shelf.take(large.size())) {
            return Some(block.place);
        }
        while let Some(block) = self.on_shelf(|shelf| shelf.leaving_for(large.size())) {
            release(block);
        }
        self.on_shelf(|shelf| shelf.use_more(large.size()));
        None
    }
}

// SAFETY: as mimalloc.h declares it.
#[expect(unsafe_code, reason = "the crate has no function for it")]
unsafe extern "C" {
    /// Frees what the calling thread has freed and what no thread owns; with `force` its pages go back to the system at once.
    fn mi_collect(force: bool);
}

/// Says what is lacking and what can be done, without a byte of new memory. Nothing else is run any more: whoever asked for memory may
/// hold any lock.
fn end_without_memory(size: usize) -> ! {
    use std::io::Write;

    let mut text = [0; 512];
    let mut rest = &mut text[..];
    let written = write!(
        rest,
        "error: out of memory: the system does not give {size} bytes more\n\
         help: end other programs or raise the limit (`ulimit -v`); smaller batches and shorter texts need less, and an \
         interrupted training can be resumed from its last checkpoint\n"
    );
    let left = if written.is_ok() { rest.len() } else { 0 };
    let length = text.len() - left;
    #[cfg(unix)]
    #[expect(unsafe_code, reason = "the system's own functions; see SAFETY")]
    // SAFETY: bytes of an array, and the end of the process.
    unsafe {
        libc::write(2, text.as_ptr().cast(), length);
        libc::_exit(1)
    }
    #[cfg(not(unix))]
    {
        let _ = std::io::stderr().write_all(&text[..length]);
        std::process::exit(1)
    }
}

fn release(block: Block) {
    // SAFETY: blocks on the shelf were made by mimalloc with this size and alignment, and have left the shelf.
    #[expect(unsafe_code, reason = "gives memory back; see SAFETY")]
    unsafe {
        MiMalloc.dealloc(block.place.as_ptr(), Layout::from_size_align_unchecked(block.size, ALIGNMENT));
    }
}

// SAFETY: every block comes from mimalloc. Large ones have a layout that follows from the caller's alone, at least as large and
// as aligned; one that is on the shelf is in nobody's hands.
#[expect(unsafe_code, reason = "an allocator; see SAFETY")]
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(large) = Self::large(layout) else {
            // SAFETY: the caller's contract.
            return self.made(layout, || unsafe { MiMalloc.alloc(layout) });
        };
        match self.recycled(large) {
            Some(place) => place.as_ptr(),
            // SAFETY: a layout of more than no bytes.
            None => self.made(large, || unsafe { MiMalloc.alloc(large) }),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(large) = Self::large(layout) else {
            // SAFETY: the caller's contract.
            return self.made(layout, || unsafe { MiMalloc.alloc_zeroed(layout) });
        };
        match self.recycled(large) {
            Some(place) => {
                // SAFETY: the block has at least as many bytes.
                unsafe { place.as_ptr().write_bytes(0, layout.size()) };
                place.as_ptr()
            }
            // SAFETY: a layout of more than no bytes.
            None => self.made(large, || unsafe { MiMalloc.alloc_zeroed(large) }),
        }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        match (Self::large(layout), NonNull::new(place)) {
            (Some(large), Some(place)) => {
                let block = Block { place, size: large.size() };
                if let Some(leaving) = self.on_shelf(|shelf| shelf.put(block)) {
                    release(leaving);
                }
            }
            // SAFETY: the caller's contract.
            _ => unsafe { MiMalloc.dealloc(place, layout) },
        }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's contract: `size` is not 0 and does not overflow with this alignment.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (Self::large(layout), Self::large(new)) {
            // SAFETY: the caller's contract.
            (None, None) => self.made(new, || unsafe { MiMalloc.realloc(place, layout, size) }),
            (Some(before), Some(after)) if before == after => place,
            // SAFETY: both blocks have as many bytes as are copied, and the old one is the caller's.
            _ => unsafe {
                let moved = self.alloc(new);
                moved.copy_from_nonoverlapping(place, layout.size().min(size));
                self.dealloc(place, layout);
                moved
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 4).unwrap()
    }

    #[test]
    fn sizes_grow_by_at_most_a_sixteenth_and_small_ones_pass_by() {
        assert_eq!(Allocator::large(layout(LARGE - 1)), None);
        assert_eq!(Allocator::large(Layout::from_size_align(LARGE, 4096).unwrap()), None);
        for size in [LARGE, LARGE + 1, 786_432, 1_000_001, 3 << 20, 123_456_789] {
            let large = Allocator::large(layout(size)).unwrap();
            assert!(large.size() >= size && large.size() - size <= size / 16, "{size} {}", large.size());
        }
    }

    #[test]
    #[expect(unsafe_code, reason = "calls an allocator, with the layouts that it was given")]
    fn a_freed_block_is_the_next_of_its_size_zeroed_where_asked_and_moves_with_its_values() {
        let allocator = Allocator::new();
        // SAFETY: every block is used and freed with the layout that it was asked for with.
        unsafe {
            let first = allocator.alloc(layout(1 << 20));
            first.write_bytes(7, 1 << 20);
            allocator.dealloc(first, layout(1 << 20));
            let again = allocator.alloc_zeroed(layout((1 << 20) - 100));
            assert_eq!(again, first);
            assert!(std::slice::from_raw_parts(again, (1 << 20) - 100).iter().all(|byte| *byte == 0));
            again.write_bytes(9, (1 << 20) - 100);
            let grown = allocator.realloc(again, layout((1 << 20) - 100), 3 << 20);
            assert!(std::slice::from_raw_parts(grown, (1 << 20) - 100).iter().all(|byte| *byte == 9));
            let small = allocator.realloc(grown, layout(3 << 20), 10);
            assert!(std::slice::from_raw_parts(small, 10).iter().all(|byte| *byte == 9));
            allocator.dealloc(small, layout(10));
        }
        // Both large blocks wait, for 4 MiB and a little were in use at once; more than that drives them away.
        assert_eq!(allocator.on_shelf(|shelf| (shelf.count, shelf.in_use)), (2, 0));
        // SAFETY: as above.
        #[expect(unsafe_code, reason = "as above")]
        unsafe {
            let small = allocator.alloc(layout(600 << 10));
            let large = allocator.alloc(layout(5 << 20));
            assert_eq!(allocator.on_shelf(|shelf| shelf.count), 0);
            allocator.dealloc(large, layout(5 << 20));
            allocator.dealloc(small, layout(600 << 10));
        }
        assert_eq!(allocator.on_shelf(|shelf| (shelf.count, shelf.most > 0)), (2, true));
        allocator.give_back();
        assert_eq!(allocator.on_shelf(|shelf| (shelf.count, shelf.free, shelf.most)), (0, 0, 0));
    }
}
