//! Module paths taken apart at their dots.

/// Whether the last segments of the path are `name`, and others stand before them.
pub(super) fn ends_in(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
}

/// Whether `name` is the whole path, or the last segments, of this module or of one it lies in.
pub(super) fn lies_in(path: &str, name: &str) -> bool {
    with_ancestors(path).any(|module| module == name || ends_in(module, name))
}

/// `a.b.c`, `a.b`, `a`
pub(super) fn with_ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once('.').map(|(parent, _)| parent))
}

/// PEFT's rule for `modules_to_save`: a module whose full name ends in the entry, without regard to dots, and all below.
pub(crate) fn saves(entry: &str, path: &str) -> bool {
    with_ancestors(path).any(|module| module.ends_with(entry))
}

/// `c`, `b.c`, `a.b.c`
pub(super) fn suffixes(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('.').map(|(dot, _)| &path[dot + 1..]).chain([path])
}
