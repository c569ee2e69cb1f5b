//! From a configuration to the plan of a run: everything that can be wrong is found here, before anything is trained or
//! written. What leaves this room is complete; no code after it asks what a setting meant.

mod error;
mod examples;
mod method;
mod same_files;
mod schedule;
mod splits;
mod start;
mod training_data;
mod validation;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use data::{Dataset, Example, Finding, Sampler, Tokenizer};
use kernels::{Precision, Quantisation};
use lora::Method;
use model::{Frozen, Pretrained, Values};

use crate::config::{self, Loaded};
use crate::device::DeviceName;
use crate::hub::Located;
use crate::output::Output;
use crate::run::{Identity, Legs, Questions};
use crate::workers::Workers;
use examples::fingerprint;
use inference::{Adapter, BaseRecord, QuantisedBase, Sidecar};
use method::method;
use schedule::Schedule;
use splits::Again;
use start::Start;
use tasks::{Rows, Task};
use training_data::TrainingData;

pub(crate) use error::Error;
pub(crate) use same_files::{data_files, tokenizer_files};
pub(crate) use splits::Question;
pub(crate) use validation::validation_data;

/// A run, decided.
#[derive(Debug)]
pub(crate) struct RunPlan {
    /// Complete: what is left to its default is written out.
    pub(crate) config: config::Config,
    pub(crate) output_dir: PathBuf,
    pub(crate) device_name: DeviceName,
    pub(crate) device: Device,
    pub(crate) base: Located,
    pub(crate) pretrained: Pretrained,
    pub(crate) frozen: Frozen,
    /// Of products with frozen weights.
    pub(crate) precision: Precision,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) task: Arc<dyn Task>,
    pub(crate) method: Method,
    pub(crate) train: Arc<Dataset>,
    pub(crate) valid: Option<Arc<Dataset>>,
    /// The validation data as text.
    valid_texts: Option<Again>,
    /// What a causal language model is to answer at each evaluation.
    pub(crate) questions: Option<Arc<Questions>>,
    /// What a look at the data showed, and the memory that it took.
    pub(crate) findings: Vec<Finding>,
    pub(crate) look_bytes: usize,
    pub(crate) sampler: Arc<Sampler>,
    /// Optimiser steps in all.
    pub(crate) steps: usize,
    pub(crate) legs: Legs,
    /// The configuration file, an input that is never written to.
    pub(crate) config_file: Option<PathBuf>,
    /// The keys that it or `--set` wrote.
    pub(crate) written: BTreeSet<String>,
}

impl RunPlan {
    /// The four steps: what the run starts from, its data, what of the model it trains, and in which order.
    pub(crate) fn new(
        loaded: &Loaded,
        device: Option<&str>,
        workers: &Workers,
        output: &Output,
    ) -> Result<Self, Error> {
        let mut config = loaded.config.clone();
        if let Some(device) = device {
            config.train.device = device.to_string();
        }
        let start = Start::open(loaded, &config, device, (workers.local_rank(), output))?;
        config.model.path = start.base.pinned();
        if config.adapter.method.saves_model()
            && let Some(quantisation) = start.pretrained.quantisation()
        {
            let (place, directory) = (loaded.place("model.path"), start.base.directory.clone());
            return Err(Error::TrainedQuantised { place, directory, dtype: quantisation.name() });
        }
        let data = TrainingData::read(loaded, &config, &start, (workers, output))?;
        let trained = (&start.pretrained, data.task.outputs());
        let method = method(loaded, start.adapter.as_ref(), trained, &mut config)?;

        let output_dir = config.output_dir.clone().unwrap_or_else(|| Path::new("runs").join(&loaded.name));
        config.output_dir = Some(output_dir.clone());
        if config.train.warmup_ratio.is_none() {
            config.train.warmup_steps.get_or_insert(0);
        }
        config.data.max_length = Some(start.max_length);
        data.fill_in(&mut config);
        let Schedule { sampler, legs } = Schedule::new(loaded, &config, &data.train, start.max_length)?;
        Ok(Self {
            output_dir,
            frozen: config.model.dtype.frozen(config.model.quantize_output),
            config,
            device_name: start.device_name,
            device: start.device,
            precision: start.precision,
            base: start.base,
            pretrained: start.pretrained,
            tokenizer: start.tokenizer,
            task: data.task,
            method,
            train: Arc::new(data.train),
            valid: data.valid.map(Arc::new),
            valid_texts: data.valid_texts,
            questions: data.questions,
            findings: data.findings,
            look_bytes: data.look_bytes,
            sampler,
            steps: legs.steps(),
            legs,
            config_file: loaded.file.clone(),
            written: loaded.written.clone(),
        })
    }

    /// The rows of the validation data, in their order.
    pub(crate) fn valid_rows(&self) -> Rows {
        match (&self.valid_texts, &self.valid) {
            (Some(again), Some(valid)) => again.rows(valid, &self.tokenizer),
            _ => Rows::Texts(Vec::new()),
        }
    }

    /// The same as texts.
    pub(crate) fn valid_examples(&self) -> Vec<Example> {
        self.valid_rows().texts().into_owned()
    }

    /// What must be the same for this run to be resumed. Reads samples of every tensor, so `--dry-run` does without.
    pub(crate) fn identity(&self) -> Identity {
        Identity { base: self.pretrained.fingerprint(), data: fingerprint(&self.train, self.valid.as_deref()) }
    }

    /// The plan of what is adapted, trained and frozen; reads the adapter to start from again, for each model takes its
    /// values.
    pub(crate) fn adapter_plan(&self) -> Result<lora::Plan, Error> {
        let (values, starts) = match &self.config.adapter.init_from {
            Some(path) => {
                let adapter = Adapter::read(path, Some(&self.pretrained))?.as_trained(&self.pretrained, self.frozen);
                (Some(adapter.tensors), adapter.starts)
            }
            None => (None, HashMap::new()),
        };
        let plan = lora::Plan::new(self.method.clone(), values, self.config.seed);
        Ok(plan.map_err(model::Error::from)?.with_starts(starts))
    }

    /// Puts the model together from headers alone: an error here is found before anything is written.
    pub(crate) fn shapes(&self) -> Result<model::Loaded, Error> {
        let (plan, device) = (self.adapter_plan()?, Device::flex());
        let (_, loaded) = self.pretrained.load(plan, self.task.outputs(), self.frozen, Values::ShapesOnly, &device)?;
        Ok(loaded)
    }

    /// Tokens that go through the model in an optimiser step, on average.
    pub(crate) fn tokens_of_step(&self) -> f64 {
        let tokens: usize = self.train.iter().map(|example| example.len()).sum();
        tokens as f64 / self.sampler.steps_per_epoch().max(1) as f64
    }

    /// How often the validation data is gone through after so many steps: when due, at the end, and once more for the report.
    pub(crate) fn evaluations_after(&self, done: usize) -> usize {
        if self.valid.is_none() {
            return 0;
        }
        let every = match self.config.train.eval_every {
            0 => self.sampler.steps_per_epoch(),
            every => every,
        };
        let every = every.max(1);
        self.steps.div_ceil(every) - done / every + 1
    }

    /// How the base is quantised.
    pub(crate) fn quantisation(&self) -> Option<Quantisation> {
        match self.frozen {
            Frozen::Quantised { quantisation, .. } => Some(quantisation),
            Frozen::AsStored | Frozen::As(_) => self.pretrained.quantisation(),
        }
    }

    pub(crate) fn method_in_words(&self) -> String {
        match self.pretrained.has_weights() {
            true => self.method.describe(),
            false => "training from nothing".to_string(),
        }
    }

    pub(crate) fn sidecar(&self, identity: &Identity) -> Sidecar {
        Sidecar::new(
            &*self.task,
            self.config.data.columns.clone(),
            self.config.data.max_length.unwrap_or_default(),
            BaseRecord {
                path: self.base.name.clone(),
                revision: self.base.commit.clone(),
                fingerprint: identity.base.clone(),
                quantised: QuantisedBase::of(self.frozen, self.pretrained.quantisation())
                    .map(|quantised| QuantisedBase { residual: self.method.changes_base(), ..quantised }),
            },
        )
    }
}
