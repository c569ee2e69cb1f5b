//! Bottleneck adapters: the numbers of AdapterHub's `adapters` on models of other cases, and its training curves.

use super::{check_named, training};

fn check(name: &str) {
    check_named(name, str::to_string);
}

#[test]
fn houlsby_adapters_on_bert() {
    check("bert-houlsby");
}

#[test]
fn pfeiffer_adapters_on_bert() {
    check("bert-pfeiffer");
}

#[test]
fn pfeiffer_adapters_on_roberta() {
    check("roberta-pfeiffer");
}

#[test]
fn houlsby_adapters_on_distilbert() {
    check("distilbert-houlsby");
}

#[test]
fn pfeiffer_adapters_on_distilbert() {
    check("distilbert-pfeiffer");
}

#[test]
fn houlsby_adapters_on_electra() {
    check("electra-houlsby");
}

#[test]
fn houlsby_adapters_on_gpt2() {
    check("gpt2-houlsby");
}

#[test]
fn pfeiffer_adapters_on_gpt2_as_a_classifier() {
    check("gpt2-cls-pfeiffer");
}

#[test]
fn houlsby_adapters_on_llama() {
    check("llama-houlsby");
}

#[test]
fn houlsby_adapters_train_as_in_adapters() {
    ["bert-houlsby", "distilbert-houlsby", "gpt2-houlsby"].into_iter().for_each(training::check);
}

#[test]
fn pfeiffer_adapters_train_as_in_adapters() {
    ["bert-pfeiffer", "roberta-pfeiffer", "distilbert-pfeiffer", "gpt2-cls-pfeiffer"]
        .into_iter()
        .for_each(training::check);
}
