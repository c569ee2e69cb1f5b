//! A stretch of a run done again, in another directory, with nothing but its steps: what `kindling verify` compares.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::train::Interrupter;
use inference::Sidecar;

use super::checkpoint::{RunState, read_state, starts};
use super::directory::{Directory, recorded_checkpoints};
use super::{Error, Identity, Journal, Options, Session, load, save, train};
use crate::output::Output;
use crate::prepare::RunPlan;
use crate::workers::Workers;

/// A run that can be verified, as it lies there.
#[derive(Debug)]
pub(crate) struct Recorded {
    place: PathBuf,
    /// Of the newest checkpoint that is whole.
    state: Option<RunState>,
    /// Of those that are whole, ascending.
    checkpoints: Vec<usize>,
    /// The step of the newest one, whole or not; 0 where there is none.
    pub(crate) newest: usize,
    /// Those that are not whole, with what is wrong.
    pub(crate) damaged: Vec<(PathBuf, String)>,
}

/// The steps that are done again: those after `from`, 0 for the beginning, up to and with `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) from: usize,
    pub(crate) until: usize,
}

impl Recorded {
    /// Looks at the run in `place`, and leaves it as it is.
    pub(crate) fn open(place: &Path) -> Result<Self, Error> {
        let (mut checkpoints, mut damaged, mut state) = (Vec::new(), Vec::new(), None);
        let steps = recorded_checkpoints(place)?;
        let newest = steps.last().copied().unwrap_or_default();
        for step in steps {
            let path = checkpoint(place, step);
            match read_state(&path) {
                Ok(found) => {
                    checkpoints.push(step);
                    state = Some(found);
                }
                Err(reason) => damaged.push((path, reason)),
            }
        }
        Ok(Self { place: place.into(), state, checkpoints, newest, damaged })
    }

    /// The step of the newest checkpoint.
    pub(crate) fn last_step(&self) -> Option<usize> {
        self.state.as_ref().map(|state| state.step)
    }

    /// What the run was a function of, beside its settings.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.state.as_ref().map(|state| &state.identity)
    }

    /// The step whose result is kept: its own record says it, or else that of the newest checkpoint.
    pub(crate) fn best_step(&self, sidecar: Option<&Sidecar>) -> Option<usize> {
        let recorded = sidecar.and_then(|sidecar| Some(sidecar.trained.as_ref()?.step));
        recorded.or_else(|| Some(self.state.as_ref()?.best.as_ref()?.step))
    }

    /// So many steps, from the newest checkpoint that has as many after it; rather from one after which the result is of these
    /// steps. `None` for `steps`: all of them, from the beginning.
    pub(crate) fn stretch(&self, steps: Option<usize>, best: Option<usize>) -> Option<Stretch> {
        let last = self.last_step()?;
        let Some(steps) = steps else { return Some(Stretch { from: 0, until: last }) };
        let possible = || [0].iter().chain(&self.checkpoints).copied().filter(|from| from + steps <= last);
        let covers = |from: &usize| best.is_some_and(|best| *from < best && best <= from + steps);
        let from = possible().filter(covers).max().or_else(|| possible().max())?;
        Some(Stretch { from, until: from + steps })
    }
}

fn checkpoint(place: &Path, step: usize) -> PathBuf {
    place.join(format!("checkpoints/step-{step}"))
}

/// Does the stretch again, by a plan whose output directory is another one. `false`: it was interrupted.
pub(crate) fn replay(
    recorded: &Recorded,
    plan: &RunPlan,
    stretch: Stretch,
    interrupter: Interrupter,
    output: &Output,
) -> Result<bool, Error> {
    let directory = Directory::open(&plan.output_dir)?;
    directory.begin()?;
    let identity = plan.identity();
    let (state, starts) = match stretch.from {
        0 => (RunState::new(identity.clone()), HashMap::new()),
        step => {
            let from = checkpoint(&recorded.place, step);
            let state = read_state(&from).map_err(|reason| Error::Damaged { path: from.clone(), reason })?;
            copy(&from, &directory.checkpoint(step))?;
            (state.clone(), starts(&from, &state)?)
        }
    };
    let device = plan.device.clone().autodiff().gradient_checkpointing();
    let (model, loaded) = match load(plan, starts, &device, Some(&interrupter)) {
        Err(error) if error.is_interruption() => return Ok(false),
        loaded => loaded?,
    };
    let from = (stretch.from > 0).then(|| directory.checkpoint(stretch.from));
    let journal = Journal::open(plan, directory, None)?;
    let save = save::Saver::new(plan, &identity).with_origins(plan);
    let workers = (&Workers::one(), output.silenced());
    let session = Session::new(plan, (state, from), save, loaded.plan, Some(journal), workers);
    let options = Options { dashboard: false, watch: None, interrupter, until: Some(stretch.until) };
    let session = train(session, model, (plan, options)).map_err(|error| super::blame(plan, error))?;
    Ok(!session.interrupted)
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let write = |source| Error::Write { path: to.into(), source };
    std::fs::create_dir_all(to).map_err(write)?;
    for entry in std::fs::read_dir(from).map_err(write)? {
        let entry = entry.map_err(write)?;
        std::fs::copy(entry.path(), to.join(entry.file_name())).map_err(write)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_begins_at_the_newest_checkpoint_that_has_as_many_steps_after_it() {
        let identity = Identity { base: String::new(), data: String::new() };
        let state = Some(RunState { step: 24, ..RunState::new(identity) });
        let (checkpoints, damaged) = (vec![16, 20, 24], Vec::new());
        let run = Recorded { place: PathBuf::new(), state, checkpoints, newest: 24, damaged };
        let stretch = |steps, best| run.stretch(steps, best).map(|stretch| (stretch.from, stretch.until));
        assert_eq!(stretch(None, Some(15)), Some((0, 24)));
        assert_eq!(stretch(Some(4), Some(15)), Some((20, 24)));
        assert_eq!(stretch(Some(3), Some(18)), Some((16, 19)));
        assert_eq!(stretch(Some(15), Some(15)), Some((0, 15)));
        assert_eq!(stretch(Some(24), None), Some((0, 24)));
        assert_eq!(stretch(Some(25), None), None);
    }
}
