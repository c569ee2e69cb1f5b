//! Whether all workers have the same weights.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use sha2::{Digest, Sha256};

use super::{Error, Session};
use tasks::TrainableModel;

/// Refuses to go on with weights that differ between workers, to the last bit.
pub(super) fn compare(session: &Session, model: &TrainableModel) -> Result<(), Error> {
    let workers = &session.workers;
    if !workers.are_several() {
        return Ok(());
    }
    let all = workers.gather("a hash of the weights", &hash(model))?;
    match all.iter().position(|of_other| *of_other != all[0]) {
        Some(other) => Err(Error::Diverged { step: session.state.step, worker: workers.name(other) }),
        None => Ok(()),
    }
}

/// SHA-256 of the trained parameters, in the order of the model.
fn hash(model: &TrainableModel) -> Vec<u8> {
    struct Hash(Sha256);
    impl ModuleVisitor for Hash {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.update(param.val().into_data().as_bytes());
        }
    }
    let mut hash = Hash(Sha256::new());
    model.visit(&mut hash);
    hash.0.finalize().to_vec()
}
