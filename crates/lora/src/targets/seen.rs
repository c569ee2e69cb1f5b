//! The modules the loader asked about, and what a name or expression that found none of them could have meant.

use indexmap::IndexSet;
use suggest::module_suggestion;

use super::entry::{Entry, Rule};
use super::path::{ends_in, lies_in, suffixes, with_ancestors};
use super::{Kind, TargetError};

pub(super) const TARGET_MODULES: &str = "target_modules";

#[derive(Debug)]
pub(super) struct Seen {
    pub(super) path: String,
    /// Whether the method adapts modules of its kind, and nothing else is said of this one.
    pub(super) is_adaptable: bool,
    /// By `exclude_modules` or `modules_to_save`, so that a target may name it without adapting it.
    pub(super) kept_out: bool,
    /// Of a classification head, which is trained in full whatever the settings say.
    pub(super) is_of_head: bool,
}

/// The error for an entry that found no module.
pub(super) fn unknown(entry: &Entry, seen: &[Seen]) -> TargetError {
    let (key, text) = (entry.key, entry.text.clone());
    match entry.rule {
        Rule::Name => TargetError::UnknownModule { key, suggestion: nearest(key, &text, seen), name: text },
        Rule::Pattern(_) | Rule::Path(_) => {
            let suggestion = if seen.iter().any(|seen| ends_in(&seen.path, &text)) {
                format!("a string is an expression for the whole path: write [\"{text}\"] or \".*\\.{text}\"")
            } else {
                format!("it must match the whole path; {}", suggested(key, &text, seen))
            };
            TargetError::UnmatchedPattern { key, pattern: text, suggestion }
        }
    }
}

/// The error for a module to be saved that is none of those asked about.
pub(crate) fn unknown_saved(name: &str, asked: &[(String, Kind)]) -> TargetError {
    const KEY: &str = "modules_to_save";
    // It is said of methods without targets.
    let seen = |(path, _): &(String, Kind)| Seen {
        path: path.clone(),
        is_adaptable: false,
        kept_out: false,
        is_of_head: false,
    };
    let seen: Vec<Seen> = asked.iter().map(seen).collect();
    TargetError::UnknownModule { key: KEY, suggestion: nearest(KEY, name, &seen), name: name.to_string() }
}

fn nearest(key: &str, name: &str, seen: &[Seen]) -> String {
    if name.contains(['*', '+', '?', '[', '(', '|', '\\', '^', '$']) {
        return "in a list names are literal; a regular expression is one string, without the list".to_owned();
    }
    let within: IndexSet<&str> =
        candidates(key, seen).filter(|path| lies_in(path, name)).filter_map(|path| suffixes(path).next()).collect();
    if within.is_empty() {
        // A module that is saved in full may hold others.
        let holders = seen.iter().filter(|_| key != TARGET_MODULES).flat_map(|seen| with_ancestors(&seen.path));
        return match suggest::nearest_module(name, holders) {
            Some(near) => format!("did you mean `{near}`?"),
            None => suggested(key, name, seen),
        };
    }
    let within: Vec<&str> = within.into_iter().collect();
    format!("`{name}` only holds others; name those: {}", within.join(", "))
}

/// The nearest of what the entry could have meant, or all of it. A head that is nearer is no target.
fn suggested(key: &str, text: &str, seen: &[Seen]) -> String {
    let suggestion = module_suggestion(text, candidates(key, seen));
    let heads = || seen.iter().filter(|seen| key == TARGET_MODULES && seen.is_of_head).map(|seen| seen.path.as_str());
    let is_candidate = |near: &str| candidates(key, seen).any(|path| path == near || ends_in(path, near));
    let near = match heads().any(|head| lies_in(head, text)) {
        true => Some(text),
        false => suggest::nearest_module(text, candidates(key, seen).chain(heads())).filter(|near| !is_candidate(near)),
    };
    match near {
        Some(near) => {
            format!("`{near}` is of the classification head, which is always trained in full; {suggestion}")
        }
        None => suggestion,
    }
}

/// What an entry under this key could have meant.
fn candidates<'a>(key: &str, seen: &'a [Seen]) -> impl Iterator<Item = &'a str> + use<'a> {
    let targets_only = key == TARGET_MODULES;
    seen.iter().filter(move |seen| seen.is_adaptable || !targets_only).map(|seen| seen.path.as_str())
}

#[cfg(test)]
mod tests {
    use crate::LoraConfig;
    use crate::config::{Names, Targets};
    use crate::targets::Kind;
    use crate::targets::fixtures::*;

    #[test]
    fn a_name_without_a_module_is_refused_with_the_nearest() {
        let (message, help) = refusal(&list(&["qurey", "value"]), &bert());
        assert_eq!(message, "`target_modules`: no module is named `qurey`");
        assert_eq!(help, "did you mean `query`?");
        let known = "known: word_embeddings, query, key, value, dense, classifier";
        assert_eq!(refusal(&list(&["q_proj"]), &bert()).1, known);
        assert_eq!(
            refusal(&list(&["attention.self"]), &bert()).1,
            "`attention.self` only holds others; name those: query, key, value"
        );
        assert_eq!(
            refusal(&list(&[".*query"]), &bert()).1,
            "in a list names are literal; a regular expression is one string, without the list"
        );
    }

    #[test]
    fn an_embedding_is_suggested_where_the_method_adapts_embeddings() {
        let gpt2 = few(&[
            ("transformer.wte", Kind::Embedding),
            ("transformer.wpe", Kind::Embedding),
            ("transformer.h.0.attn.c_attn", Kind::Linear),
        ]);
        assert_eq!(
            refusal(&list(&["wtee"]), &gpt2),
            ("`target_modules`: no module is named `wtee`".to_owned(), "did you mean `wte`?".to_owned())
        );
        assert_eq!(refusal(&list(&["embed_token"]), &llama(1)).1, "did you mean `embed_tokens`?");
        assert_eq!(
            refusal(&list(&["embeddings"]), &bert()).1,
            "`embeddings` only holds others; name those: word_embeddings"
        );
        let dora = LoraConfig { targets: list(&["wtee"]), use_dora: true, ..LoraConfig::default() };
        assert_eq!(refusal(&dora, &gpt2).1, "known: c_attn");
    }

    #[test]
    fn a_pattern_without_a_module_is_refused() {
        let (message, help) = refusal(&pattern("query"), &bert());
        assert_eq!(message, "`target_modules`: no module matches `query`");
        assert_eq!(help, r#"a string is an expression for the whole path: write ["query"] or ".*\.query""#);
        assert_eq!(
            refusal(&pattern(".*q_proj"), &bert()).1,
            "it must match the whole path; known: word_embeddings, query, key, value, dense, classifier"
        );
    }

    #[test]
    fn what_is_kept_out_is_not_suggested_as_a_target() {
        let mut config = list(&["classifer"]);
        config.modules_to_save = names(&["classifier", "score", "pooler"]);
        config.exclude_modules = Some(Names::List(names(&["key"])));
        let known = "known: word_embeddings, query, value, dense";
        let of_head = "`classifier` is of the classification head, which is always trained in full";
        assert_eq!(refusal(&config, &bert()).1, format!("{of_head}; {known}"));
        config.target_modules = Targets::Names(Names::List(names(&["q_proj"])));
        assert_eq!(refusal(&config, &bert()).1, known);
        config.target_modules = Targets::Names(Names::List(names(&["keys"])));
        assert_eq!(refusal(&config, &bert()).1, known);
        config.target_modules = Targets::Names(Names::Pattern("classifer".to_owned()));
        assert_eq!(refusal(&config, &bert()).1, format!("it must match the whole path; {of_head}; {known}"));
        config.target_modules = Targets::Names(Names::List(names(&["qurey"])));
        assert_eq!(refusal(&config, &bert()).1, "did you mean `query`?");

        let roberta = few(&[
            ("roberta.query", Kind::Linear),
            ("classifier.dense", Kind::Linear),
            ("classifier.out_proj", Kind::OutputLinear),
        ]);
        let mut config = list(&["classifier"]);
        config.modules_to_save = names(&["classifier", "score"]);
        assert_eq!(refusal(&config, &roberta).1, format!("{of_head}; known: query"));
    }

    #[test]
    fn everything_else_that_finds_nothing_is_refused() {
        let mut config = list(&["query"]);
        config.modules_to_save = names(&["classifier", "poller"]);
        let (message, help) = refusal(&config, &bert());
        assert_eq!(message, "`modules_to_save`: no module is named `poller`");
        assert_eq!(help, "did you mean `pooler`?");
        config.modules_to_save = names(&["head"]);
        let known = "known: word_embeddings, query, key, value, dense, LayerNorm, classifier";
        assert_eq!(refusal(&config, &bert()).1, known);

        config.exclude_modules = Some(Names::List(names(&["keys"])));
        let (message, help) = refusal(&config, &bert());
        assert_eq!(message, "`exclude_modules`: no module is named `keys`");
        assert_eq!(help, "did you mean `key`?");
    }
}
