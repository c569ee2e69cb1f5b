//! Which tensors of a language model are one: its word embeddings, its output layer and the bias of that, as `config.json`, the
//! checkpoint and an adapter have them.

use std::collections::HashMap;

use lora::peft::AdapterTensors;

use super::Pretrained;
use crate::Error;
use crate::head::OutputNames;

/// Which tensors of a language model are one.
#[derive(Debug, Default)]
pub(super) struct Ties {
    /// The output layer is the word embeddings once more.
    pub(super) tied: bool,
    /// From tensors to those that are read in their place.
    pub(super) stand_ins: HashMap<String, String>,
    /// Tensors that are one: under the name by which the model asks for it, and under another one.
    pub(super) pairs: Vec<(String, String)>,
}

impl Pretrained {
    /// What the checkpoint says of its output layer goes before what `config.json` says. Transformers does not tie what the
    /// checkpoint has twice with different values, and takes what it has once for both.
    pub(super) fn look_at_ties(&mut self) -> Result<(), Error> {
        let Some(output) = self.variant.vocabulary() else { return Ok(()) };
        self.ties.pairs.clear();
        let (words, weight) = (self.word_embeddings(), format!("{}.weight", output.module));
        if self.ties.tied {
            match (self.find(&words), self.find(&weight)) {
                (Some((checkpoint, _, of_words)), Some((_, _, of_output))) => {
                    self.ties.tied = checkpoint.are_equal(of_words, of_output)?;
                }
                (None, Some(_)) => _ = self.ties.stand_ins.insert(words.clone(), weight.clone()),
                (_, None) => {}
            }
            if !self.ties.tied {
                self.config.set("tie_word_embeddings", false.into());
            }
        }
        if self.ties.tied {
            self.ties.pairs.push((words, weight));
        }
        let Some(owner) = output.bias_of.filter(|owner| *owner != output.module) else { return Ok(()) };
        // The bias that is added is that of the layer, which is tied to that of the module that holds it.
        let (bias, of_layer) = (format!("{owner}.bias"), format!("{}.bias", output.module));
        if self.find(&of_layer).is_some() {
            self.ties.stand_ins.insert(bias.clone(), of_layer.clone());
        }
        self.ties.pairs.push((bias, of_layer));
        Ok(())
    }

    /// Whether the output layer of this language model is its word embeddings once more.
    pub(crate) fn ties_word_embeddings(&self) -> bool {
        self.ties.tied
    }

    /// Whether the output layer reads this tensor too.
    pub(crate) fn is_shared(&self, tensor: &str) -> bool {
        self.ties.tied && tensor == self.word_embeddings()
    }

    /// The names of the output layer of a language model.
    pub(crate) fn output(&self) -> Option<OutputNames> {
        self.variant.vocabulary()
    }

    /// The other name under which a tensor may stand in the checkpoint once more.
    pub(crate) fn twin(&self, tensor: &str) -> Option<&str> {
        let of = |(left, right)| if left == tensor { Some(right) } else { (right == tensor).then_some(left) };
        self.ties.pairs.iter().find_map(|(left, right)| of((left.as_str(), right.as_str())))
    }

    /// The twin of a tensor that is the bias of the output layer.
    pub(crate) fn bias_twin(&self, tensor: &str) -> Option<&str> {
        let (words, twin) = (self.word_embeddings(), self.twin(tensor)?);
        (tensor != words && twin != words).then_some(twin)
    }

    /// A tensor and the name under which it is written once more so that Transformers reads the same: without ties it looks
    /// for the bias of the output layer where the layer is, not where its module has it.
    pub fn written_twice(&self) -> Option<(String, String)> {
        let mut biases = self.ties.pairs.iter().filter(|(name, _)| self.bias_twin(name).is_some());
        biases.next().filter(|_| !self.ties.tied).cloned()
    }

    /// Whether a module is the word embeddings or the output layer of a language model.
    pub fn is_embedding(&self, module: &str) -> bool {
        self.word_embeddings().strip_suffix(".weight") == Some(module)
            || self.variant.vocabulary().is_some_and(|output| output.module == module)
    }

    /// Whether a module is both, or stands for both.
    pub fn is_tied(&self, module: &str) -> bool {
        self.ties.tied && self.is_embedding(module)
    }

    /// The weights of the word embeddings and of the output layer, where these are one.
    pub fn tied_weights(&self) -> Option<[String; 2]> {
        let output = self.variant.vocabulary().filter(|_| self.ties.tied)?;
        Some([self.word_embeddings(), format!("{}.weight", output.module)])
    }

    /// Takes the number of tokens from an adapter that brings word embeddings of its own, with the output layer if there is
    /// one: from then on everything is as if `config.json` said so.
    pub fn adopt_vocabulary(&mut self, adapter: &AdapterTensors) {
        let rows = |module: &str| {
            let own = [format!("{module}.weight"), format!("{module}.base_layer.weight")];
            let (_, shape) = adapter.names().find(|(name, _)| own.iter().any(|own| own == name))?;
            (shape.len() == 2).then(|| shape[0])
        };
        let words = self.word_embeddings();
        let words = words.strip_suffix(".weight").and_then(rows);
        let output = self.variant.vocabulary().map(|output| rows(output.module));
        // Of a masked language model the bias of the output layer has as many rows.
        let has_bias = |output: OutputNames| {
            let own = ["bias", "base_layer.bias"].map(|name| format!("{}.{name}", output.module));
            adapter.names().any(|(name, _)| own.iter().any(|own| own == name))
        };
        if self.variant.vocabulary().is_some_and(|output| output.bias_of.is_some() && !has_bias(output)) {
            return;
        }
        let rows = match (words, output) {
            (Some(words), None | Some(Some(_))) => words,
            (Some(words), Some(None)) if self.ties.tied => words,
            (None, Some(Some(output))) if self.ties.tied => output,
            _ => return,
        };
        if self.vocabulary_size().is_some_and(|known| known != rows) {
            self.config.set("vocab_size", rows.into());
        }
    }
}
