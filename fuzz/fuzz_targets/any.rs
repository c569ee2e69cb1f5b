//! Any target, named by `KINDLING_FUZZ_TARGET`, with the mutator that knows its format:
//! `KINDLING_FUZZ_TARGET=safetensors cargo +nightly fuzz run any corpus/safetensors -- -rss_limit_mb=2048 -timeout=1`.

#![no_main]

use std::sync::LazyLock;

use fuzz_targets::{Target, all, mutated_once, named};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("KINDLING_FUZZ_TARGET").unwrap_or_default();
    named(&name).unwrap_or_else(|| {
        let names: Vec<&str> = all().iter().map(|target| target.name).collect();
        panic!("KINDLING_FUZZ_TARGET names one of {}", names.join(", "))
    })
});

fuzz_target!(|input: &[u8]| (TARGET.run)(input));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    // libFuzzer's own changes are made for what coverage tells.
    if seed % 4 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut made = mutated_once(TARGET.form, data[..size].to_vec(), u64::from(seed));
    made.truncate(max_size);
    data[..made.len()].copy_from_slice(&made);
    made.len()
});
