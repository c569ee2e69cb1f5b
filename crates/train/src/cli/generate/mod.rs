//! `kindling generate`: texts from a causal language model, streamed to a terminal, as JSON lines elsewhere, or as a
//! conversation.

mod chat;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use data::language::{Content, Purpose, Row};
use data::{Line, Record};
use indexmap::IndexMap;
use model::{Prompt, Sampling};
use serde_json::{Map, Value, json};

use super::agree;
use super::input::{InputArguments, Unanswered};
use super::open::{check_unwritten, keys_of_input, open};
use super::table::{Answers, Columns, Format};
use super::workers::WorkerArguments;
use super::{DeviceArgument, Failure, ModelArguments};
use crate::output::{Output, counted};
use crate::workers::Workers;
use inference::{GenerationSettings, Pipeline, TextGeneration, Written};
use tasks::Use;

/// Prompts of a file that are continued together.
const BATCH: usize = 8;

/// Write text with a causal language model
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kindling generate --run runs/places --prompt \"name: The Eagle | food: French\"
  kindling generate --run runs/chat --chat --temperature 0.7
  kindling generate --run runs/places --input test.csv --output texts.csv
  kindling generate --model gpt2 --prompt \"Once upon a time\" --max-new-tokens 50
  kindling generate --model Qwen/Qwen2.5-0.5B-Instruct --adapter someone/tuned --chat")]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Text to continue; without it, --chat and --input, prompts are read from standard input, one a line, or as JSON lines
    #[arg(long, value_name = "P", conflicts_with_all = ["chat", "input", "input_format"])]
    prompt: Option<String>,
    /// Talk with the model: /help lists what can be typed, Ctrl-D ends
    #[arg(long, conflicts_with_all = ["input", "input_format", "keep_going", "output", "columns", "num_samples"])]
    chat: bool,
    /// System message of the conversation
    #[arg(long, value_name = "TEXT", requires = "chat")]
    system: Option<String>,
    #[command(flatten)]
    input: InputArguments,
    /// File to write, as its ending says: .csv .tsv .parquet .json, or .jsonl for an object a line
    #[arg(long, value_name = "F")]
    output: Option<PathBuf>,
    /// Columns of the input beside each text: a,b (repeatable); by default all of them in a file and none on standard
    /// output, and with '' none
    #[arg(long, value_name = "NAMES")]
    columns: Vec<String>,
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
    /// End a text before this string (repeatable); a line break is $'\n' in bash and zsh
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Texts for each prompt
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    num_samples: u32,
    /// Override data.text, .prompt, .messages, .text_template or .prompt_template (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    pub(super) device: DeviceArgument,
    #[command(flatten)]
    pub(super) workers: WorkerArguments,
}

pub(super) fn run(arguments: &Arguments, workers: &Workers, output: &Output) -> Result<ExitCode, Failure> {
    let sampling = sampling(arguments);
    sampling.check().map_err(Failure::input)?;
    check_samples(arguments)?;
    if arguments.stop.iter().any(String::is_empty) {
        return Err(Failure::usage("`--stop` is empty", "name the text before which to stop, or leave the option out"));
    }
    let device = agree::device(&arguments.device.device, workers)?.open()?;
    let columns = match Columns::of(&arguments.columns, arguments.output.as_deref()) {
        // A prompt on the command line is no column of an input; a table without it would say little.
        Columns::All if arguments.prompt.is_some() && !Format::of(arguments.output.as_deref())?.is_table() => {
            Columns::None
        }
        columns => columns,
    };
    let answers = Answers::open(arguments.output.as_deref(), arguments.input.input.as_deref(), columns, output)?;
    if arguments.chat && workers.are_several() {
        return Err(Failure::usage(
            "`--chat` is for one process, and there are several workers",
            "run one process, without mpirun or `--workers`",
        ));
    }
    if arguments.prompt.is_none() && !arguments.chat && arguments.input.is_piped() {
        super::workers::refuse_piped_input(workers)?;
    }
    let model = arguments.model.located(output)?;
    let keys = keys_of_input(Use::Generate);
    let pipeline = open(&model, Some(Use::Generate), (&arguments.set, &keys), &device, output)?;
    agree::on_files(&pipeline, &model, arguments.input.input.as_deref(), workers)?;
    let settings = GenerationSettings {
        sampling,
        stop_strings: arguments.stop.clone(),
        max_new_tokens: arguments.max_new_tokens.map(|count| count as usize),
    };
    let texts = &pipeline.text_generation(settings)?;
    let generator = Generator { pipeline: &pipeline, texts, arguments, workers, output };
    match &arguments.prompt {
        _ if arguments.chat => {
            chat::run(&generator)?;
            generator.agree_on_the_end()?;
        }
        Some(prompt) => generator.prompt(prompt, answers)?,
        None => generator.rows(answers)?,
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
        ..Sampling::default()
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

struct Generator<'a> {
    pipeline: &'a Pipeline,
    texts: &'a TextGeneration<'a>,
    arguments: &'a Arguments,
    /// Each writes some of the texts.
    workers: &'a Workers,
    output: &'a Output,
}

/// A row's columns, and the prompts that were made of it: one for each sample.
type Prompts = (IndexMap<String, Value>, Vec<Prompt>);

impl Generator<'_> {
    /// One prompt: to a person as it is written, otherwise as a line for each sample.
    fn prompt(&self, prompt: &str, mut answers: Answers<'_>) -> Result<(), Failure> {
        self.note_plain_text();
        let row = Row { line: 1, content: Content::Text(prompt.to_string()) };
        let prompts = self.samples(&row, 0, "`--prompt`")?;
        let fields = IndexMap::from([("prompt".to_string(), Value::from(prompt))]);
        self.begin(&fields, &mut answers)?;
        if answers.is_terminal() && !self.output.json() {
            self.show(prompt, &prompts)?;
            return self.agree_on_the_end();
        }
        self.write(vec![(fields, prompts)], &mut answers)?;
        self.agree_on_the_end()?;
        Ok(answers.finish()?)
    }

    /// No file is finished whose texts a worker finds wrong.
    fn agree_on_the_end(&self) -> Result<(), Failure> {
        check_unwritten(&self.pipeline.pretrained)?;
        self.workers.gather("the end of the texts", &())?;
        Ok(())
    }

    /// The rows of the input, some at a time, a text for each sample in their order.
    fn rows(&self, mut answers: Answers<'_>) -> Result<(), Failure> {
        let input = &self.arguments.input;
        let is_typed = input.is_typed();
        let streams = is_typed && answers.is_terminal() && !self.output.json();
        let lines = input.lines("prompt", self.output)?;
        let bar = (!is_typed).then(|| self.output.bar(0, "writing {spinner} {pos}"));
        let mut unanswered = Unanswered::new(input, is_typed, self.output);
        let mut reader = Reader { generator: self, columns: None, begun: false };
        let (mut waiting, mut held, mut rows, mut answered) = (Vec::new(), 0, 0, 0);
        for line in lines {
            // Of the row whatever becomes of others: its number is what its random choices depend on.
            let first = rows * u64::from(self.arguments.num_samples);
            rows += 1;
            let Some(line) = unanswered.or_note_line(line)? else { continue };
            let (number, read) = (line.number(), reader.prompts(line, first, &mut answers));
            let Some((fields, prompts)) = unanswered.or_note(number, read)? else { continue };
            answered += 1;
            if streams {
                self.show("", &prompts)?;
                continue;
            }
            held += prompts.len();
            waiting.push((fields, prompts));
            if held >= BATCH * self.workers.size() || is_typed {
                self.write(std::mem::take(&mut waiting), &mut answers)?;
                held = 0;
                bar.iter().for_each(|bar| bar.set_position(answers.count() as u64));
            }
        }
        self.write(waiting, &mut answers)?;
        bar.iter().for_each(|bar| bar.finish_and_clear());
        let written = answers.count();
        self.agree_on_the_end()?;
        // What was there before is worth more than no texts.
        if answered > 0 {
            answers.finish()?;
        }
        if self.arguments.output.is_some() {
            self.output.say(&counted(written, "text", "texts"));
        }
        unanswered.failure(answered, &input.file())
    }

    /// The prompts of a row, which `subject` names in messages. `first` is the number of the first.
    fn samples(&self, row: &Row, first: u64, subject: &str) -> Result<Vec<Prompt>, Failure> {
        let encoded = match &row.content {
            Content::Text(text) => self.texts.encode_text(text, subject)?,
            _ => self.texts.encode_row(&self.arguments.input.file(), row)?,
        };
        Ok(self.texts.prompts(&encoded, first..first + u64::from(self.arguments.num_samples), subject)?)
    }

    /// Somebody who trained on conversations most likely means a message.
    fn note_plain_text(&self) {
        if self.pipeline.columns.messages.is_some() {
            self.output.say(
                "it was trained on conversations, and a text is continued as it is: `--chat` and rows of messages go through the \
                 chat template",
            );
        }
    }

    fn begin(&self, fields: &IndexMap<String, Value>, answers: &mut Answers<'_>) -> Result<(), Failure> {
        let names: &[&str] = match answers.format().is_table() {
            true => &["text", "finish_reason"],
            false => &["text", "token_ids", "finish_reason"],
        };
        answers.begin(&self.arguments.input.file(), fields, names.iter().map(|name| name.to_string()))
    }

    /// As it is written, to a terminal.
    fn show(&self, prompt: &str, samples: &[Prompt]) -> Result<(), Failure> {
        for (number, sample) in samples.iter().enumerate() {
            if number > 0 {
                self.output.piece(&format!("\n--- {}\n", number + 1))?;
            }
            self.output.piece(&self.output.bold(prompt))?;
            let text = self.stream(sample)?;
            self.output.piece("\n")?;
            if text.trim().is_empty() {
                self.output.say("(empty: the first token was an end token)");
            }
        }
        Ok(())
    }

    /// Writes one text to standard output as it is made; returns it whole.
    fn stream(&self, prompt: &Prompt) -> Result<String, Failure> {
        let mut failed = None;
        let mut show_piece = |_: usize, text: &str| failed = failed.take().or(self.output.piece(text).err());
        let mut written = self.texts.write(std::slice::from_ref(prompt), &mut show_piece)?;
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(written.remove(0).text),
        }
    }

    fn write(&self, rows: Vec<Prompts>, answers: &mut Answers<'_>) -> Result<(), Failure> {
        let is_table = answers.format().is_table();
        let parts: Vec<&[Prompts]> = rows.chunks(rows.len().div_ceil(self.workers.size()).max(1)).collect();
        let texts = self.workers.in_turn("texts", &parts, |rows| {
            let prompts: Vec<Prompt> = rows.iter().flat_map(|(_, prompts)| prompts.iter().cloned()).collect();
            let written = if prompts.is_empty() { Vec::new() } else { self.texts.write(&prompts, &mut |_, _| {})? };
            Ok::<_, Failure>(written.into_iter().map(|written| answer(written, is_table)).collect::<Vec<_>>())
        })?;
        let mut texts = texts.into_iter().flatten();
        for (fields, prompts) in &rows {
            for text in texts.by_ref().take(prompts.len()) {
                answers.push(fields, text)?;
            }
        }
        Ok(())
    }
}

/// Token ids are for programs: a table has the text, and why it ended.
fn answer(written: Written, is_table: bool) -> Map<String, Value> {
    let Written { text, token_ids, finish_reason } = written;
    let keys = [
        Some(("text", json!(text))),
        (!is_table).then(|| ("token_ids", json!(token_ids))),
        Some(("finish_reason", json!(finish_reason))),
    ];
    keys.into_iter().flatten().map(|(key, value)| (key.to_string(), value)).collect()
}

/// Lines of the input become prompts.
struct Reader<'a> {
    generator: &'a Generator<'a>,
    /// Found in the first row.
    columns: Option<data::language::Columns>,
    /// A row was read, and the columns that stand beside answers are known.
    begun: bool,
}

impl Reader<'_> {
    fn prompts(&mut self, line: Line, first: u64, answers: &mut Answers<'_>) -> Result<Prompts, Failure> {
        let generator = self.generator;
        let file = generator.arguments.input.file();
        let subject = data::Place::new(&file, line.number()).to_string();
        let (fields, row) = match line {
            // As with `--prompt`: no template is laid around what was typed.
            Line::Text { line, text } => {
                if !self.begun {
                    generator.note_plain_text();
                }
                let fields = IndexMap::from([("prompt".to_string(), Value::from(text.as_str()))]);
                (fields, Row { line, content: Content::Text(text) })
            }
            Line::Row(record) => {
                let row = self.columns(&record)?.row(&file, &record)?;
                (record.fields, row)
            }
        };
        if !self.begun {
            generator.begin(&fields, answers)?;
            self.begun = true;
        }
        Ok((fields, generator.samples(&row, first, &subject)?))
    }

    fn columns(&mut self, first: &Record) -> Result<&data::language::Columns, data::Error> {
        match &mut self.columns {
            Some(columns) => Ok(columns),
            none => {
                let names = &self.generator.pipeline.columns;
                let file = self.generator.arguments.input.file();
                Ok(none.insert(data::language::Columns::find(&file, first, names, Purpose::Prompts)?))
            }
        }
    }
}
