//! What is to be hit: by the answer to one example, and by the answers to a batch.

use std::ops::Range;

/// What the data says of an example. Of a language model's nothing: its targets are tokens of the example itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum ExampleTarget {
    #[default]
    None,
    /// The number of its class.
    Class(usize),
    /// Tokens, as indices into the example's ids, ascending, each with the number of its class.
    TokenClasses(Vec<(usize, usize)>),
    Value(f32),
    /// The numbers of the classes that it has, ascending; there may be none.
    Set(Vec<usize>),
}

impl ExampleTarget {
    /// The class of an example that has one.
    pub fn class(&self) -> Option<usize> {
        match self {
            Self::Class(class) => Some(*class),
            Self::None | Self::TokenClasses(_) | Self::Value(_) | Self::Set(_) => None,
        }
    }

    /// All classes that it names.
    pub fn classes(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        let (one, tokens, set): (_, &[(usize, usize)], &[usize]) = match self {
            Self::None | Self::Value(_) => (None, &[], &[]),
            Self::Class(class) => (Some(*class), &[], &[]),
            Self::TokenClasses(classes) => (None, classes, &[]),
            Self::Set(classes) => (None, &[], classes),
        };
        one.into_iter().chain(tokens.iter().map(|(_, class)| *class)).chain(set.iter().copied())
    }
}

/// What is to be hit by the answers to a batch, in the order of the rows that its head reads: one of each sequence, or one
/// of each of [`Batch::rows`](crate::Batch::rows).
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Targets {
    /// Of sequences without labels.
    #[default]
    None,
    /// Numbers of classes.
    Classes(Vec<usize>),
    /// Token ids.
    Tokens(Vec<usize>),
    Values(Vec<f32>),
    /// Numbers of classes, ascending.
    Sets(Vec<Vec<usize>>),
}

impl Targets {
    pub fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Classes(classes) => classes.len(),
            Self::Tokens(ids) => ids.len(),
            Self::Values(values) => values.len(),
            Self::Sets(sets) => sets.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of them.
    ///
    /// # Panics
    /// Beyond the last.
    pub fn part(&self, range: Range<usize>) -> Targets {
        match self {
            Self::None => Self::None,
            Self::Classes(classes) => Self::Classes(classes[range].to_vec()),
            Self::Tokens(ids) => Self::Tokens(ids[range].to_vec()),
            Self::Values(values) => Self::Values(values[range].to_vec()),
            Self::Sets(sets) => Self::Sets(sets[range].to_vec()),
        }
    }

    /// The numbers of classes or tokens, where each target is one.
    pub fn numbers(&self) -> &[usize] {
        match self {
            Self::Classes(numbers) | Self::Tokens(numbers) => numbers,
            Self::None | Self::Values(_) | Self::Sets(_) => &[],
        }
    }

    /// Adds what is to be hit of an example whose tokens begin at `start` in the batch; tokens that have a target of their
    /// own are added to `rows`.
    pub(crate) fn add(&mut self, target: ExampleTarget, start: usize, rows: &mut Vec<usize>) {
        match target {
            ExampleTarget::None => {}
            ExampleTarget::Class(class) => self.classes().push(class),
            ExampleTarget::TokenClasses(tokens) => {
                rows.extend(tokens.iter().map(|(token, _)| start + token));
                self.classes().extend(tokens.iter().map(|(_, class)| *class));
            }
            ExampleTarget::Value(value) => match self {
                Self::Values(values) => values.push(value),
                _ => *self = Self::Values(vec![value]),
            },
            ExampleTarget::Set(set) => match self {
                Self::Sets(sets) => sets.push(set),
                _ => *self = Self::Sets(vec![set]),
            },
        }
    }

    fn classes(&mut self) -> &mut Vec<usize> {
        if !matches!(self, Self::Classes(_)) {
            *self = Self::Classes(Vec::new());
        }
        match self {
            Self::Classes(classes) => classes,
            _ => unreachable!("they were made classes"),
        }
    }

    /// Adds a token that is to be predicted.
    pub(crate) fn add_token(&mut self, id: usize) {
        match self {
            Self::Tokens(ids) => ids.push(id),
            _ => *self = Self::Tokens(vec![id]),
        }
    }
}
