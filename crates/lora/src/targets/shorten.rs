//! `all-linear` as the names that `adapter_config.json` lists, PEFT's `_find_minimal_target_modules`.

use std::collections::BTreeSet;

use super::path::{suffixes, with_ancestors};
use super::seen::Seen;

/// From this many names on PEFT shortens the list to suffixes (`MIN_TARGET_MODULES_FOR_OPTIMIZATION`).
const SHORTENED_FROM: usize = 20;

/// For each name in turn the shortest suffix that no other module has. What is kept out anyway need not be told apart.
pub(super) fn shorten<'a>(adapted: BTreeSet<&'a str>, seen: &[Seen]) -> BTreeSet<&'a str> {
    if adapted.len() < SHORTENED_FROM {
        return adapted;
    }
    let others: BTreeSet<&str> = seen
        .iter()
        .flat_map(|seen| with_ancestors(&seen.path).filter(move |module| !(seen.kept_out && *module == seen.path)))
        .filter(|module| !adapted.contains(module))
        .flat_map(suffixes)
        .collect();
    let mut in_order: Vec<&str> = adapted.iter().copied().collect();
    in_order.sort_by_cached_key(|path| suffixes(path).collect::<Vec<_>>());
    let mut kept: BTreeSet<&str> = BTreeSet::new();
    for path in in_order {
        if suffixes(path).any(|suffix| kept.contains(suffix)) {
            continue;
        }
        kept.insert(suffixes(path).find(|suffix| !others.contains(suffix)).unwrap_or(path));
    }
    if kept.len() < adapted.len() { kept } else { adapted }
}

#[cfg(test)]
mod tests {
    use crate::config::{Names, Targets};
    use crate::targets::Kind;
    use crate::targets::fixtures::*;

    #[test]
    fn all_linear_is_written_in_full_below_twenty_names() {
        let modules = llama(2);
        let Names::List(written) = run(&config(Targets::AllLinear), &modules).names_written() else { panic!("a list") };
        assert_eq!(written.len(), 14);
        assert_eq!(written[0], "model.layers.0.mlp.down_proj");
    }

    #[test]
    fn all_linear_is_shortened_from_twenty_names_on() {
        assert_eq!(
            run(&config(Targets::AllLinear), &llama(4)).names_written(),
            Names::List(names(&["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]))
        );
        let mut modules = llama(4);
        modules.push(("vision.q_proj".to_owned(), Kind::Other));
        assert_eq!(
            run(&config(Targets::AllLinear), &modules).names_written(),
            Names::List(names(&[
                "down_proj",
                "gate_proj",
                "k_proj",
                "o_proj",
                "self_attn.q_proj",
                "up_proj",
                "v_proj"
            ]))
        );
        // What is kept out by `exclude_modules` need not be told apart.
        let mut config = config(Targets::AllLinear);
        config.exclude_modules = Some(Names::Pattern(r".*layers\.0.*q_proj".to_owned()));
        assert_eq!(
            run(&config, &llama(4)).names_written(),
            Names::List(names(&["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]))
        );
    }

    #[test]
    fn written_names_select_the_same_modules() {
        let mut modules = llama(3);
        modules.extend(few(&[("tower.k_proj", Kind::OutputLinear), ("score.up_proj", Kind::Linear)]));
        let mut config = config(Targets::AllLinear);
        config.modules_to_save = names(&["score"]);
        let all = run(&config, &modules);
        config.target_modules = Targets::Names(all.names_written());
        assert_eq!(run(&config, &modules).matched(), all.matched());
        assert_eq!(all.matched().len(), 21);
    }
}
