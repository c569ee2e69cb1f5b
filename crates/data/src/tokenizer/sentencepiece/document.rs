//! A SentencePiece model as a `tokenizer.json`. Reference: `SentencePieceExtractor`, `convert_from_spm` of the converters, and
//! `SpmConverter.build_tokenizer_from_spm_proto` of Transformers 5.

use std::collections::HashSet;

use serde_json::{Value, json};
use tokenizers::normalizers::Precompiled;

use super::{Algorithm, Kind, Model, Piece};
use crate::tokenizer::class::Class;
use crate::tokenizer::config::Config;

/// What SentencePiece writes for a space.
const SPACE: &str = "\u{2581}";

/// The pieces that XLM-RoBERTa's own four take the place of: fairseq numbered them otherwise.
const REPLACED: usize = 3;

/// The vocabulary as the tokenizer's class has it; for the backend's own class, which has no other source, all of the tokenizer.
pub(super) fn of(model: &Model, table: Option<Precompiled>, config: &mut Config) -> tokenizers::Result<Value> {
    let table = table.map(serde_json::to_value).transpose()?;
    let scored = |pieces: &[Piece]| -> Vec<Value> {
        pieces.iter().map(|piece| json!([piece.piece(), f64::from(piece.score())])).collect()
    };
    let unscored = |texts: Vec<String>| texts.into_iter().map(|text| json!([text, 0.0]));
    let vocabulary = match config.class {
        Class::T5 => {
            let sentinels = unscored(config.extra_ids().into_iter().rev().collect());
            json!({"type": "Unigram", "vocab": scored(&model.pieces).into_iter().chain(sentinels).collect::<Value>()})
        }
        Class::XlmRoberta => {
            let named = |roles: &[&str]| unscored(roles.iter().filter_map(|role| config.text(role)).collect());
            let own = named(&["bos_token", "pad_token", "eos_token", "unk_token"]);
            let pieces = scored(model.pieces.get(REPLACED..).unwrap_or_default());
            json!({"type": "Unigram", "vocab": own.chain(pieces).chain(named(&["mask_token"])).collect::<Value>()})
        }
        Class::Llama => {
            let tokens: Vec<&str> = model.pieces.iter().map(Piece::piece).collect();
            json!({"type": "BPE", "vocab": ids(&tokens), "merges": merges(&tokens)})
        }
        Class::AsSaved => return Ok(whole(model, table, config)),
        _ => json!({"type": "Unigram", "unk_id": model.trainer().unk_id(), "vocab": scored(&model.pieces)}),
    };
    Ok(json!({"version": "1.0", "added_tokens": [], "normalizer": table, "model": vocabulary}))
}

/// A tokenizer that does what SentencePiece does by the settings in the file.
fn whole(model: &Model, table: Option<Value>, config: &mut Config) -> Value {
    let (trainer, spec) = (model.trainer(), model.normalizer());
    let (prefix, bytes) = (spec.add_dummy_prefix(), trainer.byte_fallback());
    let named = [
        ("bos_token", trainer.bos_id(), trainer.bos_piece()),
        ("eos_token", trainer.eos_id(), trainer.eos_piece()),
        ("unk_token", trainer.unk_id(), trainer.unk_piece()),
    ];
    named.into_iter().filter(|(_, id, _)| *id >= 0).for_each(|(role, _, text)| config.set_default(role, text));
    config.added_match_raw = prefix;
    // Before each part of a text that added tokens divide, or before the first alone.
    let before_each = config.tokenizer.get("legacy").is_none_or(|legacy| *legacy == true);

    let is_bpe = trainer.model_type() == Algorithm::Bpe;
    let tokens: Vec<String> = if is_bpe { renamed(model, config) } else { texts(model) };
    let of_kind = |kind: Kind| {
        let all = tokens.iter().zip(&model.pieces);
        all.filter(move |(_, piece)| piece.r#type() == kind).map(|(token, piece)| (token.as_str(), piece.score()))
    };
    let mut user_defined: Vec<&str> = of_kind(Kind::UserDefined).map(|(token, _)| token).collect();
    let vocabulary = if is_bpe {
        let mut normal: Vec<(&str, f32)> = of_kind(Kind::Normal).collect();
        normal.sort_by(|a, b| b.1.total_cmp(&a.1));
        let normal: Vec<&str> = normal.into_iter().map(|(token, _)| token).collect();
        json!({
            "type": "BPE", "unk_token": trainer.unk_piece(), "fuse_unk": true, "byte_fallback": bytes,
            "ignore_merges": !user_defined.is_empty(), "vocab": ids(&tokens), "merges": merges(&normal),
        })
    } else {
        let scored = model.pieces.iter().map(|piece| json!([piece.piece(), f64::from(piece.score())]));
        json!({
            "type": "Unigram", "unk_id": trainer.unk_id(), "byte_fallback": bytes, "vocab": scored.collect::<Value>(),
        })
    };

    let replace = |kind: &str, pattern: &str, content: &str| json!({"type": "Replace", "pattern": {kind: pattern}, "content": content});
    let mut normalizers: Vec<Value> = table.into_iter().collect();
    if spec.remove_extra_whitespaces() {
        normalizers.extend([replace("Regex", r"\A +| +\z", ""), replace("Regex", " {2,}", " ")]);
    }
    if spec.escape_whitespaces() {
        normalizers.push(replace("String", " ", SPACE));
    }
    if prefix && before_each {
        // Metaspace puts none before a text that begins with one, SentencePiece does.
        normalizers.push(replace("Regex", r"\A▁", "▁▁"));
    }
    let mut pre_tokenizers = Vec::new();
    if prefix {
        let scheme = if before_each { "always" } else { "first" };
        pre_tokenizers
            .push(json!({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": false}));
    }
    if !user_defined.is_empty() {
        user_defined.sort_by_key(|token| std::cmp::Reverse(token.chars().count()));
        let any = user_defined.into_iter().map(fancy_regex::escape).collect::<Vec<_>>().join("|");
        pre_tokenizers
            .push(json!({"type": "Split", "pattern": {"Regex": any}, "behavior": "Isolated", "invert": false}));
    }
    let mut decoders = vec![replace("String", SPACE, " ")];
    decoders.extend(bytes.then(|| json!({"type": "ByteFallback"})));
    decoders.extend((bytes || prefix).then(|| json!({"type": "Fuse"})));
    decoders.extend(prefix.then(|| json!({"type": "Strip", "content": " ", "start": 1, "stop": 0})));
    json!({
        "version": "1.0", "added_tokens": [], "model": vocabulary,
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": (!pre_tokenizers.is_empty()).then(|| json!({"type": "Sequence", "pretokenizers": pre_tokenizers})),
        "decoder": {"type": "Sequence", "decoders": decoders},
    })
}

fn texts(model: &Model) -> Vec<String> {
    model.pieces.iter().map(|piece| piece.piece().to_owned()).collect()
}

/// The pieces, those that `added_tokens_decoder` calls otherwise under its name: Phi-3's placeholders, for example.
fn renamed(model: &Model, config: &Config) -> Vec<String> {
    let name = |id: usize| config.tokenizer["added_tokens_decoder"][id.to_string()]["content"].as_str();
    let pieces = || model.pieces.iter().map(Piece::piece).enumerate();
    let kept: HashSet<&str> = pieces().filter(|(id, _)| name(*id).is_none()).map(|(_, piece)| piece).collect();
    pieces().map(|(id, piece)| name(id).filter(|name| !kept.contains(name)).unwrap_or(piece).to_owned()).collect()
}

fn ids<T: AsRef<str>>(tokens: &[T]) -> Value {
    Value::Object(tokens.iter().zip(0..).map(|(token, id): (&T, u32)| (token.as_ref().to_owned(), id.into())).collect())
}

/// SentencePiece merges to the piece that comes first among `ranked`, whatever its two parts are.
fn merges(ranked: &[&str]) -> Value {
    let known: HashSet<&str> = ranked.iter().copied().collect();
    let halves = ranked.iter().flat_map(|token| token.char_indices().skip(1).map(|(at, _)| token.split_at(at)));
    halves.filter(|(a, b)| known.contains(a) && known.contains(b)).map(|(a, b)| json!([a, b])).collect()
}
