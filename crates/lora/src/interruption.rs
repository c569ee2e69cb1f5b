//! Whether the building of a model is to end before it is done, asked where a module takes long: before each decomposition.

use std::fmt;
use std::sync::Arc;

use crate::Error;

/// By default nobody interrupts.
#[derive(Clone, Default)]
pub(crate) struct Interruption(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Interruption {
    pub(crate) fn new(is_asked_for: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_asked_for)))
    }

    /// # Errors
    /// [`Error::Interrupted`], if it was.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.0 {
            Some(is_asked_for) if is_asked_for() => Err(Error::Interrupted),
            Some(_) | None => Ok(()),
        }
    }
}

impl fmt::Debug for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Interruption").field(&self.0.is_some()).finish()
    }
}
