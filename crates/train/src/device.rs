//! `--device` becomes a burn `Device`. Besides the kernels this is the only place that looks at backend features.

use burn::tensor::{Device, Tensor};
use kernels::{Simd, SimdError};

/// Names of backends in the order in which `auto` tries them, and whether this binary has them. `flex` is always there.
const BACKENDS: [(&str, bool); 9] = [
    ("cuda", cfg!(feature = "cuda")),
    ("rocm", cfg!(feature = "rocm")),
    ("metal", cfg!(feature = "metal")),
    ("vulkan", cfg!(feature = "vulkan")),
    ("wgpu", cfg!(feature = "wgpu")),
    ("tch", cfg!(feature = "tch")),
    ("ndarray", cfg!(feature = "ndarray")),
    ("flex", true),
    ("cubecl-cpu", cfg!(feature = "cpu")),
];

/// Backends whose only device is the CPU.
const ONE: [&str; 3] = ["flex", "ndarray", "cubecl-cpu"];

/// Backends whose first device is the CPU, which workers of a host share. GPUs follow it in `tch`.
const SHARED: [&str; 4] = ["flex", "ndarray", "cubecl-cpu", "tch"];

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum DeviceError {
    #[error("unknown device `{name}`")]
    Unknown {
        name: String,
        #[help]
        help: String,
    },
    #[error("this binary was built without the backend `{name}`")]
    NotBuilt {
        name: String,
        #[help]
        help: String,
    },
    #[error("`{name}`: the index of a device is a number, `{index}` is none")]
    #[diagnostic(help("write it as in `cuda:1`"))]
    Index { name: String, index: String },
    #[error("the backend `{name}` is built in but finds no device: {reason}")]
    #[diagnostic(help("`kindling devices` lists what there is; `--device cpu` runs everywhere"))]
    Absent { name: String, reason: String },
    #[error("{source}")]
    Simd {
        source: SimdError,
        #[help]
        help: String,
    },
}

/// A backend by name and the number of its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceName {
    backend: &'static str,
    index: usize,
}

impl std::fmt::Display for DeviceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.index {
            0 => f.write_str(self.backend),
            index => write!(f, "{}:{index}", self.backend),
        }
    }
}

impl DeviceName {
    /// Reads `auto`, `cpu`, or the name of a backend, with an index behind a colon. Of several workers on a host each has a number there,
    /// and its own device, unless an index is written or the CPU is shared by all; only that one is tried by `auto`.
    pub(crate) fn parse(text: &str, local_rank: Option<usize>) -> Result<Self, DeviceError> {
        let (name, index) = match text.split_once(':') {
            None => (text, 0),
            Some((name, index)) => {
                let number = index.parse();
                let error = |_| DeviceError::Index { name: text.to_string(), index: index.to_string() };
                (name, number.map_err(error)?)
            }
        };
        let name = if name == "cpu" { "flex" } else { name };
        if name == "auto" {
            return Ok(Self::first_present(local_rank));
        }
        let known = || BACKENDS.iter().map(|(name, _)| *name).chain(["auto", "cpu"]);
        if index > 0 && ONE.contains(&name) {
            let reason = "the CPU is one device".to_string();
            return Err(DeviceError::Absent { name: text.to_string(), reason });
        }
        match BACKENDS.iter().find(|(backend, _)| *backend == name) {
            Some((backend, true)) => Ok(match text.contains(':') {
                true => Self { backend, index },
                false => Self::of_worker(backend, local_rank),
            }),
            Some((backend, false)) => Err(DeviceError::NotBuilt {
                name: name.to_string(),
                help: format!(
                    "build it in with `cargo run -p train --features {}`",
                    if *backend == "cubecl-cpu" { "cpu" } else { backend }
                ),
            }),
            None => Err(DeviceError::Unknown { name: name.to_string(), help: suggest::suggestion(name, known()) }),
        }
    }

    /// The device of a backend that a worker computes on.
    fn of_worker(backend: &'static str, local_rank: Option<usize>) -> Self {
        let index = if SHARED.contains(&backend) { 0 } else { local_rank.unwrap_or(0) };
        Self { backend, index }
    }

    pub(crate) fn backend(&self) -> &'static str {
        self.backend
    }

    /// Whether it is the CPU backend that is always there.
    pub(crate) fn is_flex(&self) -> bool {
        self.backend == "flex"
    }

    fn first_present(local_rank: Option<usize>) -> Self {
        let built = BACKENDS.iter().filter(|(_, built)| *built).map(|(backend, _)| *backend);
        Self::first(built, local_rank, |name| {
            name.open().is_ok_and(|device| !Found::at(name.backend, &device).software)
        })
    }

    /// Of these backends, of which the CPU's is always there.
    fn first(
        mut backends: impl Iterator<Item = &'static str>,
        local_rank: Option<usize>,
        is_there: impl Fn(&Self) -> bool,
    ) -> Self {
        let found = backends.find_map(|backend| {
            Some(Self::of_worker(backend, local_rank)).filter(|name| name.is_flex() || is_there(name))
        });
        found.unwrap_or(Self { backend: "flex", index: 0 })
    }

    /// The device, after one operation on it: a missing driver shows at the first use, as a panic in burn.
    pub(crate) fn open(&self) -> Result<Device, DeviceError> {
        let device = self.device();
        if self.backend == "flex" {
            return Ok(device);
        }
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let probe = std::panic::catch_unwind(|| Tensor::<1>::ones([1], &device).into_scalar::<f32>());
        std::panic::set_hook(hook);
        match probe {
            Ok(_) => Ok(device),
            Err(panic) => {
                let reason = panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
                    .unwrap_or_else(|| "it failed at the first operation".to_string());
                Err(DeviceError::Absent { name: self.to_string(), reason })
            }
        }
    }

    #[cfg_attr(
        any(feature = "ndarray", feature = "tch"),
        expect(deprecated, reason = "burn 0.23 drops ndarray and tch; until then they are served")
    )]
    fn device(&self) -> Device {
        match self.backend {
            #[cfg(feature = "cuda")]
            "cuda" => Device::cuda(self.index),
            #[cfg(feature = "rocm")]
            "rocm" => Device::rocm(self.index),
            #[cfg(feature = "metal")]
            "metal" => Device::metal(gpu(self.index)),
            #[cfg(feature = "vulkan")]
            "vulkan" => Device::vulkan(gpu(self.index)),
            #[cfg(feature = "wgpu")]
            "wgpu" => Device::wgpu(gpu(self.index)),
            #[cfg(feature = "tch")]
            "tch" if self.index > 0 => Device::libtorch_cuda(self.index - 1),
            #[cfg(feature = "tch")]
            "tch" => Device::libtorch(),
            #[cfg(feature = "ndarray")]
            "ndarray" => Device::ndarray(),
            #[cfg(feature = "cpu")]
            "cubecl-cpu" => Device::cpu(),
            _ => Device::flex(),
        }
    }

    /// What burn reads from `BURN_DEVICE` to choose its default device, which there is always the first of a backend: whoever computes
    /// on another one leaves that alone, and has the CPU's.
    pub(crate) fn burn_name(&self) -> &'static str {
        match (self.backend, self.index) {
            ("cubecl-cpu", _) => "cpu",
            (backend, 0) => backend,
            (_, _) => "flex",
        }
    }
}

#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "metal"))]
fn gpu(index: usize) -> burn::tensor::DeviceKind {
    match index {
        0 => burn::tensor::DeviceKind::DefaultDevice,
        index => burn::tensor::DeviceKind::DiscreteGpu(index),
    }
}

/// A device that has been opened.
#[derive(Debug)]
pub(crate) struct Found {
    /// What the driver calls it, where burn says.
    pub(crate) name: Option<String>,
    /// A program on the CPU that stands in for a GPU: right, and slower than any CPU backend.
    pub(crate) software: bool,
}

impl Found {
    #[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm", feature = "cpu"))]
    fn at(backend: &str, device: &Device) -> Self {
        let Some(identity) = device.identity() else { return Self { name: None, software: false } };
        // burn names a card behind every GPU of wgpu; a rasteriser has none.
        let software = ["metal", "vulkan", "wgpu"].contains(&backend) && identity.physical.is_none();
        Self { name: Some(identity.name), software }
    }

    #[cfg(not(any(feature = "wgpu", feature = "cuda", feature = "rocm", feature = "cpu")))]
    fn at(_: &str, _: &Device) -> Self {
        Self { name: None, software: false }
    }
}

/// The vectors that the CPU backend computes with.
pub(crate) fn simd() -> Result<Simd, DeviceError> {
    Simd::chosen().map_err(|source| {
        let there_are = Simd::available().into_iter().map(Simd::name).collect::<Vec<_>>().join(", ");
        let here = format!("this processor has: {there_are}; it takes the first of them where the variable is not set");
        let near = match &source {
            SimdError::Lacking(_) => None,
            SimdError::Unknown(name) => suggest::nearest(name, Simd::NAMES.iter().copied()),
        };
        let help = near.map_or(here.clone(), |near| format!("did you mean `{near}`? {here}"));
        DeviceError::Simd { source, help }
    })
}

/// Each backend with what became of opening its first device; `None` for those not built in.
pub(crate) fn list() -> Vec<(&'static str, Option<Result<Found, DeviceError>>)> {
    let state = |(backend, built): (&'static str, bool)| {
        let found = || DeviceName { backend, index: 0 }.open().map(|device| Found::at(backend, &device));
        (backend, built.then(found))
    };
    BACKENDS.into_iter().map(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_of_a_host_have_a_device_each_unless_they_share_the_cpu() {
        let of_third = |backend| DeviceName::of_worker(backend, Some(2)).to_string();
        assert_eq!(["cuda", "wgpu", "flex", "tch"].map(of_third), ["cuda:2", "wgpu:2", "flex", "tch"]);
        assert_eq!(DeviceName::of_worker("cuda", None).to_string(), "cuda");
        assert_eq!(DeviceName::parse("flex:0", Some(2)).unwrap().to_string(), "flex");
    }

    #[test]
    fn auto_tries_the_device_that_a_worker_computes_on_and_no_other() {
        let tried = |local_rank, present: &str| {
            let tried = std::cell::RefCell::new(Vec::new());
            let is_there = |name: &DeviceName| {
                tried.borrow_mut().push(name.to_string());
                name.to_string() == present
            };
            let found = DeviceName::first(["cuda", "wgpu", "flex"].into_iter(), local_rank, is_there).to_string();
            (found, tried.into_inner().join(" "))
        };
        let expected = |found: &str, tried: &str| (found.to_string(), tried.to_string());
        assert_eq!(tried(None, "cuda"), expected("cuda", "cuda"));
        assert_eq!(tried(Some(2), "cuda:2"), expected("cuda:2", "cuda:2"));
        assert_eq!(tried(Some(2), "wgpu:2"), expected("wgpu:2", "cuda:2 wgpu:2"));
        assert_eq!(tried(Some(2), "cuda"), expected("flex", "cuda:2 wgpu:2"));
    }

    #[test]
    fn the_first_device_is_opened_by_the_worker_that_computes_on_it_alone() {
        let default = |backend, local_rank| DeviceName::of_worker(backend, local_rank).burn_name();
        assert_eq!([None, Some(0), Some(1)].map(|rank| default("cuda", rank)), ["cuda", "cuda", "flex"]);
        assert_eq!([Some(0), Some(1)].map(|rank| default("cubecl-cpu", rank)), ["cpu", "cpu"]);
    }

    #[test]
    fn cpu_is_flex_and_unknown_names_get_a_suggestion() {
        assert_eq!(DeviceName::parse("cpu", None).unwrap().to_string(), "flex");
        let error = DeviceName::parse("cuad", None).unwrap_err();
        assert_eq!(error.to_string(), "unknown device `cuad`");
        assert_eq!(miette::Diagnostic::help(&error).unwrap().to_string(), "did you mean `cuda`?");
        assert_eq!(
            DeviceName::parse("flex:one", None).unwrap_err().to_string(),
            "`flex:one`: the index of a device is a number, `one` is none"
        );
    }
}
