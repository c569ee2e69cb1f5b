//! Weights in half precision on a device that may lack them: the same answers and gradients as on the CPU, which keeps each
//! type as it is. On the CPU itself this says that a checkpoint in half precision and one rounded at loading agree.

use burn::module::Module;
use burn::tensor::{DType, Device};
use lora::Plan;
use lora::peft::{AdapterTensors, PeftConfig};
use model::{Frozen, Model, Pretrained, Values};

use super::{Case, Gradients, PROBES, values};
use crate::device::device;
use crate::project::Project;

/// A case of which both the model as it is and a rounded copy of it are at hand.
struct Rounded {
    case: Case,
    project: Project,
}

impl Rounded {
    fn new(dtype: DType) -> Self {
        let project = Project::with_adapter();
        let project = project.tensors("bert/model.safetensors", |tensors| tensors.round(dtype));
        Self { case: Case::open("bert-cls"), project }
    }

    fn load(&self, rounded: bool, frozen: Frozen, device: &Device) -> (Model, Plan, Vec<String>) {
        let stored = self.case.directory.join("model");
        let directory = if rounded { self.project.path("bert") } else { stored };
        let adapter = self.project.path("adapter");
        let file = adapter.join("adapter_config.json");
        let config = PeftConfig::from_json(&file, &std::fs::read_to_string(&file).unwrap()).unwrap();
        let tensors = AdapterTensors::read(&adapter, &config.method).unwrap();
        let plan = Plan::new(config.method, Some(tensors), 0).unwrap();
        let pretrained = Pretrained::open(&directory, self.case.head).unwrap();
        let (model, loaded) = pretrained.load(plan, self.case.labels, frozen, Values::Read, device).unwrap();
        (model, loaded.plan, loaded.notes)
    }

    /// Logits, and the norms of the gradients.
    fn answers(&self, model: &Model, plan: &Plan) -> (Vec<f64>, Vec<f64>) {
        let logits = values(self.case.logits(model, 0..PROBES));
        let gradients = self.case.loss(model).backward();
        let mut found = Gradients { of: &gradients, plan, norms: Vec::new() };
        model.visit(&mut found);
        (logits, found.norms.into_iter().map(|(_, norm)| norm).collect())
    }
}

fn worst(left: &[f64], right: &[f64]) -> f64 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f64::max)
}

fn check(dtype: DType) {
    let rounded = Rounded::new(dtype);
    let (model, plan, notes) = rounded.load(true, Frozen::AsStored, &Device::flex().autodiff());
    assert!(notes.is_empty(), "the CPU has both types: {notes:?}");
    let expected = rounded.answers(&model, &plan);

    let device = device().autodiff();
    for (is_rounded, frozen) in [(true, Frozen::AsStored), (false, Frozen::As(dtype))] {
        let (model, plan, notes) = rounded.load(is_rounded, frozen, &device);
        assert_eq!(notes.is_empty(), device.supports_dtype(dtype), "{notes:?}");
        let found = rounded.answers(&model, &plan);
        let differences = (worst(&found.0, &expected.0), worst(&found.1, &expected.1));
        println!("{dtype:?} {frozen:?}: logits {:.1e}, gradient norms {:.1e}", differences.0, differences.1);
        // Rounded at loading, vectors stay in f32; in the checkpoint they are rounded, too.
        let allowed = if is_rounded { 1e-4 } else { 0.03 };
        assert!(differences.0 <= allowed && differences.1 <= allowed, "{dtype:?} {frozen:?}: {differences:?}");
    }
}

#[test]
fn a_checkpoint_in_bf16_answers_as_on_the_cpu() {
    check(DType::BF16);
}

#[test]
fn a_checkpoint_in_f16_answers_as_on_the_cpu() {
    check(DType::F16);
}
