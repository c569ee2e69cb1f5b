//! The directory of a comparison: what lies where.

use std::path::{Path, PathBuf};

use super::Candidate;

#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) root: PathBuf,
}

impl Place {
    /// By this file a comparison is known.
    pub(crate) const RESULTS: &str = "results.jsonl";

    pub(crate) fn results(&self) -> PathBuf {
        self.root.join(Self::RESULTS)
    }

    /// What it was begun with.
    pub(crate) fn begun(&self) -> PathBuf {
        self.root.join("comparison.json")
    }

    pub(crate) fn table(&self) -> PathBuf {
        self.root.join("table.md")
    }

    pub(crate) fn page(&self) -> PathBuf {
        self.root.join("report.html")
    }

    pub(crate) fn of(&self, candidate: &Candidate) -> PathBuf {
        self.root.join(&candidate.directory)
    }

    /// What the range test of its learning rate came to.
    pub(crate) fn range_test(&self, candidate: &Candidate) -> PathBuf {
        self.of(candidate).join("find-lr.json")
    }

    /// The steps that it may take.
    pub(crate) fn budget(&self, candidate: &Candidate) -> PathBuf {
        self.of(candidate).join("budget.json")
    }

    pub(crate) fn run(&self, candidate: &Candidate, seed: u64) -> PathBuf {
        self.of(candidate).join(format!("seed-{seed}"))
    }

    /// Those of the runs that are there.
    pub(crate) fn seeds(&self, candidate: &Candidate) -> Vec<u64> {
        let entries = std::fs::read_dir(self.of(candidate)).into_iter().flatten().flatten();
        let runs = entries.filter(|entry| entry.path().is_dir());
        runs.filter_map(|run| run.file_name().to_str()?.strip_prefix("seed-")?.parse().ok()).collect()
    }

    pub(crate) fn config(&self, candidate: &Candidate, seed: u64) -> PathBuf {
        self.of(candidate).join(format!("seed-{seed}.toml"))
    }

    /// What became no number in a run, and when.
    pub(crate) fn diverged(&self, candidate: &Candidate, seed: u64) -> PathBuf {
        self.of(candidate).join(format!("seed-{seed}.diverged.json"))
    }

    /// What the trained model answers to each example.
    pub(crate) fn examples(&self, candidate: &Candidate, seed: u64) -> PathBuf {
        self.of(candidate).join(format!("seed-{seed}.jsonl"))
    }

    pub(crate) fn is_comparison(root: &Path) -> bool {
        root.join(Self::RESULTS).is_file()
    }
}
