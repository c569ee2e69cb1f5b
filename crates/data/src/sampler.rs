//! The order of the data: which examples make which optimiser step, as a pure function of (seed, epoch). A resumed run
//! asks for its next step and gets what it would have got.
//!
//! The random numbers are our own, and stay what they are in every version: a crate that improved its generator would
//! give a resumed run another order.

use std::sync::{Mutex, PoisonError};

/// Optimiser steps that are sorted together when grouping by length: enough for batches of nearly one length, few
/// enough for the order to stay random. Transformers' `LengthGroupedSampler` takes 50 batches.
const GROUPED_STEPS: usize = 50;

/// How examples become steps. `batch_size` and `grad_accumulation` are at least 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamplerConfig {
    pub seed: u64,
    /// Examples of a micro-batch.
    pub batch_size: usize,
    /// Micro-batches of an optimiser step.
    pub grad_accumulation: usize,
    /// Otherwise the examples come in the order of the file.
    pub shuffle: bool,
    /// Micro-batches of examples of similar length, in random order if shuffled.
    pub group_by_length: bool,
}

/// The order of the examples, for any number of epochs.
#[derive(Debug)]
pub struct Sampler {
    /// The examples of each unit, where these are not single examples.
    packs: Option<Vec<Vec<usize>>>,
    /// Of each unit. A unit of more tokens than four bytes can say is as long as any.
    lengths: Vec<u32>,
    config: SamplerConfig,
    /// The epoch asked for last: its steps are asked for one after the other.
    current: Mutex<Option<(usize, Vec<u32>)>>,
}

/// The examples of one optimiser step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// From 0.
    pub epoch: usize,
    /// Indices of examples.
    pub micro_batches: Vec<Vec<usize>>,
}

impl Sampler {
    /// `lengths` are the examples' numbers of tokens.
    ///
    /// # Panics
    /// If `batch_size` or `grad_accumulation` is 0.
    pub fn new(lengths: Vec<usize>, config: SamplerConfig) -> Self {
        assert!(config.batch_size > 0 && config.grad_accumulation > 0, "a step has at least one example");
        assert!(u32::try_from(lengths.len()).is_ok(), "examples are numbered in four bytes");
        let lengths = lengths.into_iter().map(|length| u32::try_from(length).unwrap_or(u32::MAX)).collect();
        Self { packs: None, lengths, config, current: Mutex::new(None) }
    }

    /// As `new`, of examples that come in packs: see [`pack`](crate::pack). A pack counts as one example of a micro-batch.
    pub fn packed(packs: Vec<Vec<usize>>, lengths: &[usize], config: SamplerConfig) -> Self {
        let of_packs = packs.iter().map(|pack| pack.iter().map(|index| lengths[*index]).sum()).collect();
        Self { packs: Some(packs), ..Self::new(of_packs, config) }
    }

    /// Accumulation never crosses an epoch: its last step may have fewer micro-batches, the last of them fewer examples.
    pub fn steps_per_epoch(&self) -> usize {
        self.lengths.len().div_ceil(self.step_size())
    }

    /// The order of the examples or packs in an epoch, from 0.
    pub fn epoch(&self, epoch: usize) -> Vec<usize> {
        self.order(epoch).into_iter().map(|unit| unit as usize).collect()
    }

    fn order(&self, epoch: usize) -> Vec<u32> {
        let mut random = Random::new(self.config.seed, epoch as u64);
        let mut order: Vec<u32> = (0..self.lengths.len() as u32).collect();
        if self.config.shuffle {
            random.shuffle(&mut order);
        }
        if self.config.group_by_length {
            self.group(&mut order, &mut random);
        }
        order
    }

    /// The examples of an optimiser step, counted from 1 over all epochs.
    ///
    /// # Panics
    /// For step 0, and if there are no examples.
    pub fn step(&self, step: usize) -> Step {
        assert!(step > 0 && !self.lengths.is_empty(), "steps count from 1 and have examples");
        let (epoch, window) = ((step - 1) / self.steps_per_epoch(), (step - 1) % self.steps_per_epoch());
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let order = match current.take() {
            Some((known, order)) if known == epoch => order,
            _ => self.order(epoch),
        };
        let begin = window * self.step_size();
        let end = (begin + self.step_size()).min(order.len());
        let examples = |units: &[u32]| match &self.packs {
            Some(packs) => units.iter().flat_map(|unit| packs[*unit as usize].iter().copied()).collect(),
            None => units.iter().map(|unit| *unit as usize).collect(),
        };
        let micro_batches = order[begin..end].chunks(self.config.batch_size).map(examples).collect();
        *current = Some((epoch, order));
        Step { epoch, micro_batches }
    }

    fn step_size(&self) -> usize {
        self.config.batch_size * self.config.grad_accumulation
    }

    /// Sorts stretches of the order by length, longest first, then shuffles the micro-batches.
    fn group(&self, order: &mut Vec<u32>, random: &mut Random) {
        for stretch in order.chunks_mut(GROUPED_STEPS * self.step_size()) {
            // Stable: examples of one length stay as they were shuffled.
            stretch.sort_by_key(|&index| std::cmp::Reverse(self.lengths[index as usize]));
        }
        if !self.config.shuffle {
            return;
        }
        // An incomplete micro-batch stays last, or those after it would be cut elsewhere.
        let complete = order.len() / self.config.batch_size * self.config.batch_size;
        let rest = order.split_off(complete);
        let mut batches: Vec<&[u32]> = order.chunks(self.config.batch_size).collect();
        random.shuffle(&mut batches);
        *order = [batches.concat(), rest].concat();
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// Streams of one seed have nothing in common, nor have equal streams of neighbouring seeds: both are mixed.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut seeded = Self { state: seed };
        let mut streamed = Self { state: seeded.next() ^ stream };
        Self { state: streamed.next() }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`. The high half of the product favours no number by more than `bound / 2^64`.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Fisher and Yates, from the last place to the first.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests;
