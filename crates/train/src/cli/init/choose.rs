//! Which model, where none is named: one that reads what the texts are written in. On a terminal it is asked for, with a
//! recommendation; elsewhere the recommendation is taken, and said.

use std::path::{Path, PathBuf};

use data::Language;
use model::hub::HubId;

use super::{Base, Look, base};
use crate::cli::{Failure, quickstart};
use crate::output::Output;
use tasks::Use;

/// A model of the Hugging Face Hub.
struct Recommended {
    id: &'static str,
    /// What speaks for it.
    because: &'static str,
    size: &'static str,
}

/// `data`: what its columns are taken for as long as no model says more.
pub(super) fn choose(data: &Look<'_>, output: &Output) -> Result<Base, Failure> {
    let writes = data.task.usage == Use::Generate;
    let (language, evidence) = data.language();
    let recommended = recommended(writes, &language);
    output.say(&format!("language     {}: {evidence}", language.name()));
    if output.can_ask() {
        return ask(&recommended, !writes && language == Language::English, output);
    }
    let Recommended { id, because, size } = recommended;
    if !writes && language == Language::English {
        output.say(&format!(
            "model        the small one inside kindling, since none is named: it reads English and needs no network; \
             `--model {id}` ({because}; {size}) learns more"
        ));
        return embedded();
    }
    output.say(&format!("model        {id}, since none is named: {because} ({size}, fetched once)"));
    base(Path::new(id), output).map(|base| Base { recommended: Some(because), ..base }).or_else(|failure| {
        let reason = failure.error.as_deref().map_or_else(String::new, |error| format!(": {error}"));
        if !writes && language == Language::Latin {
            output.warn(&format!("{id} is not used{reason}"));
            output.warn("the small built-in model is used instead, which was pretrained on English only");
            return embedded();
        }
        let message = format!(
            "no model is named, and the one that is recommended for {}, {id}, cannot be used{reason}",
            data.file.display()
        );
        let hint = failure.error.and_then(|error| error.help().map(|help| format!("; {help}"))).unwrap_or_default();
        let named = "name another one that reads these texts: `--model DIR`, or an id of the Hugging Face Hub";
        Err(Failure::usage(message, format!("{named}{hint}")))
    })
}

/// What to take in the place of a model whose tokenizer cannot read the data.
pub(super) fn instead(data: &Look<'_>, base: &Base) -> Option<String> {
    let Recommended { id, because, size } = recommended(data.task.usage == Use::Generate, &data.language().0);
    let is_another = base.written != Path::new(id);
    is_another.then(|| format!("`--model {id}` reads it: {because} ({size})"))
}

/// The model of the quickstart, in the user's cache.
pub(super) fn embedded() -> Result<Base, Failure> {
    let directory = quickstart::unpack()?.join(quickstart::MODEL);
    Ok(Base { written: directory.clone(), directory, embedded: true, writes: false, recommended: None })
}

/// Until something is answered that is a model.
fn ask(recommended: &Recommended, with_embedded: bool, output: &Output) -> Result<Base, Failure> {
    let Recommended { id, because, size } = recommended;
    output.say(&format!("model        1  {id}: {because} ({size}, fetched once)"));
    if with_embedded {
        output.say("             2  the small built-in model: no download, for a first try");
    }
    let choices = if with_embedded { "1, 2" } else { "1" };
    let question = format!("which model? {choices}, a directory, or an id of the Hugging Face Hub [1]: ");
    loop {
        let Some(answer) = output.ask(&question)? else {
            return Err(Failure::usage("no model is named", format!("name one: `--model {id}` is recommended")));
        };
        let chosen = match answer.as_str() {
            "" | "1" => base(Path::new(id), output).map(|base| Base { recommended: Some(because), ..base }),
            "2" if with_embedded => embedded(),
            // What the shell would have done with it.
            path => base(&below_home(path), output),
        };
        match chosen {
            Ok(base) => return Ok(base),
            Err(Failure { error: Some(error), .. }) => output.error(error.as_ref()),
            Err(failure) => return Err(failure),
        }
    }
}

fn below_home(path: &str) -> PathBuf {
    let below = path.strip_prefix("~/").filter(|_| HubId::parse(path).is_none());
    match (below, std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

/// Small models, since they are fetched and trained at once, and of those that read the language the usual one.
fn recommended(writes: bool, language: &Language) -> Recommended {
    let (id, because, size) = match (writes, language) {
        (false, Language::English) => {
            ("distilbert/distilbert-base-uncased", "small and quick, trained on English", "268 MB")
        }
        (false, Language::Chinese) => ("google-bert/bert-base-chinese", "trained on Chinese", "412 MB"),
        (false, Language::Code) => ("FacebookAI/roberta-base", "its vocabulary of bytes has every character", "499 MB"),
        (false, _) => ("FacebookAI/xlm-roberta-base", "trained on a hundred languages", "1.1 GB"),
        (true, Language::Code) => ("Qwen/Qwen2.5-Coder-0.5B-Instruct", "small, trained on code", "988 MB"),
        (true, language) if is_of_qwen2(language) => {
            ("Qwen/Qwen2.5-0.5B-Instruct", "small, writes some thirty languages", "988 MB")
        }
        (true, _) => ("Qwen/Qwen3-0.6B", "small, writes a hundred languages", "1.5 GB"),
    };
    Recommended { id, because, size }
}

/// The languages that the card of Qwen2.5 names.
fn is_of_qwen2(language: &Language) -> bool {
    const NAMES: [&str; 12] = [
        "English",
        "German",
        "French",
        "Spanish",
        "Italian",
        "Portuguese",
        "Vietnamese",
        "Chinese",
        "Japanese",
        "Korean",
        "Thai",
        "Arabic",
    ];
    match language {
        Language::English | Language::Chinese | Language::Japanese | Language::Korean => true,
        Language::European(name) | Language::Script(name) => NAMES.contains(name),
        Language::Several(names) => names.iter().all(|name| NAMES.contains(name)),
        Language::Latin | Language::Unknown => false,
        Language::Code => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recommended_model_reads_the_language() {
        let of = |writes, language| recommended(writes, &language).id;
        assert_eq!(of(false, Language::English), "distilbert/distilbert-base-uncased");
        let multilingual = [
            Language::European("German"),
            Language::Script("Greek"),
            Language::Script("Cyrillic"),
            Language::Several(vec!["English", "German"]),
            Language::Latin,
        ];
        for language in multilingual {
            assert_eq!(of(false, language), "FacebookAI/xlm-roberta-base");
        }
        assert_eq!(of(true, Language::European("German")), "Qwen/Qwen2.5-0.5B-Instruct");
        assert_eq!(of(true, Language::Script("Greek")), "Qwen/Qwen3-0.6B");
        assert_eq!(of(true, Language::Several(vec!["English", "Greek"])), "Qwen/Qwen3-0.6B");
    }
}
