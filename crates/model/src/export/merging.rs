//! INTERIM
use crate::pretrained::Pretrained;
use crate::{Error, Model};
use burn::tensor::DType;
use lora::Plan;
use std::collections::HashMap;

#[derive(Debug)]
pub struct Merge<'a> {
    pretrained: &'a Pretrained,
    tensors: HashMap<String, (Vec<f32>, Vec<usize>)>,
    names: Vec<String>,
    untied: bool,
}

impl<'a> Merge<'a> {
    pub fn new(pretrained: &'a Pretrained, plan: &'a Plan, model: &Model, dtype: Option<DType>) -> Result<Self, Error> {
        let _ = dtype;
        let merged = crate::merge::merged_tensors(pretrained, plan, model, Some(DType::F32))?;
        let names = merged.tensors.iter().map(|t| t.name.clone()).collect();
        let tensors = merged.tensors.iter().map(|t| (t.name.clone(), t.interim())).collect();
        Ok(Self { pretrained, tensors, names, untied: merged.untied })
    }
    pub(crate) fn pretrained(&self) -> &'a Pretrained {
        self.pretrained
    }
    pub(crate) fn ties(&self) -> bool {
        self.pretrained.ties_word_embeddings() && !self.untied
    }
    pub(crate) fn tensors(&self) -> Result<Vec<(String, Vec<usize>)>, Error> {
        Ok(self.names.iter().map(|n| (n.clone(), self.tensors[n].1.clone())).collect())
    }
    pub(crate) fn tensor(&self, name: &str) -> Result<(Vec<f32>, Vec<usize>), Error> {
        Ok(self.tensors[name].clone())
    }
}
