//! Commands as a user types them: a small project on disk, one run of the real binary, its output and exit status. Of a
//! run that is refused the whole of standard error is expected, so that every change of a message is read by somebody.

mod answers;
mod bad_adapter;
mod bad_architecture;
mod bad_command;
mod bad_config;
mod bad_data;
mod bad_model;
mod bad_weights;
#[cfg(unix)]
mod base_in_use;
mod bitfit;
mod bottleneck;
mod calibration;
mod causal_lm;
mod checkpoints;
mod class_weights;
mod commands;
mod companions;
mod compare;
mod compare_refused;
mod conversations;
mod damaged_adapter;
mod damaged_model;
mod data_file;
mod dora;
mod dry_run;
mod experts;
mod export;
mod extract;
mod factors;
mod factors_refused;
mod find_lr;
mod generate;
mod init;
mod init_refused;
mod inspect;
mod last_layers;
mod masked_lm;
mod merging;
mod methods;
mod multi_label;
#[cfg(unix)]
mod outputs;
mod own_output;
mod quantised;
mod quickstart;
mod reading;
mod regression;
mod report;
#[cfg(unix)]
mod run_directory;
#[cfg(unix)]
mod serve;
mod shell;
mod starts;
mod stdin;
mod tables;
mod templates;
mod terminal;
mod token_classification;
mod using;
mod verify;
