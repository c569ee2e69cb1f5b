//! Two network namespaces with a cable between them, as two hosts: processes that reach each other by TCP alone, started there
//! by an agent in the place of ssh.

use std::process::Command;

use super::encoder;
use super::mpirun::{Mpi, assert_same_runs, is_here};

/// Gone at the end of a test.
struct Namespaces {
    names: [String; 2],
}

fn ip(line: &str) -> bool {
    let done = Command::new("ip").args(line.split(' ')).output();
    done.is_ok_and(|done| done.status.success())
}

impl Namespaces {
    /// `None`: this is not permitted here.
    fn new() -> Option<Self> {
        let names = ["a", "b"].map(|side| format!("kindling-{}-{side}", std::process::id()));
        let [a, b] = &names;
        let made = Self { names: names.clone() };
        let lines = [
            format!("netns add {a}"),
            format!("netns add {b}"),
            format!("link add kindling0 netns {a} type veth peer name kindling1 netns {b}"),
            format!("-n {a} addr add 10.77.0.1/24 dev kindling0"),
            format!("-n {b} addr add 10.77.0.2/24 dev kindling1"),
            format!("-n {a} link set kindling0 up"),
            format!("-n {b} link set kindling1 up"),
            format!("-n {a} link set lo up"),
            format!("-n {b} link set lo up"),
        ];
        lines.iter().all(|line| ip(line)).then_some(made)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            // What is still used goes with its last process.
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

#[test]
fn workers_of_two_hosts_have_the_same_bits_and_share_no_run_directory() {
    if !is_here() {
        return;
    }
    let Some(namespaces) = Namespaces::new() else {
        println!("skipped: network namespaces are not permitted here");
        return;
    };
    let [a, b] = &namespaces.names;
    let agent = format!("#!/bin/sh\nshift\nexec ip netns exec {b} unshare --uts sh -c \"hostname host-b; $*\"\n");
    let project = encoder("r = 4\ndropout = 0.2\n").file("agent", agent);
    project.train(&["--set", "output_dir=one", "--threads", "1"]).done();
    let executable = Command::new("chmod").arg("+x").arg(project.path("agent")).status().unwrap();
    assert!(executable.success());
    let line = format!(
        "hostname host-a; exec timeout -k 5 120 mpirun -n 2 --host 10.77.0.1:1,10.77.0.2:1 --bind-to none \
         --mca plm_rsh_agent {} --mca oob_tcp_if_include 10.77.0.0/24 --mca btl_tcp_if_include 10.77.0.0/24 \
         --mca btl self,tcp {} train run.toml --threads 1 --set output_dir=two",
        project.path("agent").display(),
        env!("CARGO_BIN_EXE_kindling"),
    );
    let words = ["netns", "exec", a, "unshare", "--uts", "sh", "-c", &line];
    Mpi::new(&project).start_command("ip", &words).wait().done();
    assert_same_runs(&project, "one", "two");

    let wrong = line.replace("--set output_dir=two", "--set output_dir=/proc/nowhere");
    let words = ["netns", "exec", a, "unshare", "--uts", "sh", "-c", &wrong];
    let ended = Mpi::new(&project).start_command("ip", &words).wait();
    assert_eq!((ended.status, ended.count("error:")), (Some(2), 1), "{}", ended.said);
}
