//! The micro-batches of a step, shared among workers. Each computes some of them whole; losses and gradients are added in the
//! order of the micro-batches, wherever these were computed.

use std::time::Instant;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use tasks::TrainableModel;

use super::Error;
use super::executor::{Caller, Computed, StepExecutor, StepGradients, Sums, not_a_number};
use super::loader::TrainingBatches;
use crate::output::Output;
use crate::workers::{Exchange, Gradients, Group, Traffic, Workers, shared};

/// Bytes of gradients that a worker holds at most before they are exchanged, if it is more than those of one micro-batch: the
/// more micro-batches, the more evenly they are shared, and the fewer exchanges a step has.
const HELD: usize = 256 << 20;

pub(super) struct Shared {
    workers: Workers,
    batches: TrainingBatches,
    /// Where gradients are, without autodiff.
    device: Device,
    pace: Pace,
    /// Who is slow has been said.
    is_said: bool,
    steps: usize,
    exchanged: Traffic,
    output: Output,
}

/// Seconds that each worker has computed, and tokens, over the steps so far.
#[derive(Debug, Default)]
struct Pace {
    workers: Vec<(f64, usize)>,
}

/// What a worker tells of its micro-batches.
#[derive(Debug, Serialize, Deserialize)]
struct Account {
    stop: bool,
    seconds: f64,
    /// By their numbers within the step.
    micro_batches: Vec<(usize, OfOne)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct OfOne {
    /// Bits of an f64: JSON has no number that is none.
    loss: u64,
    divisor: u64,
    tokens: usize,
    broken: Vec<usize>,
    /// Parameters without a gradient, most often none.
    absent: Vec<usize>,
}

impl StepExecutor for Shared {
    fn gradients(
        &mut self,
        model: &TrainableModel,
        step: usize,
        caller: &mut Caller<'_>,
    ) -> Result<Option<StepGradients>, Error> {
        let lengths = lengths(model);
        let size = self.workers.size();
        let parts = self.batches.sampler.step(step);
        let count = parts.micro_batches.len();
        let most = self.most(&lengths, count);
        let mut exchange = Exchange::new(&self.workers, lengths.clone(), most);
        let mut sums = Sums::default();
        let mut first = 0;
        let before = self.workers.traffic();
        loop {
            let numbers = first..(first + size * most).min(count);
            let tokens = |number: usize| {
                let examples = parts.micro_batches[number].iter();
                examples.map(|example| self.batches.dataset.get(*example).len()).sum()
            };
            let sizes: Vec<usize> = numbers.clone().map(tokens).collect();
            let workers = shared(&sizes, size, most);
            let own = numbers.clone().filter(|number| workers[number - first] == self.workers.rank());

            let started = Instant::now();
            let (mut gradients, mut micro_batches): (Vec<Gradients>, _) = (Vec::new(), Vec::new());
            for number in own {
                let computed = Computed::of(model, self.batches.micro_batch(step, &parts, number), &*self.batches.task);
                let (of_one, account) = taken(model, computed, caller);
                gradients.push(of_one);
                micro_batches.push((number, account));
            }
            let seconds = started.elapsed().as_secs_f64();
            let account = Account { stop: (caller.should_stop)(), seconds, micro_batches };
            let accounts = self.workers.gather("the losses of a step", &account)?;
            self.pace.add(&accounts);
            self.say_who_is_slow();
            let stop = accounts.iter().any(|account| account.stop);
            let mut in_order: Vec<(usize, OfOne)> = accounts.into_iter().flat_map(|it| it.micro_batches).collect();
            in_order.sort_by_key(|(number, _)| *number);
            if let Some((_, one)) = in_order.iter().find(|(_, one)| !one.broken.is_empty()) {
                return Err(not_a_number(step, &one.broken, &self.batches.dataset));
            }

            let present = in_order.iter().map(|(_, one)| one.present(lengths.len())).collect();
            for (number, one) in in_order {
                sums.add(one.sums(parts.micro_batches[number].clone()));
            }
            let group = Group { workers, present };
            first = numbers.end;
            if first == count {
                let mut sum = Registered {
                    device: &self.device,
                    sum: exchange.finish(&group, gradients).into_iter(),
                    gradients: GradientsParams::new(),
                };
                model.visit(&mut sum);
                self.exchanged += self.workers.traffic() - before;
                self.steps += 1;
                return Ok(Some(StepGradients { gradients: sum.gradients, sums, stop }));
            }
            // An incomplete step is dropped: the next process begins it anew.
            if stop {
                return Ok(None);
            }
            exchange.add(&group, gradients);
        }
    }

    fn account(&self) -> Vec<String> {
        if self.steps == 0 {
            return Vec::new();
        }
        let (workers, sums) = (self.workers.size(), self.exchanged.of_each(self.steps));
        vec![format!("{workers} workers; to exchange the gradients of a step: {sums}")]
    }
}

impl Shared {
    pub(super) fn new(workers: &Workers, batches: TrainingBatches, device: Device, output: Output) -> Self {
        Self {
            workers: workers.clone(),
            batches,
            device,
            pace: Pace::default(),
            is_said: false,
            steps: 0,
            exchanged: Traffic::default(),
            output,
        }
    }

    /// Once, as soon as it shows.
    fn say_who_is_slow(&mut self) {
        if self.is_said {
            return;
        }
        if let Some(line) = self.pace.who_is_slow(&self.workers) {
            self.output.say(&line);
            self.is_said = true;
        }
    }

    /// Micro-batches of a worker whose gradients it holds at one time.
    fn most(&self, lengths: &[usize], count: usize) -> usize {
        let bytes = lengths.iter().sum::<usize>().max(1) * size_of::<f32>();
        (HELD / bytes).clamp(1, count.div_ceil(self.workers.size()).max(1))
    }
}

impl OfOne {
    fn present(&self, parameters: usize) -> Vec<bool> {
        let mut present = vec![true; parameters];
        self.absent.iter().for_each(|parameter| present[*parameter] = false);
        present
    }

    fn sums(self, examples: Vec<usize>) -> Sums {
        let Self { loss, divisor, tokens, .. } = self;
        Sums { loss: f64::from_bits(loss), divisor: f64::from_bits(divisor), tokens, examples }
    }
}

impl Pace {
    fn add(&mut self, accounts: &[Account]) {
        self.workers.resize(accounts.len(), (0.0, 0));
        for ((seconds, tokens), account) in self.workers.iter_mut().zip(accounts) {
            *seconds += account.seconds;
            *tokens += account.micro_batches.iter().map(|(_, one)| one.tokens).sum::<usize>();
        }
    }

    /// The worker that takes longest for a token, with how many times as long as the others, if that is worth a word.
    fn slow(&self) -> Option<(usize, f64)> {
        /// Times what the others take, over so many seconds.
        const SLOW: f64 = 1.5;
        const LONG: f64 = 10.0;
        let rate = |(seconds, tokens): &(f64, usize)| seconds / (*tokens).max(1) as f64;
        let (slowest, of_slowest) = self.workers.iter().enumerate().max_by(|a, b| rate(a.1).total_cmp(&rate(b.1)))?;
        let others = || self.workers.iter().enumerate().filter(|(worker, _)| *worker != slowest).map(|(_, of)| of);
        let of_others = (others().map(|(seconds, _)| seconds).sum(), others().map(|(_, tokens)| tokens).sum());
        let times = rate(of_slowest) / rate(&of_others);
        (of_slowest.0 > LONG && times.is_finite() && times > SLOW).then_some((slowest, times))
    }

    /// What is to be said of it.
    fn who_is_slow(&self, workers: &Workers) -> Option<String> {
        let (worker, times) = self.slow()?;
        let (name, shares) = (workers.name(worker), self.shares());
        Some(format!(
            "{name} is slow: it takes {times:.1} times as long for a token as the others (of all tokens: {shares})"
        ))
    }

    /// What each worker has computed of all tokens.
    fn shares(&self) -> String {
        let all: usize = self.workers.iter().map(|(_, tokens)| tokens).sum();
        let share = |(_, tokens): &(f64, usize)| format!("{:.0} %", 100.0 * *tokens as f64 / all.max(1) as f64);
        self.workers.iter().map(share).collect::<Vec<_>>().join(", ")
    }
}

/// The gradients of a micro-batch on the host, and what is told of it.
fn taken(model: &TrainableModel, computed: Computed, caller: &mut Caller<'_>) -> (Gradients, OfOne) {
    let Computed { gradients, sums, broken, output } = computed;
    let mut on_host = OnHost { gradients, values: Vec::new() };
    model.visit(&mut on_host);
    (caller.told)(output);
    let absent = on_host.values.iter().enumerate().filter(|(_, values)| values.is_none()).map(|(n, _)| n).collect();
    let (loss, divisor) = (sums.loss.to_bits(), sums.divisor.to_bits());
    (on_host.values, OfOne { loss, divisor, tokens: sums.tokens, broken, absent })
}

/// The number of values of each parameter, in the order of the model.
fn lengths(model: &TrainableModel) -> Vec<usize> {
    struct Lengths(Vec<usize>);
    impl ModuleVisitor for Lengths {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.dims().iter().product());
        }
    }
    let mut lengths = Lengths(Vec::new());
    model.visit(&mut lengths);
    lengths.0
}

struct OnHost {
    gradients: GradientsParams,
    values: Gradients,
}

impl ModuleVisitor for OnHost {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = self.gradients.remove::<D>(param.id);
        self.values.push(gradient.map(tasks::host));
    }
}

/// Sums become gradients again, in the order of the model.
struct Registered<'a> {
    device: &'a Device,
    sum: std::vec::IntoIter<Option<Vec<f32>>>,
    gradients: GradientsParams,
}

impl ModuleVisitor for Registered<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(Some(values)) = self.sum.next() {
            let data = TensorData::new(values, param.dims());
            self.gradients.register::<D>(param.id, Tensor::from_data(data, self.device));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::threads::with_workers;

    #[test]
    fn who_is_slow_is_told_by_the_time_of_a_token() {
        let slow = |workers: &[(f64, usize)]| Pace { workers: workers.to_vec() }.slow().map(|(worker, _)| worker);
        assert_eq!(slow(&[(20.0, 100), (60.0, 300)]), None);
        assert_eq!(slow(&[(20.0, 100), (60.0, 100), (20.0, 100)]), Some(1));
        // Of what has just begun nothing can be said.
        assert_eq!(slow(&[(0.2, 100), (0.6, 100)]), None);
        assert_eq!(slow(&[(20.0, 100), (0.0, 0)]), None);
        let shares = Pace { workers: vec![(1.0, 100), (1.0, 300)] }.shares();
        assert_eq!(shares, "25 %, 75 %");
    }

    #[test]
    fn a_slow_worker_is_named_with_its_host_and_the_share_of_each() {
        let found = with_workers(2, |workers| Pace { workers: vec![(20.0, 100), (60.0, 100)] }.who_is_slow(workers));
        let expected = "worker 1 on thread is slow: it takes 3.0 times as long for a token as the others (of all tokens: 50 %, 50 %)";
        assert_eq!(found, [Some(expected.to_string()), Some(expected.to_string())]);
    }
}
