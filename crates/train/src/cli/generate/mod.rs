//! `kindling generate`: texts from a causal language model, streamed to a terminal, as JSON lines elsewhere, or as a
//! conversation.

mod chat;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use data::language::{Encoder, Purpose, Row};
use data::{Tokenizer, records};
use model::{CausalLm, Model, Prompt, Sampling, SamplingError};

use super::sink::Sink;
use super::trained::{Trained, tokenizer, weight_or};
use super::{DeviceArgument, Failure, ModelArguments};
use crate::config;
use crate::device::DeviceName;
use crate::output::{Output, counted};
use crate::prepare::check_vocabulary;
use crate::tasks::Task;
use crate::writing::Writer;

/// Prompts of a file that are gone on with together.
const BATCH: usize = 8;

/// Write text with a causal language model
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kindling generate --model gpt2 --prompt \"Once upon a time\" --max-new-tokens 50\n  kindling generate --model Qwen/Qwen2.5-0.5B-Instruct --adapter runs/chat/adapter --chat\n  kindling generate --model base --adapter runs/places/adapter --input test.jsonl --output texts.jsonl"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Text to go on with
    #[arg(long, value_name = "P", required_unless_present_any = ["chat", "input"], conflicts_with_all = ["chat", "input"])]
    prompt: Option<String>,
    /// Talk with the model; /reset begins anew, /save FILE keeps what was said, Ctrl-D ends
    #[arg(long, conflicts_with_all = ["input", "output", "num_samples"])]
    chat: bool,
    /// What the model is told before a conversation
    #[arg(long, value_name = "TEXT", requires = "chat")]
    system: Option<String>,
    /// Rows with a prompt, messages or text: .jsonl .json .csv .tsv .parquet .txt, each also with .gz, or - (JSON lines)
    #[arg(long, value_name = "F")]
    input: Option<PathBuf>,
    /// File to write JSON lines to; default: standard output
    #[arg(long, value_name = "F")]
    output: Option<PathBuf>,
    /// New tokens of a text; default: 256, or as many as the model has positions left for
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_new_tokens: Option<u32>,
    /// 0 always takes the most probable token, 1 draws from the model's own distribution
    #[arg(long, value_name = "T", default_value_t = 0.0, allow_negative_numbers = true)]
    temperature: f64,
    /// Draw from the K most probable tokens alone
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Draw from the most probable tokens that have a share P of the probability
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f64>,
    /// Leave out tokens less than P times as probable as the most probable one
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    min_p: Option<f64>,
    /// Above 1: make tokens that occurred before less likely
    #[arg(long, value_name = "R", default_value_t = 1.0, allow_negative_numbers = true)]
    repetition_penalty: f64,
    /// What is drawn depends on it, on the number of the row and on that of the token, and on nothing else
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// End a text before this string (repeatable)
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Texts for each prompt
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    num_samples: u32,
    /// Override data.text, .prompt, .messages or .prompt_template (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    pub(super) device: DeviceArgument,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let sampling = sampling(arguments);
    sampling.check().map_err(Failure::input)?;
    check_samples(arguments)?;
    if arguments.stop.iter().any(String::is_empty) {
        return Err(Failure::usage("`--stop` is empty", "name the text before which to stop, or leave the option out"));
    }
    let device = DeviceName::parse(&arguments.device.device)?.open()?;
    let sink = Sink::open(arguments.output.as_deref(), arguments.input.as_deref())?;
    let model = arguments.model.located(output)?;
    let trained = Trained::open(&model, Some(config::Task::CausalLm), &arguments.set, &device, output)?;
    let (Model::CausalLm(decoder), Task::CausalLm(causal)) = (&trained.model.model, &trained.task) else {
        return Err(Failure::message("the model was not opened for generation".to_string()));
    };
    let tokenizer = tokenizer(&model)?;
    let encoder = causal.encoder(&tokenizer);
    let writer = writer(arguments, sampling, &trained, decoder, &tokenizer, &encoder)?;
    let generator = Generator { trained: &trained, encoder: &encoder, writer: &writer, arguments, output };
    match (&arguments.prompt, &arguments.input) {
        _ if arguments.chat => chat::run(&generator, causal.has_chat_template())?,
        (Some(prompt), _) => generator.prompt(prompt, sink)?,
        (None, Some(input)) => generator.file(input, sink)?,
        (None, None) => unreachable!("clap requires one of --prompt, --chat and --input"),
    }
    Ok(ExitCode::SUCCESS)
}

fn sampling(arguments: &Arguments) -> Sampling {
    Sampling {
        temperature: arguments.temperature,
        top_k: arguments.top_k,
        top_p: arguments.top_p,
        min_p: arguments.min_p,
        repetition_penalty: arguments.repetition_penalty,
        seed: arguments.seed,
    }
}

/// Settings that would have no effect are most likely a temperature that was forgotten.
fn check_samples(arguments: &Arguments) -> Result<(), Failure> {
    let idle = [
        ("--top-k", arguments.top_k.is_some()),
        ("--top-p", arguments.top_p.is_some()),
        ("--min-p", arguments.min_p.is_some()),
        ("--num-samples", arguments.num_samples > 1),
    ];
    match idle.into_iter().find(|(_, given)| *given && arguments.temperature == 0.0) {
        Some((option, _)) => {
            let message = format!("`{option}` has no effect at a temperature of 0");
            Err(Failure::usage(message, "add `--temperature 1`, or leave it out"))
        }
        None => Ok(()),
    }
}

fn writer<'a>(
    arguments: &Arguments,
    sampling: Sampling,
    trained: &Trained,
    model: &'a CausalLm,
    tokenizer: &'a Tokenizer,
    encoder: &'a Encoder<'a>,
) -> Result<Writer<'a>, Failure> {
    Ok(Writer {
        model,
        tokenizer,
        sampling,
        stop_tokens: encoder.stop_tokens(),
        stop_strings: arguments.stop.clone(),
        max_new_tokens: arguments.max_new_tokens.map(|count| count as usize),
        positions: trained.pretrained.max_positions()?,
    })
}

struct Generator<'a> {
    trained: &'a Trained,
    encoder: &'a Encoder<'a>,
    writer: &'a Writer<'a>,
    arguments: &'a Arguments,
    output: &'a Output,
}

impl Generator<'_> {
    /// One prompt: to a person as it is written, otherwise as a line for each sample.
    fn prompt(&self, prompt: &str, mut sink: Sink) -> Result<(), Failure> {
        let subject = "`--prompt`";
        let ids = self.encoder.prompt_of_text(prompt, subject)?;
        check_vocabulary([&ids].into_iter(), &self.trained.pretrained)?;
        let samples = u64::from(self.arguments.num_samples);
        let prompts =
            (0..samples).map(|row| self.writer.prompt(ids.ids.clone(), row, subject)).collect::<Result<Vec<_>, _>>()?;
        if !sink.is_terminal() || self.output.json() {
            self.lines(&prompts, &mut sink)?;
            return Ok(sink.finish()?);
        }
        for (number, prompt_of_sample) in prompts.iter().enumerate() {
            if number > 0 {
                println(&format!("\n--- {}", number + 1))?;
            }
            show(&self.output.bold(prompt))?;
            stream(self.trained, self.writer, prompt_of_sample)?;
            println("")?;
        }
        Ok(())
    }

    /// The rows of a file, some at a time, a line for each sample in their order.
    fn file(&self, file: &Path, mut sink: Sink) -> Result<(), Failure> {
        let bar = self.output.bar(0, "writing {spinner} {pos}");
        let samples = self.arguments.num_samples as usize;
        let mut columns = None;
        let mut prompts = Vec::new();
        let mut row = 0;
        for record in records(file)? {
            let record = record?;
            let found = match &columns {
                Some(columns) => columns,
                None => {
                    let written = self.trained.columns.written();
                    columns.insert(data::language::Columns::find(file, &record, written, Purpose::Prompts)?)
                }
            };
            let read: Row = found.row(file, &record)?;
            let ids = self.encoder.prompt(file, &read)?;
            check_vocabulary([&ids].into_iter(), &self.trained.pretrained)?;
            let subject = data::Place::new(file, read.line).to_string();
            for _ in 0..samples {
                prompts.push(self.writer.prompt(ids.ids.clone(), row, &subject)?);
                row += 1;
            }
            if prompts.len() >= BATCH {
                self.lines(&std::mem::take(&mut prompts), &mut sink)?;
                bar.set_position(row / samples as u64);
            }
        }
        self.lines(&prompts, &mut sink)?;
        bar.finish_and_clear();
        if row == 0 {
            return Err(data::Error::Empty { file: file.into() }.into());
        }
        sink.finish()?;
        if self.arguments.output.is_some() {
            self.output.say(&counted(row as usize, "text", "texts"));
        }
        Ok(())
    }

    fn lines(&self, prompts: &[Prompt], sink: &mut Sink) -> Result<(), Failure> {
        if !prompts.is_empty() {
            for written in self.writer.write(prompts, &mut |_, _| {}).map_err(|error| unwritten(self.trained, error))? {
                sink.json(&written)?;
            }
        }
        Ok(())
    }
}

/// Writes one text to standard output as it is made; returns it whole.
fn stream(trained: &Trained, writer: &Writer<'_>, prompt: &Prompt) -> Result<String, Failure> {
    let mut failed = None;
    let mut show_piece = |_: usize, text: &str| failed = failed.take().or(show(text).err());
    let mut written =
        writer.write(std::slice::from_ref(prompt), &mut show_piece).map_err(|error| unwritten(trained, error))?;
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(written.remove(0).text),
    }
}

/// Where no token can be chosen a weight may be to blame.
fn unwritten(trained: &Trained, error: SamplingError) -> Failure {
    weight_or(&trained.pretrained, Failure::running(error))
}

fn show(text: &str) -> io::Result<()> {
    let mut standard = io::stdout().lock();
    standard.write_all(text.as_bytes())?;
    standard.flush()
}

fn println(line: &str) -> io::Result<()> {
    show(&format!("{line}\n"))
}
