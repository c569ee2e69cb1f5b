//! The crates `parquet` and `tokenizers` assert on what a broken file can hold. A broken file is not our bug, so such a panic
//! becomes an error here, and nobody sees its message.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// What `read` gives, or the message of its panic. After a panic the caller drops the reader: what it left half done
/// is never looked at, which is why unwinding is safe.
pub(crate) fn quietly<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    // The hook prints before anything is caught. Ours is silent on a thread that reads, and otherwise the one before.
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    QUIET.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(read));
    QUIET.set(false);
    result.map_err(|payload| message(payload.as_ref()))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("the reader failed").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(quietly(|| 5), Ok(5));
        assert_eq!(quietly(|| panic!("no page")), Err::<(), _>("no page".to_owned()));
        assert_eq!(quietly(|| panic!("page {}", 3)), Err::<(), _>("page 3".to_owned()));
    }
}
