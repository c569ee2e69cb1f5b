//! The device that the tests of numbers compute on: `KINDLING_TEST_DEVICE`, in the words of `--device`; the CPU backend
//! if it is not set. The backend must be built in: `KINDLING_TEST_DEVICE=wgpu cargo test -p train --features wgpu parity`.

use std::sync::OnceLock;

use burn::tensor::Device;

#[path = "../crates/train/src/device.rs"]
#[allow(dead_code, reason = "the binary uses the rest")]
mod names;

const VARIABLE: &str = "KINDLING_TEST_DEVICE";

/// The variable's value, if it has one: what `--device` is given.
pub(crate) fn name() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|name| !name.is_empty())
}

pub(crate) fn device() -> Device {
    // Opened once: to look whether a device is there, `open` changes the process's panic hook.
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let open = || match opened(name().as_deref().unwrap_or("flex")) {
        Ok(device) => device,
        Err(message) => panic!("{VARIABLE}: {message}"),
    };
    DEVICE.get_or_init(open).clone()
}

fn opened(name: &str) -> Result<Device, String> {
    let device = names::DeviceName::parse(name, None).and_then(|name| name.open());
    device.map_err(|error| match miette::Diagnostic::help(&error) {
        Some(help) => format!("{error}; {help}"),
        None => error.to_string(),
    })
}

#[test]
fn a_device_that_is_unknown_or_not_built_in_is_refused_by_name() {
    assert_eq!(opened("wgup").unwrap_err(), "unknown device `wgup`; did you mean `wgpu`?");
    if !cfg!(feature = "rocm") {
        assert_eq!(
            opened("rocm").unwrap_err(),
            "this binary was built without the backend `rocm`; build it in with `cargo run -p train --features rocm`"
        );
    }
}
