//! The methods, one file (or one directory) each. The list below is the only one of them.

mod bitfit;
mod bottleneck;
mod full;
mod ia3;
mod lora;
mod none;

use std::ops::{Deref, Range};
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Int, Tensor};
use kernels::Phase;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::peft::{self, ConfigError, Keys};
use crate::settings::Setting;
use crate::{AdapterMethod, ForwardContext, Layout, Projection};

pub use bitfit::BitFit;
pub use bottleneck::{Bottleneck, BottleneckConfig, Placement};
pub use full::Full;
pub use ia3::{Ia3, Ia3Config};
pub use lora::{Init, Lora, LoraConfig, LoraEmbedding};
pub use none::HeadAlone;

/// One line a method: its module, its variant with the type of its settings, and the layers it builds, if any. A module
/// has `NAME`, `OTHER_NAMES`, `SUMMARY`, `PEFT_TYPE` and `SETTINGS`; its settings are an [`AdapterMethod`] and have `from_peft`; a layer has
/// `forward`, and of linear layers `forward_rows`. A method whose files are not PEFT's names their [`Layout`], and one whose adapters
/// other programs have too those of a [`Foreign`].
macro_rules! methods {
    ($(
        $module:ident: $variant:ident($config:ident)
            $(linear($linear:ident))? $(embedding($embedding:ident))? $(residual($residual:ident))?
            $(layout($layout:path))? $(foreign($foreign:path))?;
    )+) => {
        /// How a model is trained, or was.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "method", rename_all = "lowercase")]
        pub enum Method {
            $($variant(Box<$config>)),+
        }

        impl Method {
            /// As a configuration names them.
            pub const NAMES: &[&str] = &[$($module::NAME),+];

            /// The names, and what to say of each in a list of them, which for some is nothing.
            pub const SUMMARIES: &[(&str, &str)] = &[$(($module::NAME, $module::SUMMARY)),+];

            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $module::NAME),+
                }
            }

            /// The method of this name with its default settings.
            pub fn named(name: &str) -> Option<Self> {
                $(if $module::NAME == name {
                    return Some(Self::$variant(Box::<$config>::default()));
                })+
                None
            }

            /// Of its adapters in PEFT's files; `None` for one that saves whole models.
            pub fn peft_type(&self) -> Option<&'static str> {
                match self {
                    $(Self::$variant(_) => $module::PEFT_TYPE),+
                }
            }

            /// The method of an adapter whose `adapter_config.json` has these keys, which it takes.
            pub(crate) fn from_peft(peft_type: &str, keys: &mut Keys<'_>) -> Result<Option<Self>, ConfigError> {
                $(if $module::PEFT_TYPE == Some(peft_type)
                    && let Some(config) = $config::from_peft(keys)?
                {
                    return Ok(Some(Self::$variant(Box::new(config))));
                })+
                Ok(None)
            }
        }

        impl Deref for Method {
            type Target = dyn AdapterMethod;

            fn deref(&self) -> &Self::Target {
                match self {
                    $(Self::$variant(method) => method.as_ref()),+
                }
            }
        }

        pub(crate) const SETTINGS: &[(&str, &[Setting])] = &[$(($module::NAME, $module::SETTINGS)),+];

        /// By method.
        const OTHER_NAMES: &[(&str, &[OtherName])] = &[$(($module::NAME, $module::OTHER_NAMES)),+];

        /// The `peft_type`s of adapters that can be read.
        pub(crate) const PEFT_TYPES: &[Option<&str>] = &[$($module::PEFT_TYPE),+];

        /// The layouts of files that adapters are read from and written in, PEFT's first.
        pub(crate) static LAYOUTS: &[&Layout] = &[&peft::LAYOUT, $($(&$layout,)?)+];

        /// The files of other programs that are read as PEFT's.
        pub(crate) static FOREIGN: &[Foreign] = &[$($($foreign,)?)+];

        /// What a linear layer carries besides its own weight.
        #[derive(Module, Debug)]
        pub enum Adapter {
            $($($variant($linear),)?)+
        }

        impl Adapter {
            /// `[rows, d_input]` to `[rows, d_output]`; `base` is the operation below.
            pub(crate) fn forward(&self, x: Tensor<2>, base: Projection<'_>, ctx: &ForwardContext) -> Tensor<2> {
                match self {
                    $($(Self::$variant(adapter) => $linear::forward(adapter, x, base, ctx),)?)+
                }
            }

            /// `output`, what `base` gives for `x`, with some rows as the adapter gives them, bit for bit as [`Self::forward`]
            /// does for them alone. No gradient, and no dropout.
            pub(crate) fn forward_rows(
                &self,
                output: Tensor<2>,
                x: &Tensor<2>,
                rows: Range<usize>,
                base: Projection<'_>,
                ctx: &ForwardContext,
            ) -> Tensor<2> {
                match self {
                    $($(Self::$variant(adapter) => $linear::forward_rows(adapter, output, x, rows, base, ctx),)?)+
                }
            }
        }

        /// What a residual connection carries.
        #[derive(Module, Debug)]
        pub enum ResidualAdapter {
            $($($variant($residual),)?)+
        }

        impl ResidualAdapter {
            /// What becomes of the `output` of a sublayer before it is added to `residual`, which the sublayer has read,
            /// `[rows, d]` each; `norm` is what follows their sum.
            pub fn forward(
                &self,
                output: Tensor<2>,
                residual: &Tensor<2>,
                norm: &dyn Fn(Tensor<2>) -> Tensor<2>,
                phase: Phase,
            ) -> Tensor<2> {
                match self {
                    $($(Self::$variant(adapter) => $residual::forward(adapter, output, residual, norm, phase),)?)+
                }
            }
        }

        /// What an embedding carries besides its own table.
        #[derive(Module, Debug)]
        pub enum EmbeddingAdapter {
            $($($variant($embedding),)?)+
        }

        impl EmbeddingAdapter {
            /// The vectors `found` at these indices with what the adapter makes of them, `[tokens, d]`.
            pub(crate) fn forward(&self, found: Tensor<2>, indices: Tensor<1, Int>) -> Tensor<2> {
                match self {
                    $($(Self::$variant(adapter) => $embedding::forward(adapter, found, indices),)?)+
                }
            }
        }
    };
}

methods! {
    lora: Lora(LoraConfig) linear(Lora) embedding(LoraEmbedding) foreign(lora::MLX);
    ia3: Ia3(Ia3Config) linear(Ia3);
    bitfit: BitFit(BitFit);
    bottleneck: Adapter(BottleneckConfig) residual(Bottleneck) layout(bottleneck::LAYOUT);
    full: Full(Full);
    none: None(HeadAlone);
}

/// What stands in a configuration, by its keys.
type Configuration = Map<String, Value>;

/// The files of another program, of an adapter that PEFT has too.
#[derive(Debug)]
pub(crate) struct Foreign {
    pub(crate) program: &'static str,
    pub(crate) tensor_file: &'static str,
    /// The keys that PEFT would have written for these of the configuration at this path; `None` where they are not that program's.
    pub(crate) keys: fn(&Path, &Configuration) -> Option<Configuration>,
    /// The name that PEFT gives to a tensor, and whether that lies the other way round there.
    pub(crate) renamed: fn(&str) -> (String, bool),
}

/// What people call a method, or a variant of one that is a setting here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OtherName {
    /// In small letters, without hyphens; `+` is "plus".
    names: &'static [&'static str],
    /// As its paper calls it.
    title: &'static str,
    /// The key, with its table, and the value as TOML writes it; `None`: the method itself is called so.
    setting: Option<(&'static str, &'static str)>,
}

impl OtherName {
    pub(crate) const fn of(names: &'static [&'static str], title: &'static str) -> Self {
        Self { names, title, setting: None }
    }

    pub(crate) const fn setting(self, key: &'static str, value: &'static str) -> Self {
        Self { setting: Some((key, value)), ..self }
    }
}

/// What a word means that people know as a method and that is none of [`Method::NAMES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// A method, with a setting or without: the key with its table, and the value as TOML writes it.
    As { title: &'static str, method: &'static str, setting: Option<(&'static str, &'static str)> },
    /// There is none such; `near` is the nearest that there is.
    Not { title: &'static str, near: &'static str },
}

/// What there is not, and what comes nearest.
const NOT_SUPPORTED: &[(&[&str], &str, &str)] = &[
    (&["prefixtuning", "prefix"], "prefix tuning", "ia3"),
    (&["prompttuning", "softprompt", "softprompts"], "prompt tuning", "ia3"),
    (&["ptuning", "ptuningv2"], "p-tuning", "ia3"),
    (&["adalora"], "AdaLoRA", "lora"),
    (&["vera"], "VeRA", "lora"),
    (&["loha"], "LoHa", "lora"),
    (&["lokr"], "LoKr", "lora"),
];

impl Default for Method {
    fn default() -> Self {
        Self::Lora(Box::default())
    }
}

impl Method {
    /// Every tensor is trained.
    pub fn full() -> Self {
        Self::Full(Box::default())
    }

    /// What is meant by a word that is no method's name.
    pub fn known_as(word: &str) -> Option<Known> {
        let word = word.to_lowercase().replace('+', "plus").replace(['-', '_', ' ', '(', ')'], "");
        let not = NOT_SUPPORTED.iter().find(|(names, ..)| names.contains(&word.as_str()));
        let of_method = |(method, names): &(&'static str, &'static [OtherName])| {
            let found = names.iter().find(|other| other.names.contains(&word.as_str()))?;
            Some(Known::As { title: found.title, method, setting: found.setting })
        };
        let not = not.map(|(_, title, near)| Known::Not { title, near });
        OTHER_NAMES.iter().find_map(of_method).or(not)
    }

    /// Nothing is trained: the model as its checkpoint has it.
    pub fn frozen() -> Self {
        Self::modules(Vec::new())
    }

    /// These modules alone are trained, each with all below it.
    pub fn modules(modules: Vec<String>) -> Self {
        Self::None(Box::new(HeadAlone::new(modules)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_written_with_the_name_of_their_method() {
        for method in [Method::default(), Method::full(), Method::frozen()] {
            let written = serde_json::to_value(&method).unwrap();
            assert_eq!(written["method"], method.name());
            assert_eq!(serde_json::from_value::<Method>(written).unwrap(), method);
        }
    }

    #[test]
    fn what_people_call_a_method_leads_to_a_method_and_a_setting_that_it_has() {
        for (name, others) in OTHER_NAMES {
            for other in *others {
                let own =
                    |key: &str| SETTINGS.iter().any(|(of, all)| of == name && all.iter().any(|it| it.name == key));
                let is_own = |(key, _): (&str, _)| key.strip_prefix("adapter.").is_none_or(own);
                assert!(other.setting.is_none_or(is_own), "{}", other.title);
            }
        }
        let lora_plus = Known::As { title: "LoRA+", method: "lora", setting: Some(("adapter.lora_plus_ratio", "16")) };
        for word in ["lora+", "LoRA-plus", "loraplus"] {
            assert_eq!(Method::known_as(word), Some(lora_plus), "{word}");
        }
        let ia3 = Known::As { title: "(IA)3", method: "ia3", setting: None };
        assert_eq!(Method::known_as("(IA)3"), Some(ia3));
        let not = Known::Not { title: "prefix tuning", near: "ia3" };
        assert_eq!((Method::known_as("prefix_tuning"), Method::known_as("lorra")), (Some(not), None));
    }

    #[test]
    fn every_key_of_a_method_is_a_field_of_its_settings() {
        for (name, settings) in SETTINGS {
            let method: Method = serde_json::from_value(serde_json::json!({ "method": name })).unwrap();
            let written = serde_json::to_value(&method).unwrap();
            // What has no value is not written.
            // Those with an example may have no value.
            for setting in settings.iter().filter(|setting| setting.example.is_empty()) {
                assert!(written.get(setting.name).is_some(), "{name}: {} is not in {written}", setting.name);
            }
        }
    }
}
