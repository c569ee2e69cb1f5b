//! A decoder as llama.cpp has it: its `llama`, `qwen2`, `qwen3`, `smollm3` and `phi3` are this decoder with other flags.

use gguf::Value;
use kernels::Activation;

use super::{DecoderConfig, Projections, QueryKeyNorm};
use crate::architectures::exports::{GgufModel, GgufModule, Layout, modules};
use crate::config::{Config, ConfigError};

/// How llama.cpp turns the queries and keys of an architecture: `llama_model_rope_type` there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::architectures) enum Turning {
    /// The two coordinates of a pair are neighbours.
    Neighbours,
    /// They are half a head apart, as in Transformers.
    Halves,
}

const MODULES: [(&str, &str); 10] = [
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
    ("model.layers.*.input_layernorm", "blk.*.attn_norm"),
    ("model.layers.*.post_attention_layernorm", "blk.*.ffn_norm"),
    ("model.layers.*.self_attn.o_proj", "blk.*.attn_output"),
    ("model.layers.*.mlp.down_proj", "blk.*.ffn_down"),
    ("model.layers.*.self_attn.q_norm", "blk.*.attn_q_norm"),
    ("model.layers.*.self_attn.k_norm", "blk.*.attn_k_norm"),
    ("model.layers.*.self_attn.v_proj", "blk.*.attn_v"),
];

const JOINED: [(&str, &str); 2] =
    [("model.layers.*.self_attn.qkv_proj", "blk.*.attn_qkv"), ("model.layers.*.mlp.gate_up_proj", "blk.*.ffn_up")];

const APART: [(&str, &str); 4] = [
    ("model.layers.*.self_attn.q_proj", "blk.*.attn_q"),
    ("model.layers.*.self_attn.k_proj", "blk.*.attn_k"),
    ("model.layers.*.mlp.gate_proj", "blk.*.ffn_gate"),
    ("model.layers.*.mlp.up_proj", "blk.*.ffn_up"),
];

/// The model that llama.cpp calls `architecture`.
pub(in crate::architectures) fn gguf(
    config: &Config,
    described: &DecoderConfig,
    (architecture, turning): (&'static str, Turning),
) -> Result<GgufModel, ConfigError> {
    let unlike =
        |message: String| config.wrong(message, "llama.cpp computes it otherwise: this model has no form in GGUF");
    if described.activation != Activation::Silu {
        return Err(unlike(format!(
            "`hidden_act` is not `silu`, which a model of the kind `{architecture}` has in llama.cpp"
        )));
    }
    let rope = described.ropes[0].gguf().map_err(unlike)?;
    if turning == Turning::Neighbours && rope.dimensions != described.d_head {
        return Err(unlike("only a part of each head turns".to_owned()));
    }
    let mut notes = rope.notes;
    let positions = DecoderConfig::read(config)?.1.max_position_embeddings;
    let context = context(described, positions, architecture, &mut notes);
    let number = |value: usize| Value::U32(value as u32);
    let mut settings = vec![
        ("block_count", number(described.layers)),
        ("context_length", number(context)),
        ("embedding_length", number(described.hidden)),
        ("feed_forward_length", number(described.inner)),
        ("attention.head_count", number(described.heads)),
        ("attention.head_count_kv", number(described.kv_heads)),
        ("attention.key_length", number(described.d_head)),
        ("attention.value_length", number(described.d_head)),
        ("attention.layer_norm_rms_epsilon", Value::F32(described.norm.epsilon as f32)),
        ("vocab_size", number(described.vocabulary)),
        ("rope.dimension_count", number(rope.dimensions)),
        ("rope.freq_base", Value::F32(rope.theta as f32)),
    ];
    settings.extend(rope.settings);
    let mut modules = modules(&MODULES);
    match described.projections {
        Projections::Joined => modules.extend(self::modules(&JOINED)),
        Projections::Apart => modules.extend(self::modules(&APART)),
    }
    if described.query_key_norm == QueryKeyNorm::None {
        modules.retain(|it: &GgufModule| !it.name.ends_with("_q_norm") && !it.name.ends_with("_k_norm"));
    }
    let mut model =
        GgufModel { architecture, settings, metadata: Vec::new(), modules, left_out: &[], added: rope.added, notes };
    if turning == Turning::Neighbours {
        model.lay("model.layers.*.self_attn.q_proj", Layout::Interleaved(described.heads));
        model.lay("model.layers.*.self_attn.k_proj", Layout::Interleaved(described.kv_heads));
    }
    Ok(model)
}

/// So many tokens that llama.cpp and Transformers see the same ones.
fn context(described: &DecoderConfig, positions: usize, architecture: &str, notes: &mut Vec<String>) -> usize {
    let Some(window) = described.windows.iter().flatten().min().filter(|window| **window < positions) else {
        return positions;
    };
    notes.push(format!(
        "llama.cpp has no sliding window for models of the kind `{architecture}`: the file says a context of {window} tokens \
         in place of {positions}, beyond which answers would differ"
    ));
    *window
}
