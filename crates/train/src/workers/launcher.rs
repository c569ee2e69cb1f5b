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
        // Of Open MPI, Slurm, MPICH, and Intel MPI.
        let local = ["OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID", "PMI_LOCAL_RANK", "MPI_LOCALRANKID"];
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
        let found = launched("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "mpirun")
            .or_else(|| launched("PMI_SIZE", "PMI_RANK", "mpirun"))
            .or_else(of_slurm);
        found.filter(|found| found.size > 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Option<(usize, usize, &'static str)> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Launched::read(&variable).map(|launched| (launched.size, launched.rank, launched.by))
    }

    #[test]
    fn launchers_are_known_by_their_variables() {
        assert_eq!(found(&[("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "2")]), Some((4, 2, "mpirun")));
        assert_eq!(found(&[("PMI_SIZE", "3"), ("PMI_RANK", "1")]), Some((3, 1, "mpirun")));
        let of_slurm = [("SLURM_NTASKS", "8"), ("SLURM_PROCID", "7"), ("PMIX_RANK", "7")];
        assert_eq!(found(&of_slurm), Some((8, 7, "srun")));
    }

    #[test]
    fn the_number_on_a_host_is_known_before_mpi_is() {
        let local_rank = |name: &str| {
            let variables = [("PMI_SIZE", "8"), ("PMI_RANK", "5"), (name, "1")];
            Launched::read(&|known| {
                let found = variables.iter().find(|(name, _)| *name == known);
                found.map(|(_, value)| OsString::from(value))
            })
            .and_then(|launched| launched.local_rank)
        };
        let names = ["OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID", "PMI_LOCAL_RANK", "MPI_LOCALRANKID"];
        assert_eq!(names.map(local_rank), [Some(1); 4]);
        assert_eq!(local_rank("OTHER"), None);
    }

    #[test]
    fn one_process_is_none_and_so_is_what_a_batch_job_runs_itself() {
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("OMPI_COMM_WORLD_SIZE", "1"), ("OMPI_COMM_WORLD_RANK", "0")]), None);
        assert_eq!(found(&[("SLURM_NTASKS", "8"), ("SLURM_PROCID", "0")]), None);
    }
}
