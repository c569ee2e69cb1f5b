//! A mapped file that somebody cuts short ends the process at the next look at what is gone: the system sends a bus error. Here
//! the process says first which file it was.

use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Maps of which a process says what they are of. More than a checkpoint has shards; whatever is beyond ends without a word.
const PLACES: usize = 1024;

/// Where a map lies and what is said of it; made once, and never freed, for a signal may come at any time.
struct Known {
    start: AtomicUsize,
    length: AtomicUsize,
    message: AtomicPtr<String>,
}

#[expect(clippy::declare_interior_mutable_const, reason = "the beginning of each place of the array below")]
const NONE: Known =
    Known { start: AtomicUsize::new(0), length: AtomicUsize::new(0), message: AtomicPtr::new(std::ptr::null_mut()) };
static KNOWN: [Known; PLACES] = [NONE; PLACES];
static NEXT: AtomicUsize = AtomicUsize::new(0);
static INSTALLED: Once = Once::new();
/// What was done about bus errors before, never freed either.
static BEFORE: AtomicPtr<libc::sigaction> = AtomicPtr::new(std::ptr::null_mut());

/// From here on a bus error in this map names the file.
pub(super) fn name(map: &[u8], file: &Path) {
    INSTALLED.call_once(install);
    let shown: String = file.display().to_string().chars().filter(|char| !char.is_control()).collect();
    let text =
        format!("error: {shown} was cut short while it was in use\nhelp: put it back as it was, and start again\n");
    // A map that was there before is gone: the system gives its addresses again.
    let (start, end) = (map.as_ptr() as usize, map.as_ptr() as usize + map.len());
    for known in &KNOWN {
        let before = known.start.load(Ordering::SeqCst);
        if before < end && start < before.saturating_add(known.length.load(Ordering::SeqCst)) {
            known.length.store(0, Ordering::SeqCst);
        }
    }
    // The oldest place is taken again.
    let known = &KNOWN[NEXT.fetch_add(1, Ordering::Relaxed) % PLACES];
    known.length.store(0, Ordering::SeqCst);
    known.message.store(Box::into_raw(Box::new(text)), Ordering::SeqCst);
    known.start.store(start, Ordering::SeqCst);
    known.length.store(map.len(), Ordering::SeqCst);
}

#[expect(unsafe_code, reason = "a signal handler; see SAFETY")]
fn install() {
    // SAFETY: the handler does only what a handler may: it reads atomics and memory that is never freed, writes to standard error and
    // ends the process, or puts back the action that was there before, which the instruction meets when it is done again. That one is
    // known before the handler is. A signal that another process sends has no instruction: the first one only takes the handler away,
    // unless its sender's number looks like an address in a map.
    unsafe {
        let mut before: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut before);
        BEFORE.store(Box::into_raw(Box::new(before)), Ordering::SeqCst);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
    }
}

#[expect(unsafe_code, reason = "a signal handler; see SAFETY")]
extern "C" fn handle(_: libc::c_int, information: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the system hands over the information on this signal; the rest as in `install`.
    unsafe {
        let address = (*information).si_addr() as usize;
        let is_here = |known: &&Known| {
            let start = known.start.load(Ordering::SeqCst);
            address >= start && address - start < known.length.load(Ordering::SeqCst)
        };
        let known = KNOWN.iter().find(is_here);
        if let Some(message) = known.and_then(|known| known.message.load(Ordering::SeqCst).as_ref()) {
            libc::write(2, message.as_ptr().cast(), message.len());
            libc::_exit(1);
        }
        libc::sigaction(libc::SIGBUS, BEFORE.load(Ordering::SeqCst), std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "messages are never freed")]
    fn a_map_at_an_address_that_another_had_has_its_own_name() {
        let map = vec![0; 4096];
        for (part, file) in [(&map[..], "first"), (&map[1000..2000], "second"), (&map[..1500], "third")] {
            name(part, Path::new(file));
            let address = part.as_ptr() as usize + 400;
            let is_here = |known: &&Known| {
                let start = known.start.load(Ordering::SeqCst);
                address >= start && address - start < known.length.load(Ordering::SeqCst)
            };
            let found: Vec<&Known> = KNOWN.iter().filter(is_here).collect();
            assert_eq!(found.len(), 1, "{file}");
            // SAFETY: a message that was made by `name`.
            let message = unsafe { found[0].message.load(Ordering::SeqCst).as_ref() };
            assert!(message.is_some_and(|message| message.starts_with(&format!("error: {file} was cut short"))));
        }
    }
}
