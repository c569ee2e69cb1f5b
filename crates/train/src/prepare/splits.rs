//! The files of a split, read in a stream: of each row the token ids are kept and what a look at the data needs, its text is
//! dropped. The few texts that are shown later are read again.

use std::path::Path;

use data::language::{Content, Purpose, Row, UnreadFields};
use data::{
    Dataset, Digest, EncodedExample, Example, Finding, Labels, Reading, Record, Rows as Looked, Share, Tokenizer,
    Truncation, lint, records, stratified,
};
use indicatif::ProgressBar;
use model::Pretrained;

use super::Error;
use crate::config::{Config, Files};
use crate::output::Output;
use crate::workers::Workers;
use tasks::{CausalLm, Classes, Columns, Encoding, LabelFinder, Rows, Task, check_vocabulary};

/// Rows that are read before they are encoded together, on all threads, and bytes of them.
const CHUNK: usize = 2048;
const CHUNK_BYTES: usize = 4 << 20;

/// What rows are encoded by, and who encodes them.
pub(super) struct Reader<'a> {
    pub(super) config: &'a Config,
    pub(super) tokenizer: &'a Tokenizer,
    /// `None`: its classes are to be found first.
    pub(super) task: Option<&'a dyn Task>,
    pub(super) max_length: usize,
    /// Each encodes a share; all read the same files.
    pub(super) workers: &'a Workers,
}

/// What was read of the files of a split; where there is a finder targets are provisional.
pub(super) struct Split {
    pub(super) columns: Columns,
    pub(super) dataset: Dataset,
    pub(super) digest: Digest,
    pub(super) finder: Option<Box<dyn LabelFinder>>,
    /// How well the tokenizer reads the texts, and fields of messages that have no effect.
    pub(super) reading: Reading,
    pub(super) unread: Vec<Finding>,
}

/// What a look at the data takes of the rows while they pass by.
struct Look<'a> {
    digest: Digest,
    reading: data::Reader<'a>,
    unread: Option<UnreadFields<'a>>,
}

impl Reader<'_> {
    /// Reads files by the columns of the configuration, or by those found in other files.
    pub(super) fn read(&self, files: &Files, as_in: Option<&Columns>, output: &Output) -> Result<Split, Error> {
        let bar = output.bar(0, "tokenising {spinner} {pos}");
        let mut found: Option<(&Path, Columns)> = None;
        let mut dataset = Dataset::default();
        let mut finder = self.config.model.task.finder.filter(|_| self.task.is_none()).map(|finder| finder());
        let mut look = Look {
            digest: Digest::default(),
            reading: data::Reader::new(self.tokenizer),
            unread: self.task.and_then(|task| task.writes()?.unread_fields()),
        };
        for file in files.iter() {
            let mut records = records(file)?.peekable();
            let columns = match (records.peek(), as_in) {
                (Some(Ok(first)), Some(columns)) => {
                    columns.check(file, first)?;
                    columns.clone()
                }
                (Some(Ok(first)), None) => {
                    (self.config.model.task.columns)(file, first, &self.config.data.columns, Purpose::Training)?
                }
                // An error is returned by what follows.
                (Some(Err(_)) | None, _) => match records.next() {
                    Some(Err(error)) => return Err(error.into()),
                    _ => return Err(data::Error::Empty { file: file.to_owned() }.into()),
                },
            };
            match &found {
                Some((first, others)) if *others != columns => {
                    return Err(Error::OtherColumns { file: file.to_owned(), first: (*first).to_owned() });
                }
                Some(_) => {}
                None => found = Some((file, columns.clone())),
            }
            let mut rows = columns.no_rows();
            let mut bytes = 0;
            for record in records {
                let record = record?;
                rows.push(&columns, file, &record)?;
                bytes += record.bytes();
                if rows.len() == CHUNK || bytes > CHUNK_BYTES {
                    self.add(file, &rows, (&mut dataset, finder.as_deref_mut(), &mut look), &bar)?;
                    rows.clear();
                    bytes = 0;
                }
            }
            self.add(file, &rows, (&mut dataset, finder.as_deref_mut(), &mut look), &bar)?;
        }
        bar.finish_and_clear();
        let columns = found.map(|(_, columns)| columns).expect("a list of files has one at least");
        let Look { digest, reading, unread } = look;
        let unread = unread.map(UnreadFields::finish).unwrap_or_default();
        let unread = unread.into_iter().map(Finding::unread).collect();
        Ok(Split { columns, dataset, digest, finder, reading: reading.finish(), unread })
    }

    fn add(
        &self,
        file: &Path,
        rows: &Rows,
        (dataset, mut finder, look): (&mut Dataset, Option<&mut (dyn LabelFinder + 'static)>, &mut Look<'_>),
        bar: &ProgressBar,
    ) -> Result<(), Error> {
        let texts = rows.texts();
        look.digest.add(file, &texts, self.config.model.task.classes == Classes::One)?;
        look.reading.add(&texts);
        if let (Rows::Language(rows), Some(unread)) = (rows, &mut look.unread) {
            unread.add(file, rows);
        }
        let position = bar.position();
        let progress = |done: usize| bar.inc(done as u64);
        let (task, all) = (self.task, Encoding::new(self.tokenizer, self.max_length));
        let mut encode = |share, dataset: &mut Dataset| {
            let encoding = Encoding { progress: &progress, share, ..all };
            match (finder.as_deref_mut(), task) {
                (Some(finder), _) => finder.encode(file, rows, &encoding, dataset),
                (None, Some(task)) => task.encode(file, rows, &encoding, dataset),
                (None, None) => unreachable!("a task without classes is opened before its data is read"),
            }
        };
        match self.workers.are_several() {
            true => {
                dataset.add(file, &encoded_by_all(self.workers, &mut encode)?);
                // Those of the others.
                bar.set_position(position + rows.len() as u64);
            }
            false => encode(Share::ALL, dataset)?,
        }
        Ok(())
    }
}

/// What comes of rows of which each worker encodes a share. A share that cannot be encoded is tried by all, so that all end with
/// the error of one worker: that of the first row.
fn encoded_by_all(
    workers: &Workers,
    encode: &mut dyn FnMut(Share, &mut Dataset) -> Result<(), data::Error>,
) -> Result<Vec<EncodedExample>, Error> {
    let share = |number| Share { number, of: workers.size() };
    let mut encoded = |number| {
        let mut dataset = Dataset::default();
        encode(share(number), &mut dataset).map(|()| dataset.to_bytes())
    };
    let sent = match encoded(workers.rank()) {
        Ok(bytes) => [&[DONE], &bytes[..]].concat(),
        Err(_) => Vec::new(),
    };
    let mut examples = Vec::new();
    for (number, received) in workers.gather_bytes("encoded rows", sent)?.iter().enumerate() {
        let tried;
        let bytes = match received.split_first() {
            Some((_, bytes)) => bytes,
            None => {
                tried = encoded(number)?;
                &tried[..]
            }
        };
        examples.extend(EncodedExample::all_of(bytes).expect("it was written by the same program"));
    }
    Ok(examples)
}

/// Comes before the bytes of a share, which may be none.
const DONE: u8 = 1;

/// Which rows of a file are of each split, where both are taken from it.
pub(super) struct Parts {
    pub(super) train: Vec<u32>,
    pub(super) valid: Vec<u32>,
}

/// Moves a share of the rows, of each class the same, to a data set of its own.
pub(super) fn split_off(split: &mut Split, fraction: f64, seed: u64) -> (Dataset, Parts) {
    // A row may have become several examples, which stay together.
    let rows = split.dataset.rows();
    let mut targets = vec![0; split.digest.len()];
    for (example, row) in split.dataset.iter().zip(&rows) {
        targets[*row] = example.target().class().unwrap_or(0);
    }
    let chosen = stratified(&targets, fraction, seed);
    let is_chosen = |row: usize| chosen.binary_search(&row).is_ok();
    let indices: Vec<usize> = (0..rows.len()).filter(|index| is_chosen(rows[*index])).collect();
    let train = (0..targets.len()).filter(|row| !is_chosen(*row)).map(|row| row as u32).collect();
    let valid = chosen.iter().map(|row| *row as u32).collect();
    (split.dataset.split_off(&indices), Parts { train, valid })
}

/// What a look at the splits shows: each as what was remembered of its rows, and as what was encoded of them.
pub(super) fn findings(
    (train, encoded): (Looked, &Dataset),
    valid: Option<(Looked, &Dataset)>,
    labels: Option<&Labels>,
    (max_length, positions): (usize, usize),
) -> Vec<Finding> {
    let cut =
        |encoded: &Dataset| Truncation { is_most: max_length >= positions, ..Truncation::of(encoded, max_length) };
    let with_truncation = |rows: Looked, encoded: &Dataset| Looked { truncation: Some(cut(encoded)), ..rows };
    let valid = valid.map(|(valid, encoded)| with_truncation(valid, encoded));
    lint(&with_truncation(train, encoded), valid.as_ref(), labels)
}

/// Rows that are read again: those of a part, by their numbers over all files.
#[derive(Debug, Clone)]
pub(crate) struct Again {
    pub(super) files: Files,
    pub(super) columns: Columns,
    /// `None`: all.
    pub(super) part: Option<Vec<u32>>,
}

impl Again {
    /// Each with its file, up to the first that cannot be read.
    fn records(&self) -> impl Iterator<Item = Result<(&Path, Record), data::Error>> {
        let of_file = |file| {
            let (rows, error) = match records(file) {
                Ok(records) => (Some(records), None),
                Err(error) => (None, Some(Err(error))),
            };
            rows.into_iter().flatten().map(move |record| record.map(|record| (file, record))).chain(error)
        };
        let is_wanted = |(row, _): &(usize, _)| match &self.part {
            Some(part) => part.binary_search(&(*row as u32)).is_ok(),
            None => true,
        };
        self.files.iter().flat_map(of_file).enumerate().filter(is_wanted).map(|(_, record)| record)
    }

    /// The rows that a data set was made of; where a file has changed since, texts of what its tokens say.
    pub(crate) fn rows(&self, dataset: &Dataset, tokenizer: &Tokenizer) -> Rows {
        let mut rows = self.columns.no_rows();
        let read = self.records().try_for_each(|row| row.and_then(|(file, row)| rows.push(&self.columns, file, &row)));
        let lines: Vec<usize> = rows.texts().iter().map(|text| text.line).collect();
        // A row may have become several examples.
        let numbers = dataset.rows();
        let first = |index: &usize| *index == 0 || numbers[*index] != numbers[*index - 1];
        let examples = || (0..dataset.len()).filter(first).map(|index| dataset.get(index));
        match read {
            Ok(()) if lines.into_iter().eq(examples().map(|example| example.line())) => rows,
            Ok(()) | Err(_) => Rows::Texts(
                examples()
                    .map(|example| {
                        let ids: Vec<u32> = example.ids().collect();
                        Example { line: example.line(), text: tokenizer.text(&ids), text_pair: None, label: None }
                    })
                    .collect(),
            ),
        }
    }

    /// The first rows that have an answer: texts have none.
    pub(super) fn questions(
        &self,
        task: &CausalLm,
        (tokenizer, pretrained): (&Tokenizer, &Pretrained),
        count: usize,
    ) -> Result<Vec<Question>, Error> {
        let Columns::Language(columns) = &self.columns else { return Ok(Vec::new()) };
        let encoder = task.encoder(tokenizer);
        let mut questions = Vec::new();
        for row in self.records() {
            if questions.len() == count {
                break;
            }
            let (file, record) = row?;
            let row = columns.row(file, &record)?;
            if let Some(answer) = answer(&row) {
                let encoded = encoder.prompt(file, &row, usize::MAX)?;
                check_vocabulary([&encoded].into_iter(), pretrained)?;
                let ids = encoded.ids;
                let prompt = tokenizer.text(&ids);
                let answer_tokens = tokenizer.encode(answer, None, usize::MAX)?.ids.len();
                questions.push(Question { prompt, ids, answer: answer.to_string(), answer_tokens });
            }
        }
        Ok(questions)
    }
}

fn answer(row: &Row) -> Option<&str> {
    match &row.content {
        Content::Text(_) => None,
        Content::Completion { completion, .. } => Some(completion),
        Content::Conversation(conversation) => conversation.answer(),
    }
}

/// A prompt, and the answer that is expected to it.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) prompt: String,
    pub(crate) ids: Vec<u32>,
    pub(crate) answer: String,
    pub(crate) answer_tokens: usize,
}

#[cfg(test)]
mod tests {
    use data::{Encoded, ExampleTarget};

    use super::*;
    use crate::workers::threads::with_workers;

    /// Seven rows, of which these cannot be encoded; what each worker has of them, and how many it encoded.
    fn shared(size: usize, broken: &[usize]) -> Vec<(Result<Vec<usize>, String>, usize)> {
        with_workers(size, |workers| {
            let mut encoded = 0;
            let mut encode = |share: Share, dataset: &mut Dataset| {
                let rows = share.range(7);
                if let Some(row) = rows.clone().find(|row| broken.contains(row)) {
                    return Err(data::Error::Empty { file: format!("row {row}").into() });
                }
                encoded += rows.len();
                let example = |line: usize| EncodedExample {
                    line,
                    encoded: Encoded::from(vec![line as u32]),
                    target: ExampleTarget::None,
                    spans: Vec::new(),
                    lost_targets: 0,
                };
                dataset.add(Path::new("a.csv"), &rows.map(example).collect::<Vec<_>>());
                Ok(())
            };
            let examples = encoded_by_all(workers, &mut encode).map_err(|error| error.to_string());
            (examples.map(|examples| examples.iter().map(|example| example.line).collect()), encoded)
        })
    }

    #[test]
    fn workers_encode_a_share_each_and_have_all_rows_in_their_order() {
        for size in [2, 3, 9] {
            let found = shared(size, &[]);
            assert!(found.iter().all(|(lines, _)| *lines == Ok((0..7).collect())), "{found:?}");
            assert_eq!(found.iter().map(|(_, encoded)| encoded).sum::<usize>(), 7);
            assert!(found.iter().all(|(_, encoded)| *encoded <= 7_usize.div_ceil(size)));
        }
    }

    #[test]
    fn the_first_row_that_cannot_be_encoded_is_the_error_of_all() {
        for size in [2, 3, 9] {
            let found = shared(size, &[6, 4, 5]);
            assert!(found.iter().all(|(lines, _)| *lines == Err("row 4 holds no rows".to_string())), "{found:?}");
        }
    }
}
