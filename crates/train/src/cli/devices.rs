//! `kindling devices`: the backends of this binary, and what they find.

use std::process::ExitCode;

use clap::Args;
use kernels::Simd;
use serde_json::{Value, json};

use super::Failure;
use crate::device::{self, DeviceError, Found};
use crate::output::Output;

/// List the backends this binary was built with and the devices they find
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kindling devices\n  KINDLING_SIMD=avx2 kindling devices\n\nThe environment variable KINDLING_SIMD chooses the vectors that the CPU computes with:\navx512bf16, avx512, avx2, neon or portable, of those that the processor has; by default the first."
)]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let (devices, simd) = (device::list(), device::simd()?);
    if output.json() {
        let list: Vec<Value> = devices.iter().map(|(backend, state)| entry(backend, state.as_ref(), simd)).collect();
        output.result(&serde_json::to_string(&list)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (backend, state) in devices {
        output.result(&format!("{backend:12}{}", said(backend, state, simd)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn entry(backend: &str, state: Option<&Result<Found, DeviceError>>, simd: Simd) -> Value {
    let found = state.and_then(|state| state.as_ref().ok());
    let mut entry = json!({
        "backend": backend, "built": state.is_some(), "found": found.is_some(),
        "name": found.and_then(|found| found.name.as_ref()), "software": found.is_some_and(|found| found.software),
    });
    if backend == "flex" {
        entry["simd"] = simd.name().into();
        entry["simd_available"] = Simd::available().into_iter().map(Simd::name).collect();
    }
    entry
}

fn said(backend: &str, state: Option<Result<Found, DeviceError>>, simd: Simd) -> String {
    match state {
        Some(Ok(_)) if backend == "flex" => {
            let others = Simd::available().into_iter().filter(|other| *other != simd).map(Simd::name);
            let others: Vec<&str> = others.collect();
            let others = if others.is_empty() { String::new() } else { format!("; also has {}", others.join(", ")) };
            format!("built in, found (the CPU, with {simd}{others})")
        }
        Some(Ok(Found { name, software })) => {
            let name = name.map_or(String::new(), |name| format!(" ({name})"));
            let software = if software { ": software on the CPU, no GPU; `auto` skips it" } else { "" };
            format!("built in, found{name}{software}")
        }
        Some(Err(_)) => "built in, no device found".to_string(),
        None => "not built in".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_software_gpu_is_listed_as_what_it_is() {
        let found = |software| Some(Ok(Found { name: Some("llvmpipe".to_string()), software }));
        assert_eq!(said("wgpu", found(false), Simd::Portable), "built in, found (llvmpipe)");
        let software = "built in, found (llvmpipe): software on the CPU, no GPU; `auto` skips it";
        assert_eq!(said("wgpu", found(true), Simd::Portable), software);
        let expected = json!({ "backend": "wgpu", "built": true, "found": true, "name": "llvmpipe", "software": true });
        assert_eq!(entry("wgpu", found(true).as_ref(), Simd::Portable), expected);
        let expected = json!({ "backend": "tch", "built": false, "found": false, "name": null, "software": false });
        assert_eq!(entry("tch", None, Simd::Portable), expected);
    }
}
