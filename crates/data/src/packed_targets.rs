//! The targets of some hundred examples in little memory. All of a block are of one kind.

use std::ops::Range;

use crate::packed::Packed;
use crate::targets::ExampleTarget;

#[derive(Debug, Clone)]
pub(crate) enum PackedTargets {
    None,
    Classes(Packed),
    Values(Box<[f32]>),
    Sets(Lists),
    TokenClasses { lists: Lists, tokens: Packed },
}

/// The numbers of classes, of all examples.
#[derive(Debug, Clone)]
pub(crate) struct Lists {
    /// Where those of each example end.
    ends: Packed,
    classes: Packed,
}

impl Lists {
    fn new<'a, I: Iterator<Item = usize> + Clone>(lists: impl Iterator<Item = I> + Clone + 'a) -> Self {
        let lengths = lists.clone().map(Iterator::count);
        let ends = lengths.scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        Self { ends: Packed::new(ends), classes: Packed::new(lists.flatten()) }
    }

    fn range(&self, index: usize) -> Range<usize> {
        let start = if index == 0 { 0 } else { self.ends.get(index - 1) };
        start..self.ends.get(index)
    }

    fn bytes(&self) -> usize {
        self.ends.bytes() + self.classes.bytes()
    }
}

impl PackedTargets {
    /// Of examples whose targets differ in kind none are kept.
    pub(crate) fn new<'a>(targets: impl Iterator<Item = &'a ExampleTarget> + Clone) -> Self {
        let each = || targets.clone();
        let all = |is: fn(&ExampleTarget) -> bool| each().all(is);
        match each().next() {
            Some(ExampleTarget::Class(_)) if all(|it| matches!(it, ExampleTarget::Class(_))) => {
                Self::Classes(Packed::new(each().filter_map(ExampleTarget::class)))
            }
            Some(ExampleTarget::Value(_)) if all(|it| matches!(it, ExampleTarget::Value(_))) => {
                let value =
                    |target: &ExampleTarget| if let ExampleTarget::Value(value) = target { Some(*value) } else { None };
                Self::Values(each().filter_map(value).collect())
            }
            Some(ExampleTarget::Set(_)) if all(|it| matches!(it, ExampleTarget::Set(_))) => {
                Self::Sets(Lists::new(each().map(ExampleTarget::classes)))
            }
            Some(ExampleTarget::TokenClasses(_)) if all(|it| matches!(it, ExampleTarget::TokenClasses(_))) => {
                let tokens = |target: &ExampleTarget| match target {
                    ExampleTarget::TokenClasses(tokens) => tokens.iter().map(|(token, _)| *token).collect(),
                    _ => Vec::new(),
                };
                let tokens: Vec<usize> = each().flat_map(tokens).collect();
                Self::TokenClasses {
                    lists: Lists::new(each().map(ExampleTarget::classes)),
                    tokens: Packed::new(tokens.into_iter()),
                }
            }
            _ => Self::None,
        }
    }

    pub(crate) fn get(&self, index: usize) -> ExampleTarget {
        match self {
            Self::None => ExampleTarget::None,
            Self::Classes(classes) => ExampleTarget::Class(classes.get(index)),
            Self::Values(values) => ExampleTarget::Value(values[index]),
            Self::Sets(lists) => ExampleTarget::Set(lists.classes.iter(lists.range(index)).collect()),
            Self::TokenClasses { lists, tokens } => {
                let range = lists.range(index);
                ExampleTarget::TokenClasses(tokens.iter(range.clone()).zip(lists.classes.iter(range)).collect())
            }
        }
    }

    /// Those that `settle` makes of these, of so many examples.
    pub(crate) fn settled(&self, examples: usize, settle: &dyn Fn(ExampleTarget) -> ExampleTarget) -> Self {
        let targets: Vec<ExampleTarget> = (0..examples).map(|index| settle(self.get(index))).collect();
        Self::new(targets.iter())
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Classes(classes) => classes.bytes(),
            Self::Values(values) => size_of_val(&**values),
            Self::Sets(lists) => lists.bytes(),
            Self::TokenClasses { lists, tokens } => lists.bytes() + tokens.bytes(),
        }
    }
}
