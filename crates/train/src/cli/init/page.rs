//! The configuration as a page: `page.toml` filled in. Every value is written by the TOML library, and no text of the
//! data can end a comment.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use super::draft::Draft;
use super::settings::Settings;
use super::{Base, Look, Target};
use crate::cli::{Failure, plan};
use crate::output::{counted, thousands};
use data::ColumnNames;
use tasks::{Classes, Use};

const WIDTH: usize = 120;

#[derive(Serialize)]
pub(super) struct Page {
    title: String,
    findings: Vec<String>,
    run: String,
    embedded: bool,
    recommended: Option<String>,
    model: String,
    task: String,
    masked: bool,
    writes: bool,
    labels: Option<Vec<String>>,
    labels_because: &'static str,
    labels_by_default: &'static str,
    train: String,
    valid: Option<String>,
    valid_fraction: f64,
    columns: ColumnNames,
    classes: Option<String>,
    /// Each row has one class, by which rows are put aside.
    one_class: bool,
    lengths: String,
    max_length: usize,
    steps: String,
    epochs: usize,
    batch_size: usize,
    learning_rate: Option<String>,
    imbalanced: bool,
    patience: usize,
}

impl Page {
    pub(super) fn new(
        target: &Target,
        look: &Look<'_>,
        base: &Base,
        draft: &Draft,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        let (plan, name) = (&draft.plan, look.file.file_name().unwrap_or_default().to_string_lossy());
        let own_labels = look.task.usage == Use::Predict && plan.pretrained.labels()?.is_some();
        let classes = plan::classes_and_baseline(plan);
        let one_class = look.task.classes == Classes::One;
        let recommended = base.recommended.map(|because| {
            let language = look.language().0.name();
            format!("Recommended, since none was named: {because}. Language of the texts: {language}.")
        });
        // An id of the Hub is no path.
        let model = match base.written == base.directory {
            true => target.path(&base.written)?,
            false => base.written.display().to_string(),
        };
        Ok(Self {
            title: format!("{name}: {}.", counted(look.profile.rows, "row", "rows")),
            findings: draft.findings().map(|finding| target.shortened(&plan::with_advice(finding))).collect(),
            run: target.run.clone(),
            embedded: base.embedded,
            recommended,
            model,
            task: look.task.to_string(),
            masked: look.task.usage == Use::Score,
            writes: look.task.usage == Use::Generate,
            labels: draft.labels.clone(),
            labels_because: match own_labels {
                true => {
                    "The classes of the data: the model has a head for others, in whose place a new one is trained."
                }
                false => "The classes of the data, listed because they do not start at 0.",
            },
            labels_by_default: if own_labels { "the model's own" } else { "those of the data" },
            train: target.path(&look.file)?,
            valid: draft.valid.as_deref().map(|valid| target.path(valid)).transpose()?,
            valid_fraction: plan.config.data.valid_fraction,
            columns: look.columns.clone(),
            classes: classes.map(|classes| match one_class {
                true => format!("Classes and their training rows: {classes}."),
                false => format!("Classes and how often the training data has each: {classes}."),
            }),
            one_class,
            lengths: lengths(settings),
            max_length: settings.max_length,
            steps: steps(settings, plan.train.len()),
            epochs: settings.epochs,
            batch_size: settings.batch_size,
            learning_rate: settings.learning_rate.map(|rate| format!("{rate:e}")),
            imbalanced: draft.is_imbalanced() && settings.patience > 0,
            patience: settings.patience,
        })
    }

    pub(super) fn text(&self) -> Result<String, Failure> {
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        let mut environment = Environment::new();
        // Of the columns those that are not written may be asked for, and nothing else.
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_syntax(syntax.expect("only delimiters can be wrong, and none was changed"));
        environment.add_filter("toml", toml_value);
        environment.add_filter("comment", comment);
        environment
            .render_str(include_str!("page.toml"), Serde(self))
            .map_err(|error| Failure::message(format!("cannot fill in the configuration: {error:#}")))
    }
}

fn lengths(settings: &Settings) -> String {
    let lengths = &settings.lengths;
    let cut = match settings.truncated {
        0 => "none is cut".to_owned(),
        count => format!("{} cut", if count == 1 { "1 is".to_owned() } else { format!("{} are", thousands(count)) }),
    };
    format!(
        "Texts in tokens of this model: half have up to {}, 99 % up to {}, the longest {}; {cut}.",
        lengths.median, lengths.p99, lengths.longest
    )
}

fn steps(settings: &Settings, rows: usize) -> String {
    let (rows, steps) = (counted(rows, "training row", "training rows"), counted(settings.steps(), "step", "steps"));
    format!("{rows}: {steps} in all, {} an epoch.", thousands(settings.steps_per_epoch))
}

#[expect(clippy::needless_pass_by_value, reason = "a filter takes its value so")]
fn toml_value(value: minijinja::Value) -> Result<String, minijinja::Error> {
    let value = toml::Value::try_from(&value);
    value.map(|value| value.to_string()).map_err(|error| {
        minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, "no value of TOML").with_source(error)
    })
}

/// Lines that begin with `# `, broken between words; those after the first stand below the text behind `lead`.
#[expect(clippy::needless_pass_by_value, reason = "a filter takes its values so")]
fn comment(text: String, lead: Option<String>) -> String {
    let lead = lead.unwrap_or_default();
    let (mut lines, mut line) = (Vec::new(), format!("# {lead}"));
    let mut is_new = true;
    // A comment of TOML may hold no control characters; a line break would end it.
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !is_new && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut line, format!("# {}", " ".repeat(lead.len()))));
            is_new = true;
        }
        line += if is_new { "" } else { " " };
        line += word;
        is_new = false;
    }
    lines.push(line);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config;

    fn page() -> Page {
        Page {
            title: "train.csv: 3,667 rows.".to_owned(),
            findings: Vec::new(),
            run: "train".to_owned(),
            embedded: false,
            recommended: None,
            model: "models/bert".to_owned(),
            task: "sequence-classification".to_string(),
            masked: false,
            writes: false,
            labels: None,
            labels_because: "Because.",
            labels_by_default: "those of the data",
            train: "train.csv".to_owned(),
            valid: None,
            valid_fraction: 0.1,
            columns: ColumnNames {
                text: Some("sentence".to_owned()),
                label: Some("label".to_owned()),
                ..ColumnNames::default()
            },
            classes: Some("no (10), yes (12)".to_owned()),
            one_class: true,
            lengths: "Lengths.".to_owned(),
            max_length: 64,
            steps: "Steps.".to_owned(),
            epochs: 8,
            batch_size: 16,
            learning_rate: None,
            imbalanced: false,
            patience: 3,
        }
    }

    /// Written to a file and read as `kindling train` reads it.
    fn loaded(page: &Page) -> config::Config {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let text = page.text().unwrap_or_else(|_| panic!("the template has an error"));
        std::fs::create_dir_all(directory.path().join("models/bert")).expect("a directory");
        for (name, text) in [("init.toml", text.as_str()), ("train.csv", ""), ("valid.csv", "")] {
            std::fs::write(directory.path().join(name), text).expect("a file");
        }
        match config::load(std::path::Path::new("init.toml"), &[], directory.path()) {
            Ok(loaded) => loaded.config,
            Err(error) => panic!("{error}\n{text}"),
        }
    }

    #[test]
    fn the_page_loads_as_what_was_chosen() {
        let config = loaded(&page());
        let (data, train) = (&config.data, &config.train);
        assert_eq!(
            (data.columns.text.as_deref(), data.columns.label.as_deref(), data.max_length),
            (Some("sentence"), Some("label"), Some(64))
        );
        assert_eq!((data.valid_fraction, train.epochs, train.batch_size), (0.1, 8, 16));
        assert_eq!((train.learning_rate, &config.model.labels), (3e-4, &None));
        assert_eq!((train.early_stopping_patience, train.best), (3, tasks::metrics::Best::AUTO));
        let mut other = page();
        other.valid = Some("valid.csv".to_owned());
        other.labels = Some(vec!["1".to_owned(), "2".to_owned()]);
        other.learning_rate = Some(format!("{:e}", 3e-3));
        (other.imbalanced, other.patience) = (true, 0);
        let config = loaded(&other);
        assert_eq!((config.train.early_stopping_patience, config.train.best.to_string()), (0, "f1_macro".to_string()));
        assert!(config.data.valid.is_some_and(|valid| valid.iter().all(|file| file.ends_with("valid.csv"))));
        assert_eq!((config.data.valid_fraction, config.train.learning_rate), (0.0, 3e-3));
        assert_eq!(config.model.labels, other.labels);
    }

    #[test]
    fn a_language_model_has_only_keys_of_its_own() {
        let mut page = page();
        (page.task, page.masked) = ("masked-lm".to_string(), true);
        (page.columns.label, page.classes) = (None, None);
        assert_eq!(loaded(&page).model.task.name, "masked-lm");
        (page.task, page.masked, page.writes) = ("causal-lm".to_string(), false, true);
        assert_eq!(loaded(&page).data.columns.text.as_deref(), Some("sentence"));
        let (prompt, completion) = ("{{ question }}\nAnswer:", " {{ answer }}");
        page.columns = ColumnNames {
            prompt_template: Some(prompt.to_owned()),
            completion_template: Some(completion.to_owned()),
            ..ColumnNames::default()
        };
        let data = loaded(&page).data.columns;
        assert_eq!(
            (data.prompt_template.as_deref(), data.completion_template.as_deref()),
            (Some(prompt), Some(completion))
        );
        page.columns = ColumnNames { messages: Some("chat".to_owned()), ..ColumnNames::default() };
        assert_eq!(loaded(&page).data.columns.messages.as_deref(), Some("chat"));
    }

    #[test]
    fn words_with_tags_and_texts_with_entities_have_their_columns() {
        let mut page = page();
        (page.task, page.one_class) = ("token-classification".to_string(), false);
        let name = |name: &str| Some(name.to_owned());
        page.columns = ColumnNames { tokens: name("words"), tags: name("ner"), ..ColumnNames::default() };
        let data = loaded(&page).data.columns;
        assert_eq!((data.tokens.as_deref(), data.tags.as_deref(), data.text), (Some("words"), Some("ner"), None));
        page.columns = ColumnNames { text: name("body"), entities: name("spans"), ..ColumnNames::default() };
        let data = loaded(&page).data.columns;
        assert_eq!((data.text.as_deref(), data.entities.as_deref()), (Some("body"), Some("spans")));
    }

    proptest! {
        #[test]
        fn what_stands_in_the_data_cannot_break_the_file(odd in any::<String>()) {
            let odd = format!("a \"quoted\\\" name\nlabel = \"x\"\u{7}\r{{{{ title }}}}{odd}");
            let mut page = page();
            (page.columns.text, page.columns.label) = (Some(odd.clone()), Some(odd.clone()));
            (page.title, page.classes, page.findings) = (odd.clone(), Some(odd.clone()), vec![odd.clone()]);
            page.labels = Some(vec![odd.clone(), "b".to_owned()]);
            let config = loaded(&page);
            let columns = &config.data.columns;
            prop_assert_eq!((columns.text.as_deref(), columns.label.as_deref()), (Some(&*odd), Some(&*odd)));
            prop_assert_eq!(config.model.labels, page.labels);
        }
    }

    /// A commented line of the template says what a default is, and must not go on saying so when that changes.
    #[test]
    fn every_commented_key_takes_its_value_and_shows_the_default() {
        let text = page().text().unwrap_or_else(|_| panic!("the template has an error"));
        let examples = ["output_dir", "labels", "text_template", "warmup_ratio"];
        let defaults = config::Config::default().to_toml();
        let mut seen = 0;
        for line in text.lines().filter_map(|line| line.strip_prefix("# ")) {
            let Some((key, value)) = line.split_once(" = ").filter(|(key, _)| !key.contains([' ', '"', '`'])) else {
                continue;
            };
            let value = value.split("  #").next().unwrap_or(value).trim();
            seen += 1;
            let default = format!("\n{key} = {value}\n");
            assert!(examples.contains(&key) || format!("\n{defaults}").contains(&default), "{key} = {value}");
        }
        assert!(seen > 12, "{seen}");
    }

    #[test]
    fn long_comments_are_broken_between_words() {
        let broken = comment("word ".repeat(50), Some("- ".to_owned()));
        let lines: Vec<&str> = broken.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("# - word") && lines[1].starts_with("#   word"));
        assert!(lines.iter().all(|line| line.len() <= WIDTH));
    }
}
