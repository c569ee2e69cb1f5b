//! Which programs can load an adapter, by its two files: what they read of them, what they refuse, and what they pass over that
//! changes the result.

use serde_json::Value;

use super::{AdapterTensors, PeftConfig};

/// A program that loads adapters, and what stands against this one in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub name: &'static str,
    /// Empty if it loads it and computes what it was trained to.
    pub obstacles: Vec<String>,
}

/// As of PEFT 0.21, vLLM 0.11 (`lora/peft_helper.py`) and llama.cpp's `convert_lora_to_gguf.py`.
/// `is_tied` tells of a module whether it is word embeddings and output layer at once, as far as the base is known.
pub fn programs(config: &PeftConfig, tensors: &AdapterTensors, is_tied: impl Fn(&str) -> bool) -> Vec<Program> {
    if let Some(program) = tensors.program() {
        return with_files_of(program);
    }
    let facts = Facts::new(config, tensors, is_tied);
    vec![
        Program { name: "PEFT", obstacles: facts.of_peft() },
        Program { name: "vLLM", obstacles: facts.of_vllm() },
        Program { name: "llama.cpp", obstacles: facts.of_llama_cpp() },
    ]
}

/// For an adapter in the files of one program, which no other reads.
fn with_files_of(own: &'static str) -> Vec<Program> {
    let other = |name| Program { name, obstacles: vec![format!("it does not read the files of {own}")] };
    let own = Program { name: own, obstacles: Vec::new() };
    [own].into_iter().chain(["PEFT", "vLLM", "llama.cpp"].map(other)).collect()
}

struct Facts<'a> {
    config: &'a PeftConfig,
    /// `adapter_config.json` as these programs read it.
    keys: serde_json::Map<String, Value>,
    /// Each low-rank update's rank and scale.
    low_rank: Vec<(usize, f64)>,
    has_other_updates: bool,
    /// What updates of a low rank do beyond the sum of their factors.
    beyond: Option<&'static str>,
    /// The first tensor that is no part of an update, such as a head's.
    other_tensor: Option<String>,
    /// The first module with factors that is word embeddings and output layer at once.
    tied: Option<String>,
}

impl<'a> Facts<'a> {
    fn new(config: &'a PeftConfig, tensors: &AdapterTensors, is_tied: impl Fn(&str) -> bool) -> Self {
        let (mut low_rank, mut has_other_updates, mut beyond, mut tied) = (Vec::new(), false, None, None);
        for update in tensors.updates() {
            let Some(factors) = update.form.thin_factors() else {
                has_other_updates = true;
                continue;
            };
            low_rank.push((tensors.shape(factors.a).map_or(0, |shape| shape[0]), factors.scale));
            beyond = beyond.or(factors.beyond.map(|beyond| beyond.method));
            tied = tied.or_else(|| is_tied(&update.module).then(|| update.module.clone()));
        }
        let is_other = |name: &&str| config.method.module_of(name).is_none();
        let mut others = tensors.names().map(|(name, _)| name).filter(is_other);
        Self {
            config,
            keys: config.method.to_peft(false),
            low_rank,
            has_other_updates,
            beyond,
            other_tensor: others.next().map(str::to_owned),
            tied,
        }
    }

    fn of_peft(&self) -> Vec<String> {
        let unknown = self.config.method.peft_type().is_none();
        unknown.then(|| "PEFT has no such method".to_string()).into_iter().collect()
    }

    fn of_vllm(&self) -> Vec<String> {
        let mut found = self.of_lora();
        match &self.other_tensor {
            _ if !self.config.method.modules_to_save().is_empty() => {
                found.push("it loads no modules_to_save".to_string());
            }
            Some(tensor) => found.push(format!("it loads no heads and no biases (`{tensor}`)")),
            None => {}
        }
        if self.config.task_type.as_deref().is_some_and(|task| task != "CAUSAL_LM") {
            found.push("it takes adapters of causal language models alone".to_string());
        }
        let r = self.number("r");
        let of_config = self.number("lora_alpha") / if self.is_on("use_rslora") { r.sqrt() } else { r };
        if self.low_rank.iter().any(|(_, scale)| !is_same(*scale, of_config)) {
            found
                .push("it knows no rank_pattern and alpha_pattern: some modules would be scaled otherwise".to_string());
        }
        found
    }

    fn of_llama_cpp(&self) -> Vec<String> {
        let mut found = self.of_lora();
        if let Some(tensor) = &self.other_tensor {
            found.push(format!("it loads no heads and no biases (`{tensor}`)"));
        }
        if let Some(module) = &self.tied {
            found.push(format!("it has no update of `{module}`, which is the output layer and the word embeddings"));
        }
        // It divides alpha by the rank of each tensor.
        let alpha = self.number("lora_alpha");
        if self.low_rank.iter().any(|(rank, scale)| !is_same(*scale * *rank as f64, alpha)) {
            let keys = if self.is_on("use_rslora") { "use_rslora" } else { "alpha_pattern" };
            found.push(format!("its converter passes over {keys}: some modules would be scaled otherwise"));
        }
        found
    }

    /// What both servers of LoRA ask for.
    fn of_lora(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(method) = self.beyond {
            found.push(format!("it knows no {method}"));
        }
        if self.has_other_updates || self.low_rank.is_empty() {
            found.push("it knows no other method than LoRA".to_string());
        }
        found.extend(self.config.method.only_in_peft());
        found
    }

    /// A key of LoRA's, which other methods do not have.
    fn is_on(&self, key: &str) -> bool {
        self.keys.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    fn number(&self, key: &str) -> f64 {
        self.keys.get(key).and_then(Value::as_f64).unwrap_or_default()
    }
}

fn is_same(left: f64, right: f64) -> bool {
    (left - right).abs() <= 1e-6 * left.abs().max(right.abs())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::TensorData;

    use super::*;
    use crate::peft::{LAYOUT, TENSOR_FILE, to_bytes};

    fn obstacles(keys: &str, rank: usize, others: &[(&str, &[usize])]) -> [Vec<String>; 3] {
        obstacles_beside(|_| false, keys, rank, others)
    }

    /// An adapter with these keys beside `r`, 2, and `lora_alpha`, 4, on two modules, of ranks 2 and `rank`.
    fn obstacles_beside(
        is_tied: impl Fn(&str) -> bool,
        keys: &str,
        rank: usize,
        others: &[(&str, &[usize])],
    ) -> [Vec<String>; 3] {
        let text = format!(r#"{{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q", "v"]{keys}}}"#);
        let config = PeftConfig::from_json(Path::new("adapter_config.json"), &text).expect("a valid configuration");
        let directory = tempfile::tempdir().unwrap();
        let data = |name: &str, shape: &[usize]| (name.to_string(), TensorData::zeros::<f32, _>(shape.to_vec()));
        let mut tensors = vec![
            data("q.lora_A.weight", &[2, 3]),
            data("q.lora_B.weight", &[5, 2]),
            data("v.lora_A.weight", &[rank, 3]),
            data("v.lora_B.weight", &[5, rank]),
        ];
        tensors.extend(others.iter().map(|(name, shape)| data(name, shape)));
        std::fs::write(directory.path().join(TENSOR_FILE), to_bytes(tensors.iter(), &LAYOUT).unwrap()).unwrap();
        let tensors = AdapterTensors::read(directory.path(), &config.method).unwrap();
        let programs: [Program; 3] = programs(&config, &tensors, is_tied).try_into().unwrap();
        assert_eq!(programs.each_ref().map(|program| program.name), ["PEFT", "vLLM", "llama.cpp"]);
        programs.map(|program| program.obstacles)
    }

    fn none() -> Vec<String> {
        Vec::new()
    }

    fn one(text: &str) -> Vec<String> {
        vec![text.to_string()]
    }

    #[test]
    fn a_plain_adapter_of_a_language_model_is_loaded_by_all() {
        assert_eq!(obstacles(r#", "task_type": "CAUSAL_LM""#, 2, &[]), [none(), none(), none()]);
    }

    #[test]
    fn factors_on_a_tied_output_layer_are_not_of_llama_cpp() {
        let tied = one("it has no update of `v`, which is the output layer and the word embeddings");
        let found = obstacles_beside(|module| module == "v", r#", "task_type": "CAUSAL_LM""#, 2, &[]);
        assert_eq!(found, [none(), none(), tied]);
    }

    #[test]
    fn a_classifier_is_pefts_alone() {
        let keys = r#", "task_type": "SEQ_CLS", "modules_to_save": ["classifier"]"#;
        let of_vllm = ["it loads no modules_to_save", "it takes adapters of causal language models alone"];
        assert_eq!(
            obstacles(keys, 2, &[("classifier.bias", &[3])]),
            [none(), of_vllm.map(str::to_string).to_vec(), one("it loads no heads and no biases (`classifier.bias`)")]
        );
    }

    #[test]
    fn scalings_that_a_program_does_not_read_are_told() {
        let patterns = "it knows no rank_pattern and alpha_pattern: some modules would be scaled otherwise";
        let keys = r#", "rank_pattern": {"v": 3}"#;
        assert_eq!(obstacles(keys, 3, &[]), [none(), one(patterns), none()]);
        let keys = r#", "rank_pattern": {"v": 3}, "alpha_pattern": {"v": 6}"#;
        let of_converter = "its converter passes over alpha_pattern: some modules would be scaled otherwise";
        assert_eq!(obstacles(keys, 3, &[]), [none(), none(), one(of_converter)]);
        let of_converter = "its converter passes over use_rslora: some modules would be scaled otherwise";
        assert_eq!(obstacles(r#", "use_rslora": true"#, 2, &[]), [none(), none(), one(of_converter)]);
    }

    #[test]
    fn another_method_is_pefts_alone() {
        let text = r#"{"peft_type": "IA3", "target_modules": ["q"], "feedforward_modules": []}"#;
        let config = PeftConfig::from_json(Path::new("adapter_config.json"), text).expect("a valid configuration");
        let directory = tempfile::tempdir().unwrap();
        let vector = ("q.ia3_l".to_string(), TensorData::zeros::<f32, _>([5, 1]));
        std::fs::write(directory.path().join(TENSOR_FILE), to_bytes([vector].iter(), &LAYOUT).unwrap()).unwrap();
        let tensors = AdapterTensors::read(directory.path(), &config.method).unwrap();
        let found = programs(&config, &tensors, |_| false);
        assert!(found[0].obstacles.is_empty());
        assert_eq!(found[1].obstacles, one("it knows no other method than LoRA"));
        assert_eq!(found[2].obstacles, found[1].obstacles);
    }

    #[test]
    fn biases_lengths_and_starts_are_told() {
        let [peft, vllm, _] = obstacles(r#", "bias": "all""#, 2, &[("q.base_layer.bias", &[5])]);
        assert_eq!((peft, vllm), (none(), one("it loads no heads and no biases (`q.base_layer.bias`)")));
        let lengths: [(&str, &[usize]); 2] = [("q.lora_magnitude_vector", &[5]), ("v.lora_magnitude_vector", &[5])];
        let dora = || one("it knows no DoRA");
        assert_eq!(obstacles(r#", "use_dora": true"#, 2, &lengths), [none(), dora(), dora()]);
        let start = || one("it does not take the start out of the base (init_lora_weights: \"pissa\")");
        assert_eq!(obstacles(r#", "init_lora_weights": "pissa""#, 2, &[]), [none(), start(), start()]);
    }
}
