//! `events.out.tfevents.*`: the lines of `metrics.jsonl` once more, for TensorBoard (`train.tensorboard`).
//!
//! A file of TensorFlow's records, each an `Event` of `tensorflow/core/util/event.proto` with one scalar. The few fields that
//! are needed are written here: what there is of crates brings a protobuf compiler or code of its own for images and audio.
//!
//! Each process of a run writes a file of its own, named by the step it begins after, so that names sort in the order of
//! steps. A process that resumes first cuts the earlier files where its step is: no step is in two of them. Its file
//! begins with the mark of a new session, by which a TensorBoard that looks on forgets what was cut.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use model::disk;

use super::Error;
use super::directory::Directory;

/// What the files of a run are called before the step, and after it.
const PREFIX: &str = "events.out.tfevents.";
const SUFFIX: &str = ".kindling";

#[derive(Debug)]
pub(super) struct Events {
    path: PathBuf,
    file: File,
}

impl Events {
    /// The file of a process that goes on after `step`, 0 for a new run.
    pub(super) fn open(directory: &Directory, step: usize) -> Result<Self, Error> {
        let names = directory.files();
        directory.claim([name(step)])?;
        Self::after(&directory.path(""), &names, step)
    }

    /// `names` are those of the run's files.
    fn after(root: &Path, names: &[String], step: usize) -> Result<Self, Error> {
        for (name, start) in names.iter().filter_map(|name| Some((name, start(name)?))) {
            let path = root.join(name);
            // A file that begins at this step or later has nothing that stays.
            let changed = if start < step { cut(&path, step) } else { disk::remove_file(&path) };
            changed.map_err(|source| Error::Write { path: path.clone(), source })?;
        }
        let path = root.join(name(step));
        let file = disk::open(&path, File::options().write(true).create(true).truncate(true));
        let file = file.map_err(|source| Error::Write { path: path.clone(), source })?;
        let events = Self { path, file };
        // The second version of the format is what every reader knows.
        events.append(&event(now(), 0, &bytes_field(3, b"brain.Event:2")))?;
        // SessionLog { status: START }
        events.append(&event(now(), step + 1, &bytes_field(7, &varint_field(1, 1))))?;
        Ok(events)
    }

    /// Scalars of a step: a tag and a value each.
    pub(super) fn scalars(&self, step: usize, scalars: &[(&str, f64)]) -> Result<(), Error> {
        let now = now();
        scalars.iter().try_for_each(|(tag, value)| self.append(&event(now, step, &scalar(tag, *value as f32))))
    }

    fn append(&self, event: &[u8]) -> Result<(), Error> {
        disk::write_all(&self.path, &self.file, &record(event))
            .map_err(|source| Error::Write { path: self.path.clone(), source })
    }
}

fn name(step: usize) -> String {
    format!("{PREFIX}{step:010}{SUFFIX}")
}

/// The step that a file of this name begins after.
fn start(name: &str) -> Option<usize> {
    let step = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    (step.len() == 10 && step.bytes().all(|byte| byte.is_ascii_digit())).then(|| step.parse().ok())?
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Cuts a file at its first record that is not whole or belongs to a later step.
fn cut(path: &Path, step: usize) -> io::Result<()> {
    let bytes = std::fs::read(path)?;
    let mut kept = 0;
    while let Some(event) = whole_record(&bytes[kept..]) {
        if step_of(event) > step as u64 {
            break;
        }
        kept += event.len() + FRAME;
    }
    match kept < bytes.len() {
        true => disk::set_len(path, &disk::open(path, File::options().write(true))?, kept as u64),
        false => Ok(()),
    }
}

/// Length, its checksum, and that of the data.
const FRAME: usize = 8 + 4 + 4;

/// TensorFlow's frame of a record: the length and the data, each with its masked CRC-32C.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + FRAME);
    record.extend(length);
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked_crc(data).to_le_bytes());
    record
}

/// The data of the first record, if all of it is there as it was written.
fn whole_record(bytes: &[u8]) -> Option<&[u8]> {
    let length = bytes.get(..8)?;
    let size = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
    let data = bytes.get(12..12_usize.checked_add(size)?)?;
    let checks = [(length, bytes.get(8..12)?), (data, bytes.get(12 + size..FRAME + size)?)];
    checks.iter().all(|(data, sum)| masked_crc(data).to_le_bytes() == **sum).then_some(data)
}

/// So that the checksum of data that hold a checksum is none of theirs (`tensorflow/core/lib/hash/crc32c.h`).
fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: a line of metrics is a few hundred bytes.
fn crc32c(data: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1));
        }
    }
    !crc
}

/// Event { wall_time: 1, step: 2, what }
fn event(wall_time: f64, step: usize, what: &[u8]) -> Vec<u8> {
    let mut event = vec![0x09];
    event.extend(wall_time.to_le_bytes());
    event.extend(varint_field(2, step as u64));
    event.extend(what);
    event
}

/// Event.summary: 5 { value: 1 { tag: 1, simple_value: 2 } }
fn scalar(tag: &str, value: f32) -> Vec<u8> {
    let mut fields = bytes_field(1, tag.as_bytes());
    fields.push(0x15);
    fields.extend(value.to_le_bytes());
    bytes_field(5, &bytes_field(1, &fields))
}

fn bytes_field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    field.extend(varint(bytes.len() as u64));
    field.extend(bytes);
    field
}

fn varint_field(number: u8, value: u64) -> Vec<u8> {
    let mut field = vec![number << 3];
    field.extend(varint(value));
    field
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Of an event as [`event`] writes it.
fn step_of(event: &[u8]) -> u64 {
    let bytes = event.get(10..).unwrap_or_default();
    let end = bytes.iter().position(|byte| *byte < 0x80).unwrap_or(0);
    bytes.iter().take(end + 1).rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        // B.4: 32 bytes of zeros, of ones, and 0 to 31.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&ascending), 0x46dd_794e);
    }

    #[test]
    fn the_bytes_are_those_of_tensorflow() {
        // tensorboard 2.21: `RecordWriter` of tensorboard.summary.writer.record_writer, given
        // Event(wall_time=1.5, step=300, summary=Summary(value=[Summary.Value(tag="loss", simple_value=0.25)])).
        let wanted = "1b000000000000001a0d9e13\
            09000000000000f83f10ac022a0d0a0b0a046c6f7373150000803e\
            9908deed";
        let found: String =
            record(&event(1.5, 300, &scalar("loss", 0.25))).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_resumed_run_repeats_no_step_and_leaves_no_half_record() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let names = || {
            let names = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        };
        let open = |step| Events::after(root, &names(), step).unwrap();
        let first = open(0);
        (1..=300).for_each(|step| first.scalars(step, &[("train/loss", 1.0), ("train/rate", 2.0)]).unwrap());
        let whole = std::fs::metadata(&first.path).unwrap().len();
        File::options().write(true).open(&first.path).unwrap().set_len(whole - 5).unwrap();

        let second = open(200);
        second.scalars(201, &[("train/loss", 1.0), ("train/rate", 2.0)]).unwrap();
        // Once more from the same step, and from one before.
        open(200).scalars(201, &[("train/loss", 1.0)]).unwrap();
        let third = open(150);
        (151..=202).for_each(|step| third.scalars(step, &[("train/loss", 1.0), ("train/rate", 2.0)]).unwrap());

        let mut steps = Vec::new();
        for name in names() {
            let bytes = std::fs::read(root.join(name)).unwrap();
            let mut at = 0;
            while let Some(event) = whole_record(&bytes[at..]) {
                if event.windows(4).any(|window| window == b"loss") {
                    steps.push(step_of(event));
                }
                at += event.len() + FRAME;
            }
            assert_eq!(at, bytes.len(), "a half record");
        }
        assert_eq!(steps, (1..=202).collect::<Vec<u64>>());
    }
}
