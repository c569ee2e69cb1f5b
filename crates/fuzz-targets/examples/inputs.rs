//! Writes seeds and inputs of a target into a directory, as a corpus for cargo-fuzz or to look at one:
//! `cargo run -p fuzz-targets --example inputs -- TARGET DIRECTORY [FROM [COUNT]]`.

use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(name), Some(directory)) = (arguments.first(), arguments.get(1)) else {
        return Err("usage: inputs TARGET DIRECTORY [FROM [COUNT]]".into());
    };
    let number = |at: usize| arguments.get(at).map(|text| text.parse::<u64>()).transpose();
    let target = fuzz_targets::named(name).ok_or("there is no such target")?;
    let seeds = (target.seeds)();
    let write = |name: String, input: &[u8]| fs::write(Path::new(directory).join(name), input);
    fs::create_dir_all(directory)?;
    match number(2)? {
        None => seeds.iter().enumerate().try_for_each(|(number, seed)| write(format!("seed-{number}"), seed))?,
        Some(from) => (from..from + number(3)?.unwrap_or(1))
            .try_for_each(|number| write(number.to_string(), &target.input(&seeds, number)))?,
    }
    Ok(())
}
