//! The base's file is mapped while a run uses it. Whoever cuts it short, writes into it, replaces it or removes it is told by the
//! next checkpoint at the latest; with the file put back the run ends as if nothing had been.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use super::experiment::Experiment;

type Change = fn(&Path);

#[cfg(unix)]
#[test]
fn a_base_that_changes_under_a_run_is_named_and_nothing_of_it_is_saved() {
    let undisturbed = Experiment::new(60);
    undisturbed.train(&[]);
    let help = "help: put it back as it was, then continue with `--resume`: the last checkpoint is complete\n";
    let changes: [(&str, &str, Change); 5] = [
        ("was cut short while it was in use\n", "help: put it back as it was, and start again\n", |file| {
            File::options().write(true).open(file).unwrap().set_len(0).unwrap();
        }),
        ("was written to while the run was using it\n", help, |file| {
            let mut file = File::options().write(true).open(file).unwrap();
            file.seek(SeekFrom::End(-4)).unwrap();
            file.write_all(&[1, 2, 3, 4]).unwrap();
        }),
        // The same, and the file has the time that it had.
        ("was written to while the run was using it\n", help, |file| {
            let mut file = File::options().write(true).open(file).unwrap();
            let then = file.metadata().unwrap().modified().unwrap();
            file.seek(SeekFrom::End(-4)).unwrap();
            file.write_all(&[1, 2, 3, 4]).unwrap();
            file.set_modified(then).unwrap();
        }),
        ("was replaced while the run was using it\n", help, |file| {
            let other = file.with_file_name("other");
            fs::copy(file, &other).unwrap();
            fs::rename(other, file).unwrap();
        }),
        ("was removed while the run was using it\n", help, |file| fs::remove_file(file).unwrap()),
    ];
    for (what, help, change) in changes {
        let experiment = Experiment::new(60);
        let file = experiment.base().join("model.safetensors");
        let before = fs::read(&file).unwrap();
        let process = experiment.spawn_heard(&[]);
        experiment.wait_for_step(6);
        change(&file);
        let output = process.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let path = file.canonicalize().map_or(file.display().to_string(), |path| path.display().to_string());
        let expected = [format!("error: {path} {what}{help}"), format!("error: the base model's {path} {what}{help}")];
        assert!(expected.iter().any(|expected| said.ends_with(expected)), "{said}");
        fs::write(&file, before).unwrap();
        experiment.train(&["--resume"]);
        experiment.assert_same_as(&undisturbed);
    }
}

#[test]
fn a_base_that_changed_between_two_processes_where_no_sample_looks_is_found() {
    let experiment = Experiment::new(12);
    experiment.interrupt_after(5);
    let file = experiment.base().join("model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    // The smallest change of a value that the fingerprint does not sample.
    let text = String::from_utf8_lossy(&bytes[8..]).into_owned();
    let header = 8 + usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text[..header - 8]).unwrap();
    let tensors = document.as_object().unwrap().values().filter_map(|tensor| tensor["data_offsets"].as_array());
    let range =
        |offsets: &Vec<serde_json::Value>| [0, 1].map(|end| usize::try_from(offsets[end].as_u64().unwrap()).unwrap());
    let [start, end] = tensors.map(range).max_by_key(|[start, end]| end - start).unwrap();
    assert!(end - start > 20_000, "a tensor that is sampled as a whole");
    bytes[header + start + 5_000] ^= 1;
    fs::write(&file, bytes).unwrap();
    let output = experiment.output(&["--resume"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("error: cannot resume: the base model's model.safetensors differs from the interrupted run"),
        "{said}"
    );
}
