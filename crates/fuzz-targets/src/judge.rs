//! Whether reading an input was well done: no panic, no more than a second for a megabyte, and no more memory than a fixed
//! amount and some of the file's own size. An abort ends the process: the file named by [`Campaign::place`] then holds the
//! number of the input.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::{Form, Target, allocator};

/// For a megabyte, and for less.
const ALLOWED: Duration = Duration::from_secs(1);
/// Whatever the size of the file, and for each of its bytes.
const MEMORY: usize = 64 << 20;
const MEMORY_PER_BYTE: usize = 16;
/// Compressed files are judged by what they may unpack to: a page of Parquet is held as a whole, and so is a row. The mutator makes
/// up to 8 MB of a few kilobytes.
const MEMORY_UNPACKED: usize = 512 << 20;
const TIME_UNPACKED: u32 = 10;
/// A machine that others use too may be slow once.
const TRIES: usize = 3;

/// What must not happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    Panicked(String),
    Slow(Duration),
    Memory(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(message) => write!(f, "panics: {message}"),
            Self::Slow(time) => write!(f, "takes {:.1} s", time.as_secs_f64()),
            Self::Memory(bytes) => write!(f, "takes {} MB", bytes >> 20),
        }
    }
}

/// Runs a target on inputs.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'a> {
    target: &'a Target,
    /// For a megabyte, and for less.
    allowed: Duration,
}

impl<'a> Judge<'a> {
    pub fn new(target: &'a Target) -> Self {
        Self { target, allowed: ALLOWED }
    }

    /// With another time for each input: where code is not optimised, or a machine has other work, only a hang is told.
    pub fn allowing(self, allowed: Duration) -> Self {
        Self { allowed, ..self }
    }

    pub fn check(self, input: &[u8]) -> Result<(), Fault> {
        let is_compressed = matches!(self.target.form, Form::Gzip(_) | Form::Parquet);
        let (memory, times) = if is_compressed { (MEMORY_UNPACKED, TIME_UNPACKED) } else { (0, 1) };
        let allowed = self.allowed.mul_f64((input.len() as f64 / 1e6).max(1.0)) * times;
        let mut fastest = Duration::MAX;
        for _ in 0..TRIES {
            let (live, start) = (allocator::live(), Instant::now());
            allocator::reset_peak();
            catch_unwind(AssertUnwindSafe(|| (self.target.run)(input)))
                .map_err(|payload| Fault::Panicked(message(payload.as_ref())))?;
            let taken = allocator::peak().saturating_sub(live);
            if taken > MEMORY + memory + MEMORY_PER_BYTE * input.len() {
                return Err(Fault::Memory(taken));
            }
            fastest = fastest.min(start.elapsed());
            if fastest <= allowed {
                return Ok(());
            }
        }
        Err(Fault::Slow(fastest))
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a message").to_owned()
}

/// Many inputs of a target, of which it keeps what each kind of fault was first seen on.
#[derive(Debug)]
pub struct Campaign<'a> {
    judge: Judge<'a>,
    seeds: Vec<Vec<u8>>,
    faults: BTreeMap<String, (u64, Fault)>,
}

impl<'a> Campaign<'a> {
    pub fn new(target: &'a Target) -> Self {
        Self { judge: Judge::new(target), seeds: (target.seeds)(), faults: BTreeMap::new() }
    }

    /// As [`Judge::allowing`].
    pub fn allowing(self, allowed: Duration) -> Self {
        Self { judge: self.judge.allowing(allowed), ..self }
    }

    /// The seeds themselves, then the inputs of these numbers.
    pub fn run(mut self, numbers: std::ops::Range<u64>) -> Result<(), String> {
        for number in 0..self.seeds.len() {
            let seed = self.seeds[number].clone();
            if let Err(fault) = self.judge.check(&seed) {
                return Err(format!("{}: seed {number} {fault}", self.judge.target.name));
            }
        }
        let place = self.place();
        for number in numbers {
            // Costs a microsecond, and is all that is left of an abort.
            let _ = fs::write(&place, number.to_string());
            let input = self.judge.target.input(&self.seeds, number);
            if let Err(fault) = self.judge.check(&input) {
                self.note(number, &input, fault);
            }
        }
        let _ = fs::remove_file(&place);
        if self.faults.is_empty() { Ok(()) } else { Err(self.report()) }
    }

    /// What holds the number of the input that is being read.
    pub fn place(&self) -> PathBuf {
        std::env::temp_dir().join(format!("kindling-fuzz-{}", self.judge.target.name))
    }

    fn note(&mut self, number: u64, input: &[u8], fault: Fault) {
        // Numbers in a message are of the input, not of the fault.
        let kind: String = fault.to_string().chars().filter(|c| !c.is_ascii_digit()).take(80).collect();
        let kind = if matches!(fault, Fault::Panicked(_)) { kind } else { kind.chars().take(10).collect() };
        if !self.faults.contains_key(&kind) {
            let _ = fs::write(self.place().with_extension(number.to_string()), input);
            eprint_line(&format!("{}: input {number} {fault}", self.judge.target.name));
            self.faults.insert(kind, (number, fault));
        }
    }

    fn report(&self) -> String {
        let lines = self.faults.values().map(|(number, fault)| format!("\n  input {number} {fault}"));
        let place = self.place();
        format!(
            "{}:{}\nthe inputs are in {}.NUMBER",
            self.judge.target.name,
            lines.collect::<String>(),
            place.display()
        )
    }
}

#[expect(clippy::print_stderr, reason = "a long campaign says at once what it finds")]
fn eprint_line(text: &str) {
    eprintln!("{text}");
}
