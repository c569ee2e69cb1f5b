//! The first step of a plan: the device, the checkpoint with its tokenizer, and the adapter that the run goes on from.

use burn::tensor::Device;
use data::Tokenizer;
use inference::{Adapter, WrittenFiles, default_max_length};
use kernels::{Precision, Simd};
use miette::Diagnostic;
use model::Pretrained;
use model::hub::Wanted;

use super::Error;
use crate::config::{Compute, Config, Loaded, Weights};
use crate::device::{DeviceError, DeviceName};
use crate::hub::{Located, locate};
use crate::output::Output;

/// What a run starts from.
pub(super) struct Start {
    pub(super) device_name: DeviceName,
    pub(super) device: Device,
    /// Of products with frozen weights.
    pub(super) precision: Precision,
    pub(super) base: Located,
    pub(super) pretrained: Pretrained,
    pub(super) tokenizer: Tokenizer,
    pub(super) max_length: usize,
    /// `adapter.init_from`.
    pub(super) adapter: Option<Adapter>,
}

impl Start {
    /// `device` is that of the command line. Reads headers, and weights only to compare a model that kindling trained with its
    /// hashes; may download the checkpoint. Of several workers on a host each has a number there, and its own device.
    pub(super) fn open(
        loaded: &Loaded,
        config: &Config,
        device: Option<&str>,
        (local_rank, output): (Option<usize>, &Output),
    ) -> Result<Self, Error> {
        let (device_name, device) = open_device(loaded, config, device, local_rank)?;
        let precision = precision(loaded, &device_name)?;
        let base = locate(&config.model.path, Wanted::Model, output).map_err(|error| Error::Hub {
            place: loaded.place("model.path"),
            help: error.help().map(|help| help.to_string()),
            error: Box::new(error),
        })?;
        let task = config.model.task;
        let mut pretrained = match config.model.weights {
            Weights::Pretrained => {
                let pretrained = Pretrained::open(&base.directory, task.head)?;
                // A base that an earlier run trained.
                WrittenFiles::check_model(&base.directory)?.iter().for_each(|note| output.warn(note));
                pretrained
            }
            Weights::Random => Pretrained::untrained(&base.directory, task.head)?,
        };
        if let Some(problem) = task.problem {
            pretrained.check_problem(problem)?;
        }
        let tokenizer = Tokenizer::from_dir(&base.directory)?;
        let max_length = max_length(loaded, &pretrained, &tokenizer)?;
        let adapter = match &config.adapter.init_from {
            Some(path) => {
                let frozen = config.model.dtype.frozen(config.model.quantize_output);
                Some(Adapter::read(path, Some(&pretrained))?.as_trained(&pretrained, frozen))
            }
            None => None,
        };
        if let Some(adapter) = &adapter {
            pretrained.adopt_vocabulary(&adapter.tensors);
        }
        if let Some(found) = adapter.as_ref().and_then(|adapter| adapter.other_task(task)) {
            return Err(Error::OtherTask { place: loaded.place("adapter.init_from"), found, expected: task });
        }
        Ok(Self { device_name, device, precision, base, pretrained, tokenizer, max_length, adapter })
    }
}

fn open_device(
    loaded: &Loaded,
    config: &Config,
    typed: Option<&str>,
    local_rank: Option<usize>,
) -> Result<(DeviceName, Device), Error> {
    let failed = |error: DeviceError| Error::Device {
        place: typed.map_or_else(|| loaded.place("train.device"), |typed| format!("`--device {typed}`")),
        help: error.help().map(|help| help.to_string()),
        error,
    };
    let name = DeviceName::parse(&config.train.device, local_rank).map_err(failed)?;
    let device = name.open().map_err(failed)?;
    Ok((name, device))
}

/// The default is the smallest of 512, the model's positions and the tokenizer's limit.
fn max_length(loaded: &Loaded, pretrained: &Pretrained, tokenizer: &Tokenizer) -> Result<usize, Error> {
    let positions = pretrained.max_positions()?;
    match loaded.config.data.max_length {
        Some(value) if value > positions => {
            Err(Error::MaxLength { place: loaded.place("data.max_length"), value, positions })
        }
        Some(value) => Ok(value),
        None => Ok(default_max_length(positions, tokenizer)),
    }
}

/// Products in bf16 are the CPU backend's, where the processor has them, and with frozen weights. Asked for elsewhere they are an
/// error, not f32 in silence.
fn precision(loaded: &Loaded, device: &DeviceName) -> Result<Precision, Error> {
    if loaded.config.train.compute != Compute::Bf16 {
        return Ok(Precision::F32);
    }
    let reason = if !device.is_flex() {
        format!("products in bf16 are supported on the device `cpu`, not yet on `{device}`")
    } else if !Precision::has_bf16() {
        match Simd::available().contains(&Simd::Avx512Bf16) {
            true => format!("`{}` chose vectors without products in bf16", Simd::VARIABLE),
            false => "this processor has no products in bf16 (AVX-512 BF16)".to_string(),
        }
    } else if loaded.config.adapter.method.trains_all() {
        let method = loaded.config.adapter.method.name();
        format!("products in bf16 are those with frozen weights, and `adapter.method = \"{method}\"` has none")
    } else {
        return Ok(Precision::Bf16);
    };
    Err(Error::Compute { place: loaded.place("train.compute"), reason })
}
