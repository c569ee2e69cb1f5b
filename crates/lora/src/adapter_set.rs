//! The adapters of one trained adapter outside of any model, to be used beside a base that stays as it is.

use std::collections::HashMap;

use kernels::hash_text;

use crate::{Adapter, EmbeddingAdapter, Parameter, Part, Plan, ResidualAdapter};

/// Adapters by the modules that they belong to. Passes go through them by their [`Routes`](crate::Routes); the model never changes,
/// so that it serves any number of them, which come and go while it does.
#[derive(Debug, Default)]
pub struct AdapterSet {
    linear: HashMap<u64, Adapter>,
    embeddings: HashMap<u64, EmbeddingAdapter>,
    residual: HashMap<u64, ResidualAdapter>,
    elements: usize,
}

/// What a base cannot be shared with.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SharedBaseError {
    #[error("the adapter has `{tensor}` of its own in place of its base's, which other adapters read too")]
    #[diagnostic(help("merge it into its base (`kindling merge`) and use the merged model by itself"))]
    Replaced { tensor: String },
    #[error("the adapter starts with a part of its base's weights, and leaves the rest in their place")]
    #[diagnostic(help(
        "save it as a plain LoRA on the untouched base, as kindling does, and PEFT with `path_initial_model_for_weight_conversion`"
    ))]
    ChangedBase,
    #[error(
        "the adapter was trained on a quantised base without the part that it started with, not on the base itself"
    )]
    #[diagnostic(help("use it by itself, or beside its base in a float type"))]
    QuantisedResidual,
}

impl AdapterSet {
    /// # Errors
    /// A method that leaves other weights in place of the base's.
    pub fn check(plan: &Plan) -> Result<(), SharedBaseError> {
        match plan.method().changes_base() {
            true if plan.starts().is_empty() => Err(SharedBaseError::ChangedBase),
            true => Err(SharedBaseError::QuantisedResidual),
            false => Ok(()),
        }
    }

    /// What a plan has [collected](Plan::collecting). `is_own` says which trained tensors are of modules that this adapter alone
    /// uses, as its head.
    ///
    /// # Errors
    /// Other tensors of the base that it trains or brings along: biases, norms, embeddings.
    pub fn of(plan: &mut Plan, is_own: impl Fn(&Parameter) -> bool) -> Result<Self, SharedBaseError> {
        let is_replaced = |parameter: &&Parameter| parameter.part != Part::Adapter && !is_own(parameter);
        let replaced = plan.parameters().iter().find(is_replaced).map(|parameter| &parameter.name);
        if let Some(tensor) = replaced.or_else(|| Some(&plan.replacements().first()?.name)) {
            return Err(SharedBaseError::Replaced { tensor: tensor.replace(".base_layer.", ".") });
        }
        let elements = plan.trainable_elements();
        Ok(Self { elements, ..plan.take_collected() })
    }

    /// Trained values, those of a head of its own among them.
    pub fn elements(&self) -> usize {
        self.elements
    }

    pub(crate) fn linear(&self, site: u64) -> Option<&Adapter> {
        self.linear.get(&site)
    }

    pub(crate) fn embedding(&self, site: u64) -> Option<&EmbeddingAdapter> {
        self.embeddings.get(&site)
    }

    pub(crate) fn residual(&self, site: u64) -> Option<&ResidualAdapter> {
        self.residual.get(&site)
    }

    pub(crate) fn add_linear(&mut self, path: &str, adapter: &Adapter) {
        self.linear.insert(hash_text(path), adapter.clone());
    }

    pub(crate) fn add_embedding(&mut self, path: &str, adapter: &EmbeddingAdapter) {
        self.embeddings.insert(hash_text(path), adapter.clone());
    }

    pub(crate) fn add_residual(&mut self, path: &str, adapter: &ResidualAdapter) {
        self.residual.insert(hash_text(path), adapter.clone());
    }
}
