//! The learning rate as a function of the step number. Reference: `get_constant_schedule_with_warmup`,
//! `get_linear_schedule_with_warmup` and `get_cosine_schedule_with_warmup` in Transformers. Each leg of a run has one of its
//! own, laid over the steps of that leg, warm-up included.

use burn::optim::lr_scheduler::{LrScheduler, LrSchedulerRecord};

use crate::config::Schedule as Shape;

/// Its only state is the number of steps taken.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// At least one; the first begins at 0.
    pub(crate) curves: Vec<Curve>,
    pub(crate) taken: usize,
}

/// The rates of a leg.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Curve {
    /// Steps before it.
    pub(crate) start: usize,
    pub(crate) shape: Shape,
    pub(crate) learning_rate: f64,
    pub(crate) warmup: usize,
    /// Steps that it is laid over.
    pub(crate) total: usize,
}

impl Curve {
    /// The rate of the step that follows `taken` others of this leg.
    fn rate(&self, taken: usize) -> f64 {
        if taken < self.warmup {
            return self.learning_rate * taken as f64 / self.warmup as f64;
        }
        let (behind, all) = ((taken - self.warmup) as f64, self.total.saturating_sub(self.warmup).max(1) as f64);
        let factor = match self.shape {
            Shape::Constant => 1.0,
            Shape::Linear => (1.0 - behind / all).max(0.0),
            Shape::Cosine => (0.5 * (1.0 + (std::f64::consts::PI * behind / all).cos())).max(0.0),
        };
        self.learning_rate * factor
    }
}

impl Schedule {
    /// The curve of the step that follows `taken` others.
    pub(crate) fn curve(&self, taken: usize) -> &Curve {
        let begun = self.curves.iter().rev().find(|curve| curve.start <= taken);
        begun.expect("the first curve begins at 0")
    }
}

impl LrScheduler for Schedule {
    fn step(&mut self) -> f64 {
        let curve = self.curve(self.taken);
        let rate = curve.rate(self.taken - curve.start);
        self.taken += 1;
        rate
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar("taken", self.taken as u64)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        if let Some(taken) = record.scalar::<u64>("taken") {
            self.taken = taken as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(start: usize, shape: Shape, warmup: usize, total: usize) -> Curve {
        Curve { start, shape, learning_rate: 1.0, warmup, total }
    }

    fn rates(curves: Vec<Curve>, steps: usize) -> Vec<f64> {
        let mut schedule = Schedule { curves, taken: 0 };
        (0..steps).map(|_| schedule.step()).collect()
    }

    #[test]
    fn rates_are_those_of_transformers() {
        let rates = |shape, warmup| rates(vec![curve(0, shape, warmup, 6)], 6);
        assert_eq!(rates(Shape::Constant, 2), [0.0, 0.5, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(rates(Shape::Linear, 2), [0.0, 0.5, 1.0, 0.75, 0.5, 0.25]);
        let cosine = rates(Shape::Cosine, 2);
        let expected = [0.0, 0.5, 1.0, 0.853_553_390_593_273_7, 0.5, 0.146_446_609_406_726_24];
        assert!(cosine.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{cosine:?}");
        assert_eq!(rates(Shape::Linear, 0)[0], 1.0);
    }

    #[test]
    fn a_leg_has_a_schedule_of_its_own_over_its_steps() {
        let legs = vec![curve(0, Shape::Linear, 0, 4), curve(4, Shape::Linear, 2, 6)];
        assert_eq!(rates(legs, 10), [1.0, 0.75, 0.5, 0.25, 0.0, 0.5, 1.0, 0.75, 0.5, 0.25]);
        // Early stopping ended the first before it had come to its end.
        let legs = vec![curve(0, Shape::Linear, 0, 4), curve(2, Shape::Constant, 0, 2)];
        assert_eq!(rates(legs, 4), [1.0, 0.75, 1.0, 1.0]);
    }

    #[test]
    fn a_restored_schedule_goes_on_where_it_was() {
        let mut first = Schedule { curves: vec![curve(0, Shape::Linear, 0, 6)], taken: 0 };
        first.step();
        first.step();
        let mut second = Schedule { taken: 0, ..first.clone() };
        second.load_record(first.to_record());
        assert_eq!(second.step(), first.step());
    }
}
