//! `kindling devices`: the backends of this binary, and what they find.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::Failure;
use crate::device::{self, DeviceError, Found};
use crate::output::Output;

/// List the backends this binary was built with and the devices they find
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  kindling devices")]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let devices = device::list();
    if output.json() {
        let list: Vec<Value> = devices.iter().map(|(backend, state)| entry(backend, state.as_ref())).collect();
        output.result(&serde_json::to_string(&list)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (backend, state) in devices {
        output.result(&format!("{backend:12}{}", said(backend, state)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn entry(backend: &str, state: Option<&Result<Found, DeviceError>>) -> Value {
    let found = state.and_then(|state| state.as_ref().ok());
    json!({
        "backend": backend, "built": state.is_some(), "found": found.is_some(),
        "name": found.and_then(|found| found.name.as_ref()), "software": found.is_some_and(|found| found.software),
    })
}

fn said(backend: &str, state: Option<Result<Found, DeviceError>>) -> String {
    match state {
        Some(Ok(_)) if backend == "flex" => "built in, found (the CPU)".to_string(),
        Some(Ok(Found { name, software })) => {
            let name = name.map_or(String::new(), |name| format!(" ({name})"));
            let software = if software { ": software on the CPU, no GPU; `auto` passes it over" } else { "" };
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
        assert_eq!(said("wgpu", found(false)), "built in, found (llvmpipe)");
        let software = "built in, found (llvmpipe): software on the CPU, no GPU; `auto` passes it over";
        assert_eq!(said("wgpu", found(true)), software);
        let expected = json!({ "backend": "wgpu", "built": true, "found": true, "name": "llvmpipe", "software": true });
        assert_eq!(entry("wgpu", found(true).as_ref()), expected);
        let expected = json!({ "backend": "tch", "built": false, "found": false, "name": null, "software": false });
        assert_eq!(entry("tch", None), expected);
    }
}
