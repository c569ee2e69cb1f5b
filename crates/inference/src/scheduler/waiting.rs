//! Texts that have not joined the others: groups of them, of which each in turn has one that joins.

use std::collections::{HashSet, VecDeque};

use super::TextRequest;

#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By their numbers, those first whose turn it is. None is empty.
    groups: VecDeque<(u64, VecDeque<(u64, TextRequest)>)>,
    ids: HashSet<u64>,
}

impl Waiting {
    pub(super) fn push(&mut self, group: u64, id: u64, text: TextRequest) {
        self.ids.insert(id);
        match self.groups.iter_mut().find(|(other, _)| *other == group) {
            Some((_, texts)) => texts.push_back((id, text)),
            None => self.groups.push_back((group, VecDeque::from([(id, text)]))),
        }
    }

    /// The group and the number of the text whose turn it is, and the text.
    pub(super) fn first(&self) -> Option<(u64, u64, &TextRequest)> {
        let (group, texts) = self.groups.front()?;
        texts.front().map(|(id, text)| (*group, *id, text))
    }

    /// Takes the text whose turn it is; its group is the last then.
    pub(super) fn take(&mut self) -> Option<TextRequest> {
        let (group, mut texts) = self.groups.pop_front()?;
        let (id, text) = texts.pop_front()?;
        self.ids.remove(&id);
        if !texts.is_empty() {
            self.groups.push_back((group, texts));
        }
        Some(text)
    }

    pub(super) fn remove(&mut self, id: u64) {
        if self.ids.remove(&id) {
            self.groups.iter_mut().for_each(|(_, texts)| texts.retain(|(other, _)| *other != id));
            self.groups.retain(|(_, texts)| !texts.is_empty());
        }
    }

    pub(super) fn has(&self, id: u64) -> bool {
        self.ids.contains(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}
