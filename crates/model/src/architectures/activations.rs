//! What an architecture says of the memory that a backward pass takes.

/// The sizes of a model that the memory of a backward pass depends on, and which of its modules read what a norm makes.
#[derive(Debug, Clone, Copy)]
pub struct ActivationShape {
    /// Of the hidden states.
    pub width: usize,
    /// Of the feed-forward network.
    pub inner: usize,
    pub layers: usize,
    pub vocabulary: usize,
    /// Of the keys of all heads, and of their values.
    pub keys: usize,
    /// Whether a gate stands beside what goes up in the feed-forward network: two tensors are kept where others keep one.
    pub gated: bool,
    /// Of what the norms of a layer read, all together.
    pub norms: usize,
    /// The endings of the paths of modules that read what a norm makes.
    pub(crate) after_norms: &'static [&'static str],
}

impl ActivationShape {
    /// Whether the module reads what a norm makes: its input is made again, not kept.
    pub fn follows_norm(&self, module: &str) -> bool {
        let ends_in = |ending: &&str| module.strip_suffix(*ending).is_some_and(|r| r.is_empty() || r.ends_with('.'));
        self.after_norms.iter().any(ends_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_known_by_whole_segments_of_their_paths() {
        let after_norms = &["query", "intermediate.dense"];
        let shape = ActivationShape {
            width: 8,
            inner: 32,
            layers: 1,
            vocabulary: 9,
            keys: 8,
            gated: false,
            norms: 16,
            after_norms,
        };
        for path in ["query", "layer.0.attention.self.query", "layer.0.intermediate.dense"] {
            assert!(shape.follows_norm(path), "{path}");
        }
        for path in ["layer.0.subquery", "layer.0.output.dense", "layer.0.query.dense", "dense"] {
            assert!(!shape.follows_norm(path), "{path}");
        }
    }
}
