//! `kindling devices`: the backends of this binary, and what they find.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Common, Failure};
use crate::device;
use crate::output::Output;

/// List the backends this binary was built with and the devices they find
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  kindling devices")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(_: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let devices = device::list();
    if output.json() {
        let entry = |(name, state): &(&str, Option<Result<(), device::DeviceError>>)| json!({ "backend": name, "built": state.is_some(), "found": matches!(state, Some(Ok(()))) });
        let list: Vec<_> = devices.iter().map(entry).collect();
        output.result(&serde_json::to_string(&list)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, state) in devices {
        let said = match state {
            Some(Ok(())) if name == "flex" => "built in, found (the CPU)".to_string(),
            Some(Ok(())) => "built in, found".to_string(),
            Some(Err(_)) => "built in, no device found".to_string(),
            None => "not built in".to_string(),
        };
        output.result(&format!("{name:12}{said}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
