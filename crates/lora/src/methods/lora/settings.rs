//! The settings of LoRA as a configuration has them: names, what they take, and what they say of themselves.

use std::ops::Bound;

use super::{Init, LoraConfig};
use crate::TargetError;
use crate::config::BiasMode;
use crate::settings::{EXCLUDE_MODULES, MODULES_TO_SAVE, Setting, SettingKind, TARGET_MODULES};

pub(in crate::methods) const SETTINGS: &[Setting] = &[
    Setting::new("r", SettingKind::Count(1), "Rank"),
    Setting::new(
        "alpha",
        SettingKind::Number(Bound::Excluded(0.0), Bound::Unbounded),
        "The update is scaled by `alpha / r`; PEFT's `lora_alpha`",
    )
    .called("lora_alpha"),
    Setting::new(
        "dropout",
        SettingKind::Number(Bound::Included(0.0), Bound::Excluded(1.0)),
        "Probability of dropout on the adapter's input; PEFT's `lora_dropout`",
    )
    .called("lora_dropout"),
    Setting::new(
        "bias",
        SettingKind::Word(BiasMode::NAMES),
        "Biases that are trained as well: none, all of the model, or those of the targets",
    ),
    TARGET_MODULES,
    EXCLUDE_MODULES,
    Setting::new(
        "layers",
        SettingKind::Layers,
        "Layers to adapt, counted from 0; needs a list of names (or `auto`) as `target_modules`; without it all; PEFT's `layers_to_transform`",
    )
    .such_as("[0, 1]")
    .called("layers_to_transform"),
    Setting::new(
        "layers_pattern",
        SettingKind::Names,
        "Name of the list of layers, where it is not the first number in a path; needs `layers`",
    )
    .such_as("[\"layer\"]"),
    MODULES_TO_SAVE,
    Setting::new(
        "rank_pattern",
        SettingKind::Ranks,
        "Ranks of some targets, by regular expressions that match a path or its last segments; two that match the same target and disagree are an error",
    )
    .such_as("{ query = 16 }"),
    Setting::new("alpha_pattern", SettingKind::Alphas, "`alpha` of some targets, likewise").such_as("{ query = 64.0 }"),
    Setting::new("use_rslora", SettingKind::Flag, "Scale by `alpha / sqrt(r)`"),
    Setting::new(
        "use_dora",
        SettingKind::Flag,
        "DoRA: LoRA changes the direction of each row of a weight, and a trained vector its length; on linear layers",
    ),
    Setting::new(
        "init",
        SettingKind::Word(Init::NAMES),
        "Initial values. `default`: A Kaiming uniform, B zero; `gaussian`: A normal with standard deviation `1 / r`, B zero; `pissa`: the `r` largest singular triplets of the weight, which are taken out of the frozen base; `pissa_niter_N`: the same approximately and faster, by N subspace iterations, 100 at most, from a random start; `olora`: from the weight's QR decomposition, likewise; PEFT's `init_lora_weights`",
    )
    .called("init_lora_weights"),
    Setting::new(
        "lora_plus_ratio",
        SettingKind::Number(Bound::Included(0.0), Bound::Unbounded),
        "LoRA+: the learning rate of the B matrices, and of biases and other vectors, over that of the rest, in groups as PEFT's `create_loraplus_optimizer` makes them; 0 is off",
    ),
    Setting::new(
        "lora_plus_lr_embedding",
        SettingKind::Number(Bound::Included(0.0), Bound::Unbounded),
        "LoRA+: the learning rate of adapters on embeddings, in place of `train.learning_rate`; PEFT's `loraplus_lr_embedding`; needs `lora_plus_ratio`",
    )
    .needing("lora_plus_ratio", "16"),
];

impl LoraConfig {
    /// # Errors
    /// A number out of its range, or an expression that is none.
    pub(super) fn check_numbers(&self) -> Result<(), TargetError> {
        const RANK: &str = "a rank (1 or more)";
        const FINITE: &str = "a finite number";
        let number = |key: String, found: f64, expected| Err(TargetError::Number { key, found, expected });
        if self.r == 0 {
            return number("r".to_owned(), 0.0, RANK);
        }
        if !self.alpha.is_finite() {
            return number("alpha".to_owned(), self.alpha, FINITE);
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return number("dropout".to_owned(), self.dropout, "a probability below 1");
        }
        if let Some((key, _)) = self.rank_pattern.iter().find(|(_, rank)| **rank == 0) {
            return number(format!("rank_pattern.\"{key}\""), 0.0, RANK);
        }
        if let Some((key, alpha)) = self.alpha_pattern.iter().find(|(_, alpha)| !alpha.is_finite()) {
            return number(format!("alpha_pattern.\"{key}\""), *alpha, FINITE);
        }
        self.ranks().and(self.alphas()).map(drop)
    }
}
