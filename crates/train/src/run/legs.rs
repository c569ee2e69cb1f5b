//! The legs of a run: one, unless the run went on after it had finished. Each begins where the one before ended, with settings
//! and a schedule of its own; steps, data order and random bits are counted on through all of them, so that a run in legs is
//! as much a function of its configuration as any other.

use super::Error;
use super::schedule::{Curve, Schedule};
use crate::config::{Config, Leg as Written, Loaded, TrainConfig};

#[derive(Debug, Clone)]
pub(crate) struct Legs(Vec<Leg>);

#[derive(Debug, Clone)]
pub(crate) struct Leg {
    /// Steps that are done before it.
    start: usize,
    /// Its last step.
    end: usize,
    /// Where it would end by its own settings: before that early stopping may have ended it.
    planned: usize,
    pub(crate) train: TrainConfig,
}

/// A leg without a step to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoSteps {
    /// The keys of `[train]` that it sets.
    pub(crate) keys: Vec<&'static str>,
    pub(crate) done: usize,
    /// Where its settings end it; `None` if they never do.
    pub(crate) end: Option<usize>,
    pub(crate) per_epoch: usize,
}

impl Legs {
    pub(crate) fn new(config: &Config, per_epoch: usize) -> Result<Self, NoSteps> {
        let mut train = config.train.clone();
        let mut planned = steps(&train, per_epoch);
        let mut legs = vec![Leg { start: 0, end: planned, planned, train: train.clone() }];
        for written in &config.legs {
            let start = written.after_step;
            let wrong = |end: usize| NoSteps {
                keys: written.written().iter().map(|(key, _)| *key).collect(),
                done: start,
                end: (end < usize::MAX).then_some(end),
                per_epoch,
            };
            if planned < start {
                return Err(NoSteps { keys: Vec::new(), ..wrong(planned) });
            }
            train = written.over(&train);
            planned = steps(&train, per_epoch);
            if planned <= start || planned == usize::MAX {
                return Err(wrong(planned));
            }
            legs.last_mut().expect("there is always a leg").end = start;
            legs.push(Leg { start, end: planned, planned, train: train.clone() });
        }
        Ok(Self(legs))
    }

    /// Optimiser steps in all.
    pub(crate) fn steps(&self) -> usize {
        self.0.last().map_or(0, |leg| leg.end)
    }

    /// The leg of a step, counted from 1.
    pub(crate) fn of_step(&self, step: usize) -> &Leg {
        self.0.iter().rev().find(|leg| leg.start < step).unwrap_or(&self.0[0])
    }

    /// Whether a leg ends with this step, be it the last one or not.
    pub(crate) fn end_with(&self, step: usize) -> bool {
        self.0.iter().any(|leg| leg.end == step)
    }

    /// Whether a leg begins after this step, the first one aside.
    pub(crate) fn go_on_after(&self, step: usize) -> bool {
        self.0[1..].iter().any(|leg| leg.start == step)
    }

    /// Whether this step is of the last leg, the one that early stopping may end.
    pub(crate) fn is_in_last(&self, step: usize) -> bool {
        self.0.last().is_some_and(|leg| leg.start < step)
    }

    pub(crate) fn schedule(&self) -> Schedule {
        let curve = |leg: &Leg| {
            let (total, train) = (leg.planned - leg.start, &leg.train);
            let ratio = train.warmup_ratio.map(|ratio| (ratio * total as f64).ceil() as usize);
            Curve {
                start: leg.start,
                shape: train.schedule,
                learning_rate: train.learning_rate,
                warmup: train.warmup_steps.or(ratio).unwrap_or(0),
                total,
            }
        };
        Schedule { curves: self.0.iter().map(curve).collect(), taken: 0 }
    }
}

/// Training ends at whichever of epochs and steps comes first.
fn steps(train: &TrainConfig, per_epoch: usize) -> usize {
    let of_epochs = if train.epochs == 0 { usize::MAX } else { train.epochs * per_epoch };
    let limit = if train.max_steps == 0 { usize::MAX } else { train.max_steps };
    of_epochs.min(limit)
}

/// Refuses `--set` for what a leg of the configuration sets as well: which of the two it was for, nobody can say.
pub(crate) fn check_sets(loaded: &Loaded) -> Result<(), Error> {
    let set = |key: &&str| loaded.is_set(&format!("train.{key}"));
    for leg in &loaded.config.legs {
        if let Some(key) = leg.written().into_iter().map(|(key, _)| key).find(set) {
            let place = loaded.place(&format!("train.{key}"));
            return Err(Error::SetInLeg { place, key, after_step: leg.after_step });
        }
    }
    Ok(())
}

/// `[train]` as it is in the last leg.
pub(crate) fn effective(train: &TrainConfig, legs: &[Written]) -> TrainConfig {
    legs.iter().fold(train.clone(), |train, leg| leg.over(&train))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(legs: Vec<Written>) -> Config {
        let mut config = Config { legs, ..Config::default() };
        (config.train.epochs, config.train.warmup_ratio) = (3, Some(0.25));
        config
    }

    #[test]
    fn a_leg_begins_where_the_one_before_ended_and_has_a_schedule_over_its_own_steps() {
        let longer = Written { after_step: 24, epochs: Some(5), learning_rate: Some(1e-4), ..Written::default() };
        let legs = Legs::new(&config(vec![longer]), 8).unwrap();
        assert_eq!(legs.steps(), 40);
        assert!(legs.end_with(24) && legs.go_on_after(24) && !legs.go_on_after(40));
        assert!(!legs.is_in_last(24) && legs.is_in_last(25));
        let curves = legs.schedule().curves;
        assert_eq!([curves[0].warmup, curves[1].warmup], [6, 4]);
        assert_eq!((curves[1].start, curves[1].total, curves[1].learning_rate), (24, 16, 1e-4));
    }

    #[test]
    fn a_leg_that_was_stopped_early_keeps_the_schedule_it_was_planned_with() {
        let further = Written { after_step: 10, early_stopping_patience: Some(0), ..Written::default() };
        let legs = Legs::new(&config(vec![further]), 8).unwrap();
        let curves = legs.schedule().curves;
        assert_eq!((curves[0].total, curves[1].start, curves[1].total), (24, 10, 14));
    }

    #[test]
    fn a_leg_without_steps_is_none() {
        let shorter = Written { after_step: 24, epochs: Some(2), ..Written::default() };
        let error = Legs::new(&config(vec![shorter]), 8).unwrap_err();
        assert_eq!(error, NoSteps { keys: vec!["epochs"], done: 24, end: Some(16), per_epoch: 8 });
        let late = Written { after_step: 25, epochs: Some(5), ..Written::default() };
        assert_eq!(Legs::new(&config(vec![late]), 8).unwrap_err().end, Some(24));
    }
}
