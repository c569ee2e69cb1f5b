//! A mixture of experts: a router gives each token to some of many feed-forward networks.

use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData, activation::softmax};
use lora::{ForwardContext, Linear};

use super::config::{DecoderConfig, ExpertsConfig};
use super::feed_forward::Mlp;
use crate::Error;
use crate::loader::{Bias, Loader};

/// `Qwen3MoeSparseMoeBlock`
#[derive(Module, Debug)]
pub(super) struct SparseMoe {
    /// The router.
    gate: Linear,
    experts: Vec<Mlp>,
    per_token: usize,
    renormalised: bool,
}

impl SparseMoe {
    pub(super) fn load(loader: &Loader<'_>, config: &DecoderConfig, of: &ExpertsConfig) -> Result<Self, Error> {
        let share = of.per_token as f64 / of.count as f64;
        let experts = loader.at("experts");
        loader.at_joined("gate", 1.0);
        Ok(Self {
            gate: loader.linear("gate", config.hidden, of.count, Bias::No)?,
            experts: (0..of.count)
                .map(|expert| Mlp::load(&experts.at_joined(&expert.to_string(), share), config, of.inner))
                .collect::<Result<_, _>>()?,
            per_token: of.per_token,
            renormalised: of.renormalised,
        })
    }

    /// `[rows, hidden]` to the same: of each row what its experts make of it, weighted. The experts are chosen on the host.
    pub(super) fn forward(&self, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let (device, [rows, hidden]) = (x.device(), x.dims());
        let indices = |of: &[usize]| {
            let of: Vec<i32> = of.iter().map(|index| *index as i32).collect();
            Tensor::<1, Int>::from_data(of.as_slice(), &device)
        };
        // Over all experts, and only then the largest, as in `Qwen3MoeTopKRouter`.
        let probabilities = softmax(self.gate.forward(x.clone(), ctx), 1);
        let routes = Routes::new(&probabilities.clone().into_data(), self.per_token);
        let chosen = indices(&routes.chosen).reshape([rows, self.per_token]);
        let weights = probabilities.gather(1, chosen);
        let weights = match self.renormalised {
            true => weights.clone() / weights.sum_dim(1),
            false => weights,
        };
        let mut outputs = Vec::with_capacity(self.experts.len());
        for (expert, rows) in self.experts.iter().zip(&routes.rows) {
            if !rows.is_empty() {
                outputs.push(expert.forward(x.clone().select(0, indices(rows)), &ctx.select(rows)));
            }
        }
        // The parameters of an expert that nothing has come to have a gradient of zero, as parts of one parameter in Transformers,
        // and not none: an optimiser's moments go on. Of what it makes of a row nothing is taken.
        if device.is_autodiff() {
            for (expert, rows) in self.experts.iter().zip(&routes.rows) {
                if rows.is_empty() && expert.num_params() > 0 {
                    outputs.push(expert.forward(x.clone().select(0, indices(&[0])), &ctx.select(&[0])));
                }
            }
        }
        // Back in the order of the rows, those of each row together.
        let outputs = Tensor::cat(outputs, 0).select(0, indices(&routes.places));
        let outputs = outputs.reshape([rows, self.per_token, hidden]) * weights.reshape([rows, self.per_token, 1]);
        outputs.sum_dim(1).reshape([rows, hidden])
    }
}

/// Which experts the rows go to.
struct Routes {
    /// Of each row the experts, the most probable first.
    chosen: Vec<usize>,
    /// Of each expert the rows.
    rows: Vec<Vec<usize>>,
    /// Of each row and each of its experts: where the output is, where those of one expert follow those of the other.
    places: Vec<usize>,
}

impl Routes {
    /// `probabilities: [rows, experts]`
    fn new(probabilities: &TensorData, per_token: usize) -> Self {
        let experts = probabilities.shape()[1];
        let probabilities = probabilities.as_slice::<f32>().expect("a softmax is in f32 on every device");
        let (mut chosen, mut rows) = (Vec::new(), vec![Vec::new(); experts]);
        let mut order: Vec<usize> = Vec::with_capacity(experts);
        for (row, of_row) in probabilities.chunks_exact(experts).enumerate() {
            // Of equals the first.
            let larger = |a: &usize, b: &usize| of_row[*b].total_cmp(&of_row[*a]).then(a.cmp(b));
            order.clear();
            order.extend(0..experts);
            order.select_nth_unstable_by(per_token - 1, larger);
            order[..per_token].sort_unstable_by(larger);
            order[..per_token].iter().for_each(|expert| rows[*expert].push(row));
            chosen.extend_from_slice(&order[..per_token]);
        }
        let starts = rows.iter().scan(0, |end, rows| Some(std::mem::replace(end, *end + rows.len())));
        let mut next: Vec<usize> = starts.collect();
        let place = |expert: &usize| {
            next[*expert] += 1;
            next[*expert] - 1
        };
        let places = chosen.iter().map(place).collect();
        Self { chosen, rows, places }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::module::{ModuleMapper, ModuleVisitor, Param};
    use burn::tensor::{DType, Device, Distribution, Gradients, Tolerance};
    use kernels::{Layout, Offsets};
    use lora::{LoraConfig, Method, Names, Plan, Targets};
    use serde_json::json;

    use super::*;
    use crate::checkpoint::{CheckpointError, ShardLayout, TensorHeader};
    use crate::head::Head;
    use crate::loader::Build;
    use crate::pretrained::{Frozen, Pretrained, Values};

    const EXPERTS: usize = 6;

    fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.0, 0.4), device)
    }

    /// Values of their own for all parameters, also where they start at zero.
    struct Scatter;

    impl ModuleMapper for Scatter {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|value| random(value.dims(), &value.device()).require_grad())
        }
    }

    fn build(method: Method, renormalised: bool, device: &Device) -> SparseMoe {
        let directory = tempfile::tempdir().unwrap();
        let config = json!({
            "model_type": "qwen3_moe", "vocab_size": 9, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": 16, "num_experts": EXPERTS, "num_experts_per_tok": 2,
            "moe_intermediate_size": 12,
        });
        std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
        // Joined, as Transformers 5 has them in memory.
        let tensor =
            |name: &str, shape: &[usize]| TensorHeader::new(&format!("model.layers.0.mlp.{name}"), DType::F32, shape);
        let tensors = vec![
            tensor("gate.weight", &[EXPERTS, 8]),
            tensor("experts.gate_up_proj", &[EXPERTS, 24, 8]),
            tensor("experts.down_proj", &[EXPERTS, 8, 12]),
        ];
        let layout = ShardLayout::new(tensors, usize::MAX);
        let written: Result<(), CheckpointError> = layout.write(directory.path(), |tensor, file| {
            file.values(&random([tensor.elements(), 1], device).into_data().try_to_vec::<f32>().unwrap())
        });
        written.unwrap();
        let pretrained = Pretrained::open(directory.path(), Head::CausalLm).unwrap();
        let config = crate::config::Config::read(directory.path()).unwrap();
        let (described, _) = DecoderConfig::read(&config).unwrap();
        let of = ExpertsConfig { count: EXPERTS, per_token: 2, inner: 12, renormalised, layers: vec![true] };
        let plan = Plan::new(method, None, 3).unwrap();
        let build = Build::new(&pretrained, plan, Frozen::AsStored, Values::Read, device);
        let moe = SparseMoe::load(&build.root().at("model.layers.0.mlp"), &described, &of).unwrap();
        moe.map(&mut Scatter)
    }

    /// Every expert for every row, weighted by zero where the row has not chosen it.
    fn dense(moe: &SparseMoe, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let probabilities = softmax(moe.gate.forward(x.clone(), ctx), 1);
        let values = probabilities.clone().into_data();
        let values = values.as_slice::<f32>().unwrap();
        let of_row = |row: &[f32]| {
            let second = row.iter().map(|p| row.iter().filter(|other| *other > p).count()).collect::<Vec<_>>();
            second.into_iter().map(|above| if above < 2 { 1.0 } else { 0.0 }).collect::<Vec<f32>>()
        };
        let mask: Vec<f32> = values.chunks(EXPERTS).flat_map(of_row).collect();
        let [rows, _] = x.dims();
        let weights = probabilities * Tensor::from_data(TensorData::new(mask, [rows, EXPERTS]), &x.device());
        let weights = if moe.renormalised { weights.clone() / weights.sum_dim(1) } else { weights };
        let weighted =
            |(index, expert): (usize, &Mlp)| expert.forward(x.clone(), ctx) * weights.clone().narrow(1, index, 1);
        moe.experts.iter().enumerate().map(weighted).reduce(|sum, output| sum + output).unwrap()
    }

    struct Collect<'a>(&'a Gradients, Vec<Vec<f32>>);

    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = param.val().grad(self.0).expect("every parameter has a gradient");
            self.1.push(gradient.into_data().try_to_vec().unwrap());
        }
    }

    fn gradients(moe: &SparseMoe, of: &Gradients) -> Vec<Vec<f32>> {
        let mut collected = Collect(of, Vec::new());
        moe.visit(&mut collected);
        collected.1
    }

    #[test]
    fn outputs_and_gradients_are_those_of_all_experts_with_weights_of_zero() {
        let device = Device::flex().autodiff();
        let targets = ["gate", "gate_proj", "up_proj", "down_proj"].map(String::from).to_vec();
        let mut lora = LoraConfig { r: 2, alpha: 2.0, dropout: 0.0, ..LoraConfig::default() };
        lora.targets.target_modules = Targets::Names(Names::List(targets));
        let lora = Method::Lora(Box::new(lora));
        for (method, renormalised, rows) in
            [(Method::full(), true, 7), (Method::full(), false, 2), (lora.clone(), false, 7), (lora, true, 1)]
        {
            let moe = build(method, renormalised, &device);
            let ctx = ForwardContext::new(Arc::new(Layout::new(Offsets::new(&[0, rows]), 0)), None);
            let x = random([rows, 8], &device).require_grad();
            let cotangent = random([rows, 8], &device);
            let (found, expected) = (moe.forward(x.clone(), &ctx), dense(&moe, x.clone(), &ctx));
            let close = |found: TensorData, expected: TensorData| {
                found.assert_approx_eq::<f32>(&expected, Tolerance::rel_abs(1e-5, 1e-5));
            };
            close(found.clone().into_data(), expected.clone().into_data());
            let (ours, theirs) =
                ((found * cotangent.clone()).sum().backward(), (expected * cotangent).sum().backward());
            close(x.grad(&ours).unwrap().into_data(), x.grad(&theirs).unwrap().into_data());
            let (ours, theirs) = (gradients(&moe, &ours), gradients(&moe, &theirs));
            assert_eq!(ours.len(), theirs.len());
            assert!(ours.iter().flatten().any(|value| *value != 0.0));
            for (found, expected) in ours.iter().zip(theirs) {
                let data = |values: &[f32]| TensorData::new(values.to_vec(), [values.len()]);
                close(data(found), data(&expected));
            }
        }
    }

    #[test]
    fn of_equally_probable_experts_the_first_are_chosen() {
        let routes = Routes::new(&TensorData::new(vec![0.25_f32, 0.25, 0.25, 0.25, 0.1, 0.2, 0.1, 0.6], [2, 4]), 2);
        assert_eq!(routes.chosen, [0, 1, 3, 1]);
        assert_eq!(routes.rows, [vec![0], vec![0, 1], vec![], vec![1]]);
        assert_eq!(routes.places, [0, 1, 3, 2]);
    }
}
