//! The targets of some hundred examples in little memory. All of a block are of one kind.

use std::ops::Range;

use crate::encode::EncodedExample;
use crate::packed::Packed;
use crate::targets::Target;

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
    pub(crate) fn new(examples: &[EncodedExample]) -> Self {
        let each = || examples.iter().map(|example| &example.target);
        let all = |is: fn(&Target) -> bool| each().all(is);
        match examples.first().map(|first| &first.target) {
            Some(Target::Class(_)) if all(|it| matches!(it, Target::Class(_))) => {
                Self::Classes(Packed::new(each().filter_map(Target::class)))
            }
            Some(Target::Value(_)) if all(|it| matches!(it, Target::Value(_))) => {
                let value = |target: &Target| if let Target::Value(value) = target { Some(*value) } else { None };
                Self::Values(each().filter_map(value).collect())
            }
            Some(Target::Set(_)) if all(|it| matches!(it, Target::Set(_))) => {
                Self::Sets(Lists::new(each().map(Target::classes)))
            }
            Some(Target::TokenClasses(_)) if all(|it| matches!(it, Target::TokenClasses(_))) => {
                let tokens = |target: &'_ Target| match target {
                    Target::TokenClasses(tokens) => tokens.iter().map(|(token, _)| *token).collect(),
                    _ => Vec::new(),
                };
                let tokens: Vec<usize> = each().flat_map(tokens).collect();
                Self::TokenClasses {
                    lists: Lists::new(each().map(Target::classes)),
                    tokens: Packed::new(tokens.into_iter()),
                }
            }
            _ => Self::None,
        }
    }

    pub(crate) fn get(&self, index: usize) -> Target {
        match self {
            Self::None => Target::None,
            Self::Classes(classes) => Target::Class(classes.get(index)),
            Self::Values(values) => Target::Value(values[index]),
            Self::Sets(lists) => Target::Set(lists.classes.iter(lists.range(index)).collect()),
            Self::TokenClasses { lists, tokens } => {
                let range = lists.range(index);
                Target::TokenClasses(tokens.iter(range.clone()).zip(lists.classes.iter(range)).collect())
            }
        }
    }

    /// Gives each class another number.
    ///
    /// # Panics
    /// If a class has no number there.
    pub(crate) fn renumber(&mut self, numbers: &[usize]) {
        let classes = match self {
            Self::None | Self::Values(_) => return,
            Self::Classes(classes) => classes,
            Self::Sets(lists) | Self::TokenClasses { lists, .. } => &mut lists.classes,
        };
        let all: Vec<usize> = classes.iter(0..classes.len()).map(|class| numbers[class]).collect();
        *classes = Packed::new(all.into_iter());
        if let Self::Sets(lists) = self {
            lists.sort();
        }
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

impl Lists {
    /// Each list ascending.
    fn sort(&mut self) {
        let sorted = |index: usize| {
            let mut list: Vec<usize> = self.classes.iter(self.range(index)).collect();
            list.sort_unstable();
            list
        };
        let all: Vec<usize> = (0..self.ends.len()).flat_map(sorted).collect();
        self.classes = Packed::new(all.into_iter());
    }
}
