//! Whether a launcher of MPI has started this process, as one of several. It says so in the environment.

use std::ffi::OsString;

/// One of several processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Launched {
    pub(crate) size: usize,
    pub(crate) rank: usize,
    /// Its number among those of its host, where the launcher says one.
    pub(crate) local_rank: Option<usize>,
    /// The command that people know it by.
    pub(crate) by: &'static str,
}

impl Launched {
    /// `None` where this process is the only one.
    pub(crate) fn found() -> Option<Self> {
        Self::read(&|name| std::env::var_os(name))
    }

    fn read(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<Self> {
        let number = |name: &str| variable(name)?.to_str()?.parse::<usize>().ok();
        // Of Open MPI, MPICH, Intel MPI, and Slurm: the last, since all that a batch job runs has its variables.
        let local = ["OMPI_COMM_WORLD_LOCAL_RANK", "PMI_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"];
        let local_rank = local.into_iter().find_map(number);
        let launched = |size: &str, rank: &str, by| {
            Some(Self { size: number(size)?, rank: number(rank).unwrap_or(0), local_rank, by })
        };
        // What a batch job of Slurm runs without srun has the first of its variables as well, and no number from PMIx.
        let of_slurm = || {
            number("PMIX_RANK")?;
            launched("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "srun")
                .or_else(|| launched("SLURM_NTASKS", "SLURM_PROCID", "srun"))
        };
        let is_pmi2 = variable("SLURM_MPI_TYPE").is_some_and(|kind| kind == "pmi2");
        let found = launched("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "mpirun")
            .or_else(|| launched("PMI_SIZE", "PMI_RANK", if is_pmi2 { "srun --mpi=pmi2" } else { "mpirun" }))
            .or_else(of_slurm);
        found.filter(|found| found.size > 1)
    }

    /// How many processes `srun` has started that know nothing of each other, if it has started several.
    pub(crate) fn strangers() -> Option<usize> {
        Self::read_strangers(&|name| std::env::var_os(name))
    }

    fn read_strangers(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<usize> {
        // Of a step alone: what a batch job runs without srun has none.
        let size = variable("SLURM_STEP_NUM_TASKS")?.to_str()?.parse::<usize>().ok().filter(|size| *size > 1);
        let is_told = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"].iter().any(|name| variable(name).is_some());
        size.filter(|_| !is_told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        }
    }

    fn found(variables: &[(&str, &str)]) -> Option<(usize, usize, &'static str)> {
        Launched::read(&environment(variables)).map(|launched| (launched.size, launched.rank, launched.by))
    }

    #[test]
    fn launchers_are_known_by_their_variables() {
        assert_eq!(found(&[("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "2")]), Some((4, 2, "mpirun")));
        assert_eq!(found(&[("PMI_SIZE", "3"), ("PMI_RANK", "1")]), Some((3, 1, "mpirun")));
        let of_slurm = [("SLURM_NTASKS", "8"), ("SLURM_PROCID", "7"), ("PMIX_RANK", "7")];
        assert_eq!(found(&of_slurm), Some((8, 7, "srun")));
        let of_pmi2 = [("PMI_SIZE", "3"), ("PMI_RANK", "1"), ("SLURM_MPI_TYPE", "pmi2")];
        assert_eq!(found(&of_pmi2), Some((3, 1, "srun --mpi=pmi2")));
    }

    #[test]
    fn a_step_of_slurm_without_pmix_has_processes_that_know_nothing_of_each_other() {
        let strangers = |variables: &[_]| Launched::read_strangers(&environment(variables));
        let of_step = ("SLURM_STEP_NUM_TASKS", "2");
        assert_eq!(strangers(&[of_step, ("SLURM_PROCID", "1")]), Some(2));
        for told in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"] {
            assert_eq!(strangers(&[of_step, (told, "1")]), None);
        }
        assert_eq!(strangers(&[("SLURM_STEP_NUM_TASKS", "1")]), None);
        assert_eq!(strangers(&[("SLURM_NTASKS", "8"), ("SLURM_PROCID", "0")]), None);
    }

    #[test]
    fn the_number_on_a_host_is_known_before_mpi_is() {
        let local_rank = |name| {
            // A launcher that was started within a step of Slurm has that step's variables too.
            let variables = [("PMI_SIZE", "8"), ("PMI_RANK", "5"), (name, "1"), ("SLURM_LOCALID", "0")];
            Launched::read(&environment(&variables)).and_then(|launched| launched.local_rank)
        };
        let names = ["OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID", "PMI_LOCAL_RANK", "MPI_LOCALRANKID"];
        assert_eq!(names.map(local_rank), [Some(1); 4]);
        assert_eq!(local_rank("OTHER"), Some(0));
    }

    #[test]
    fn one_process_is_none_and_so_is_what_a_batch_job_runs_itself() {
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("OMPI_COMM_WORLD_SIZE", "1"), ("OMPI_COMM_WORLD_RANK", "0")]), None);
        assert_eq!(found(&[("SLURM_NTASKS", "8"), ("SLURM_PROCID", "0")]), None);
    }
}
