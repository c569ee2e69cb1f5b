//! Sums of gradients over workers. Values go in buckets; of each bucket every worker owns an equal part, which it adds in the
//! order of micro-batches as burn's `GradientsAccumulator` does: what comes first is copied, what follows is added to it. So
//! no bit depends on who has computed what.

use std::ops::Range;
use std::time::Instant;

use super::Workers;

/// Values of a bucket, over all micro-batches that a worker sends of it: 16 MiB.
const BUCKET: usize = 4 << 20;

/// Of one micro-batch: the values of each parameter that has a gradient.
pub(crate) type Gradients = Vec<Option<Vec<f32>>>;

/// A part of a parameter within a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    parameter: usize,
    /// Of its values.
    values: Range<usize>,
    /// Where they begin in the bucket.
    at: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Bucket {
    segments: Vec<Segment>,
    len: usize,
}

/// Micro-batches that follow one another, and who has computed them.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// The worker of each. One with several has them in their order.
    pub(crate) workers: Vec<usize>,
    /// Which parameters have a gradient in each.
    pub(crate) present: Vec<Vec<bool>>,
}

/// A sum that is under way.
#[derive(Debug)]
pub(crate) struct Exchange {
    workers: Workers,
    /// Of the parameters.
    lengths: Vec<usize>,
    buckets: Vec<Bucket>,
    /// This worker's part of each bucket, once there is something in it.
    sums: Vec<Vec<f32>>,
    /// The parameters that have had a gradient.
    seen: Vec<bool>,
}

impl Exchange {
    /// For parameters of so many values each; `most` is how many micro-batches a worker has in a group at most.
    pub(crate) fn new(workers: &Workers, lengths: Vec<usize>, most: usize) -> Self {
        Self::in_buckets(workers, lengths, (BUCKET / most.max(1)).max(1))
    }

    fn in_buckets(workers: &Workers, lengths: Vec<usize>, bucket: usize) -> Self {
        let buckets = buckets(&lengths, bucket);
        let (sums, seen) = (vec![Vec::new(); buckets.len()], vec![false; lengths.len()]);
        Self { workers: workers.clone(), lengths, buckets, sums, seen }
    }

    /// Adds the micro-batches of a group, of which `own` are this worker's, in their order.
    pub(crate) fn add(&mut self, group: &Group, mut own: Vec<Gradients>) {
        self.sum(group, &mut own, None);
        mark(&mut self.seen, group);
    }

    /// Adds the last group; the sums over all of them.
    pub(crate) fn finish(mut self, group: &Group, mut own: Vec<Gradients>) -> Gradients {
        let mut seen = self.seen.clone();
        mark(&mut seen, group);
        let mut whole: Gradients = vec![None; self.lengths.len()];
        let lengths = self.lengths.clone();
        let mut done = |bucket: &Bucket, values: &[f32]| {
            for Segment { parameter, values: of_parameter, at } in &bucket.segments {
                if seen[*parameter] {
                    let sum = whole[*parameter].get_or_insert_with(|| Vec::with_capacity(lengths[*parameter]));
                    sum.extend_from_slice(&values[*at..at + of_parameter.len()]);
                }
            }
        };
        self.sum(group, &mut own, Some((&seen, &mut done)));
        whole
    }

    /// Bucket by bucket: to each worker what it owns of this one's gradients, which are given up on the way, and added there.
    /// `last` is given the sums of each bucket that has any.
    fn sum(&mut self, group: &Group, own: &mut [Gradients], mut last: Option<Last<'_>>) {
        let workers = self.workers.clone();
        let Some(joined) = &workers.joined else { unreachable!("one worker has nothing to exchange") };
        let (transport, size, rank) = (&joined.transport, workers.size(), workers.rank());
        let slots = group.slots(size);
        let deep = slots.iter().map(|(_, slot)| slot + 1).max().unwrap_or(1);
        let started = Instant::now();
        let (mut sent, mut received, mut gathered) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        for (bucket, sums) in self.buckets.iter().zip(&mut self.sums) {
            let part = bucket.len.div_ceil(size);
            // Of each bucket anew: all of them may take long, and nothing hangs.
            joined.set_busy(Some("the gradients of a step"));
            if bucket.has_any(|parameter| group.present.iter().any(|present| present[parameter])) {
                refill(&mut sent, size * deep * part);
                refill(&mut received, size * deep * part);
                bucket.lay_out(own, (part, deep), &mut sent);
                transport.all_to_all(&sent, &mut received);
                bytes += (size - 1) * deep * part;
                sums.resize(part, 0.0);
                bucket.add_up((rank, part, deep), &self.seen, (group, &slots), &received, sums);
            }
            if let Some((seen, done)) = &mut last
                && bucket.has_any(|parameter| seen[parameter])
            {
                refill(&mut gathered, size * part);
                sums.resize(part, 0.0);
                transport.all_gather(sums, &mut gathered);
                bytes += (size - 1) * part;
                done(bucket, &gathered[..bucket.len]);
            }
            bucket.give_up(own, &self.lengths);
        }
        joined.set_busy(None);
        let mut traffic = joined.traffic();
        traffic.seconds += started.elapsed().as_secs_f64();
        traffic.bytes += (bytes * size_of::<f32>()) as u64;
    }
}

/// Which parameters have a sum in the end, and who is given those of a bucket.
type Last<'a> = (&'a [bool], &'a mut dyn FnMut(&Bucket, &[f32]));

/// Zeros, in the memory that is there.
fn refill(values: &mut Vec<f32>, len: usize) {
    values.clear();
    values.resize(len, 0.0);
}

fn mark(seen: &mut [bool], group: &Group) {
    for present in &group.present {
        seen.iter_mut().zip(present).for_each(|(seen, present)| *seen |= present);
    }
}

impl Group {
    /// Of each micro-batch its worker, and how many that one has computed before it.
    fn slots(&self, size: usize) -> Vec<(usize, usize)> {
        let mut counts = vec![0; size];
        let slot = |worker: &usize| {
            counts[*worker] += 1;
            (*worker, counts[*worker] - 1)
        };
        self.workers.iter().map(slot).collect()
    }
}

impl Bucket {
    fn has_any(&self, is_meant: impl Fn(usize) -> bool) -> bool {
        self.segments.iter().any(|segment| is_meant(segment.parameter))
    }

    /// For each worker what it owns of each micro-batch.
    fn lay_out(&self, own: &[Gradients], (part, deep): (usize, usize), sent: &mut [f32]) {
        for (slot, gradients) in own.iter().enumerate() {
            for segment in &self.segments {
                let Some(values) = &gradients[segment.parameter] else { continue };
                for Piece { owner, at, values: of_parameter } in segment.pieces(part) {
                    let begin = (owner * deep + slot) * part + at;
                    sent[begin..begin + of_parameter.len()].copy_from_slice(&values[of_parameter]);
                }
            }
        }
    }

    /// What this worker owns, of all micro-batches in their order.
    fn add_up(
        &self,
        (rank, part, deep): (usize, usize, usize),
        seen: &[bool],
        (group, slots): (&Group, &[(usize, usize)]),
        received: &[f32],
        sums: &mut [f32],
    ) {
        for segment in &self.segments {
            for Piece { at, values, .. } in segment.pieces(part).filter(|piece| piece.owner == rank) {
                let mut has_sum = seen[segment.parameter];
                let sum = &mut sums[at..at + values.len()];
                for ((worker, slot), present) in slots.iter().zip(&group.present) {
                    if !present[segment.parameter] {
                        continue;
                    }
                    let begin = (worker * deep + slot) * part + at;
                    let next = &received[begin..begin + values.len()];
                    match has_sum {
                        true => sum.iter_mut().zip(next).for_each(|(sum, next)| *sum += next),
                        // Not 0 + x, which would turn a negative zero into a positive one.
                        false => sum.copy_from_slice(next),
                    }
                    has_sum = true;
                }
            }
        }
    }

    /// Gradients that have been sent to their last value need no memory any more.
    fn give_up(&self, own: &mut [Gradients], lengths: &[usize]) {
        let sent = self.segments.iter().filter(|segment| segment.values.end == lengths[segment.parameter]);
        for segment in sent {
            own.iter_mut().for_each(|gradients| gradients[segment.parameter] = None);
        }
    }
}

/// What one worker owns of a segment.
struct Piece {
    owner: usize,
    /// In the owner's part of the bucket.
    at: usize,
    /// Of the parameter.
    values: Range<usize>,
}

impl Segment {
    /// `part` is the number of values that each worker owns of the bucket.
    fn pieces(&self, part: usize) -> impl Iterator<Item = Piece> + '_ {
        let end = self.at + self.values.len();
        let owners = self.at / part..end.div_ceil(part);
        owners.map(move |owner| {
            let (begin, end) = (self.at.max(owner * part), end.min((owner + 1) * part));
            let first = self.values.start + begin - self.at;
            Piece { owner, at: begin - owner * part, values: first..first + end - begin }
        })
    }
}

/// Parameters of these lengths one after the other, cut into buckets of `most` values.
fn buckets(lengths: &[usize], most: usize) -> Vec<Bucket> {
    let mut buckets = vec![Bucket::default()];
    for (parameter, length) in lengths.iter().enumerate() {
        let mut start = 0;
        while start < *length {
            if buckets.last().is_none_or(|last| last.len == most) {
                buckets.push(Bucket::default());
            }
            let bucket = buckets.last_mut().expect("one was pushed");
            let taken = (length - start).min(most - bucket.len);
            bucket.segments.push(Segment { parameter, values: start..start + taken, at: bucket.len });
            bucket.len += taken;
            start += taken;
        }
    }
    buckets
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::threads::with_workers;
    use super::*;

    /// As one worker adds them.
    fn in_order(micro_batches: &[Gradients]) -> Gradients {
        let mut sums: Gradients = vec![None; micro_batches[0].len()];
        for gradients in micro_batches {
            for (sum, next) in sums.iter_mut().zip(gradients) {
                match (sum.as_mut(), next) {
                    (Some(sum), Some(next)) => sum.iter_mut().zip(next).for_each(|(sum, next)| *sum += next),
                    (None, Some(next)) => *sum = Some(next.clone()),
                    (_, None) => {}
                }
            }
        }
        sums
    }

    fn bits(gradients: &Gradients) -> Vec<Option<Vec<u32>>> {
        let of_one = |values: &Vec<f32>| values.iter().map(|value| value.to_bits()).collect();
        gradients.iter().map(|values| values.as_ref().map(of_one)).collect()
    }

    /// Micro-batches in groups of `size * most`, shared by turns that begin with another worker each.
    fn exchanged(workers: &Workers, all: &[Gradients], lengths: &[usize], most: usize, bucket: usize) -> Gradients {
        let mut exchange = Exchange::in_buckets(workers, lengths.to_vec(), bucket);
        let groups: Vec<&[Gradients]> = all.chunks(workers.size() * most).collect();
        let (last, before) = groups.split_last().unwrap();
        let group = |micro_batches: &[Gradients]| Group {
            workers: (0..micro_batches.len()).map(|n| (n * 7 + 1) % workers.size()).collect(),
            present: micro_batches.iter().map(|one| one.iter().map(Option::is_some).collect()).collect(),
        };
        let own = |micro_batches: &[Gradients]| -> Vec<Gradients> {
            let of = group(micro_batches).workers;
            let is_own = |(_, worker): &(&Gradients, usize)| *worker == workers.rank();
            micro_batches.iter().zip(of).filter(is_own).map(|(one, _)| one.clone()).collect()
        };
        before.iter().for_each(|micro_batches| exchange.add(&group(micro_batches), own(micro_batches)));
        exchange.finish(&group(last), own(last))
    }

    fn gradients() -> impl Strategy<Value = (Vec<usize>, Vec<Gradients>)> {
        prop::collection::vec(0_usize..9, 1..6).prop_flat_map(|lengths| {
            let of_one = |length: usize| prop::option::weighted(0.7, prop::collection::vec(-1e3_f32..1e3, length));
            let micro_batch: Vec<_> = lengths.iter().map(|length| of_one(*length)).collect();
            (Just(lengths), prop::collection::vec(micro_batch, 1..9))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn sums_are_those_of_one_worker_to_the_last_bit(
            (lengths, micro_batches) in gradients(), size in 2_usize..5, most in 1_usize..4, bucket in 1_usize..12,
        ) {
            let expected = bits(&in_order(&micro_batches));
            let found = with_workers(size, |workers| exchanged(workers, &micro_batches, &lengths, most, bucket));
            for found in &found {
                for ((found, expected), length) in bits(found).iter().zip(&expected).zip(&lengths) {
                    // A parameter without values has none, whether or not it has a gradient.
                    prop_assert!(found == expected || *length == 0, "{found:?} {expected:?}");
                }
            }
        }
    }

    #[test]
    fn a_negative_zero_stays_one_and_an_absent_gradient_is_none() {
        let micro_batches: Vec<Gradients> = vec![vec![None, None], vec![Some(vec![-0.0, 1.0]), None]];
        let found = with_workers(2, |workers| exchanged(workers, &micro_batches, &[2, 3], 1, 4));
        assert!(found.iter().all(|found| bits(found) == bits(&vec![Some(vec![-0.0, 1.0]), None])));
    }

    #[test]
    fn a_bucket_has_parts_of_parameters_and_is_bounded() {
        let found = buckets(&[3, 0, 6], 4);
        let shown: Vec<Vec<(usize, Range<usize>, usize)>> = found
            .iter()
            .map(|bucket| bucket.segments.iter().map(|it| (it.parameter, it.values.clone(), it.at)).collect())
            .collect();
        assert_eq!(shown, [vec![(0, 0..3, 0), (2, 0..1, 3)], vec![(2, 1..5, 0)], vec![(2, 5..6, 0)]]);
    }
}
