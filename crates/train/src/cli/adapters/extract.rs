//! `kindling extract`: LoRA from the difference of two checkpoints.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::{Device, TensorData};
use clap::Args;
use inference::{BaseRecord, ModelFiles, Sidecar, WrittenFiles, resolved};
use lora::peft::PeftConfig;
use lora::{
    LoraConfig, LowRank, Method, Names, NewAdapter, Plan, TargetConfig, TargetError, Targets, ThinFactors, Update,
    approximated, fill_up_experts,
};
use model::{Frozen, Pretrained, Values};
use serde_json::json;
use tasks::TaskName;

use super::{DataArguments, Measured, per_cent, write};
use crate::cli::Failure;
use crate::cli::new_directory::NewDirectory;
use crate::cli::open::check_unwritten;
use crate::hub::{Located, locate};
use crate::output::{Output, counted};
use model::hub::Wanted;

/// Make a LoRA adapter of the difference of two models
///
/// Of each linear layer the difference is taken tensor by tensor, and its largest singular values are kept. A classification head is
/// saved whole. What of the difference is kept is shown for each module.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kindling extract --base bert-base-uncased --tuned runs/full --rank 16 -o extracted
  kindling extract --base models/a --tuned models/b --rank 32 --target-modules query,value -o extracted --data test.csv")]
pub(in crate::cli) struct Arguments {
    /// The model before: a directory, or an id on the Hugging Face Hub
    #[arg(long, value_name = "M")]
    base: PathBuf,
    /// The same model after training: a directory, a run that trained all weights, or an id on the Hub
    #[arg(long, value_name = "M2")]
    tuned: PathBuf,
    /// Rank of the adapter; a module whose smaller side is below it gets that, but for experts and routers, which have one rank
    #[arg(long, value_name = "R")]
    rank: usize,
    /// Modules that get an adapter, by name or by the end of it; default: every linear layer but the output layer
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    target_modules: Vec<String>,
    /// Directory to write
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) data: DataArguments,
}

/// By their names in the model.
type Tensors = Vec<(String, TensorData)>;

/// Of a module what its adapter keeps of the difference.
struct Kept {
    module: String,
    rank: usize,
    share: f64,
    /// Of the difference, its squared norm.
    energy: f64,
}

/// The two models.
struct Two {
    base: Pretrained,
    tuned: Pretrained,
    located: Located,
    task: TaskName,
    /// Whether both are backbones without a head, in which PEFT names modules without a prefix.
    are_backbones: bool,
}

pub(in crate::cli) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    if arguments.rank == 0 {
        return Err(Failure::usage("`--rank 0` would keep nothing of the difference", "give a rank of 1 or more"));
    }
    let directory = NewDirectory::create(&arguments.output)?;
    let located = locate(&arguments.base, Wanted::Model, output)?;
    let tuned = crate::cli::source::model_of(&arguments.tuned, output)?;
    let two = Two::open(located, &tuned, output)?;
    let mut measured = Measured::new(&arguments.data);
    measured.add("tuned", &ModelFiles { model: tuned.clone(), adapter: None }, output)?;

    let plan = two.plan(arguments, output)?;
    let (tensors, kept) = two.factors(&plan, arguments.rank, output)?;
    let left_out = two.left_out(&plan)?;
    let all = kept.iter().map(|module| module.energy).sum::<f64>() + left_out.values().sum::<f64>();
    if all == 0.0 {
        let (base, tuned) = (arguments.base.display(), arguments.tuned.display());
        let message = format!("{tuned} has the weights of {base}: there is no difference");
        return Err(Failure::usage(message, "name a model that was trained further than the base with --tuned"));
    }
    let ranks: Vec<(String, usize)> = kept.iter().map(|module| (module.module.clone(), module.rank)).collect();
    let method = plan.method_written().with_ranks(&ranks, None).expect("LoRA has thin factors");
    let method = if two.are_backbones { two.named_without_prefix(method) } else { method };
    let tensors: Tensors = tensors.into_iter().map(|(name, values)| (two.named(&name), values)).collect();
    let (base, sidecar) = two.recorded(&tuned)?;
    let config = PeftConfig {
        method: method.clone(),
        base_model: Some(base.path),
        revision: base.revision,
        task_type: two.peft_type().map(str::to_string),
        peft_version: None,
        fan_in_fan_out: plan.has_conv1d(),
        auto_mapping: None,
        notes: Vec::new(),
    };
    let has_tokenizer = tuned.join("tokenizer.json").exists();
    let tokenizer = if has_tokenizer { tuned.as_path() } else { two.located.directory.as_path() };
    write(&directory, (config, NewAdapter { method, tensors }), sidecar, "extracted from two models", tokenizer)?;
    measured.add_made("extracted", (&two.located.directory, &directory), output)?;
    [&two.base, &two.tuned].into_iter().try_for_each(check_unwritten)?;
    directory.finish()?;
    say(arguments, &kept, (&left_out, all), &measured, output)?;
    Ok(ExitCode::SUCCESS)
}

fn say(
    arguments: &Arguments,
    kept: &[Kept],
    (left_out, all): (&BTreeMap<String, f64>, f64),
    measured: &Measured<'_>,
    output: &Output,
) -> Result<(), Failure> {
    let share = kept.iter().map(|module| module.energy * module.share).sum::<f64>() / all;
    if output.json() {
        let module =
            |of: &Kept| json!({ "module": of.module, "rank": of.rank, "kept": of.share, "norm": of.energy.sqrt() });
        let left: Vec<_> =
            left_out.iter().map(|(tensor, energy)| json!({ "tensor": tensor, "norm": energy.sqrt() })).collect();
        output.result(&serde_json::to_string(&json!({
            "output": arguments.output, "kept": share, "modules": kept.iter().map(module).collect::<Vec<_>>(),
            "left_out": left, "scores": measured.document()?,
        }))?)?;
        return Ok(());
    }
    output.result("norm of the difference, kept of its energy, rank, module")?;
    for of in kept {
        output.result(&format!(
            "  {:>9.4} {:>6} {:>4}  {}",
            of.energy.sqrt(),
            per_cent(of.share),
            of.rank,
            of.module
        ))?;
    }
    for (tensor, energy) in left_out {
        output.result(&format!("  {:>9.4} {:>6} {:>4}  {tensor}", energy.sqrt(), "-", "-"))?;
    }
    for line in measured.lines() {
        output.result(&line)?;
    }
    output.say(&format!(
        "written: {}, {} of the energy of the whole difference",
        output.bold(&arguments.output.display().to_string()),
        per_cent(share)
    ));
    if !left_out.is_empty() {
        let (tensors, energy) = (
            counted(left_out.len(), "tensor of the difference is", "tensors of the difference are"),
            left_out.values().sum::<f64>(),
        );
        output.warn(&format!("{tensors} in no adapter, {} of its energy", per_cent(energy / all)));
    }
    Ok(())
}

impl Two {
    fn open(located: Located, tuned: &Path, output: &Output) -> Result<Self, Failure> {
        let head = Pretrained::head_of(tuned)?;
        let task = match Sidecar::read(tuned)? {
            Some(sidecar) => sidecar.task,
            None => {
                let of_head = TaskName::of_head(head).unwrap_or_default();
                Pretrained::problem_of(tuned)?.map_or(of_head, |problem| of_head.of_problem(&problem))
            }
        };
        let [base, of_tuned] = [&located.directory, tuned].map(|directory| Pretrained::open(directory, task.head));
        let (base, of_tuned) = (base?, of_tuned?);
        for directory in [located.directory.as_path(), tuned] {
            WrittenFiles::check_model(directory)?.iter().for_each(|note| output.warn(note));
        }
        for (model, directory) in [(&base, located.directory.as_path()), (&of_tuned, tuned)] {
            if let Some(quantisation) = model.quantisation() {
                let message = format!("{} is in {}", directory.display(), quantisation.name());
                return Err(Failure::usage(message, "name the unquantised checkpoint that it was made from"));
            }
        }
        for model in [&base, &of_tuned] {
            if let Some(error) = model.not_finite()? {
                return Err(error.into());
            }
        }
        let type_of = |model: &Pretrained| model.config()["model_type"].as_str().unwrap_or_default().to_string();
        if type_of(&base) != type_of(&of_tuned) {
            return Err(not_one_model(format!(
                "{} is a {}, {} a {}",
                located.name,
                type_of(&base),
                tuned.display(),
                type_of(&of_tuned)
            )));
        }
        let are_backbones = [&base, &of_tuned].into_iter().all(Pretrained::is_backbone);
        Ok(Self { base, tuned: of_tuned, located, task, are_backbones })
    }

    /// What PEFT calls that which the adapter is for.
    fn peft_type(&self) -> Option<&'static str> {
        if self.are_backbones { Some("FEATURE_EXTRACTION") } else { self.task.peft_type }
    }

    /// A name in the model as PEFT has it.
    fn named(&self, name: &str) -> String {
        let bare = name.strip_prefix(self.base.prefix()).filter(|_| self.are_backbones);
        bare.unwrap_or(name).to_string()
    }

    /// The method with the names that PEFT has for the modules of a backbone.
    fn named_without_prefix(&self, mut method: Method) -> Method {
        let Method::Lora(config) = &mut method else { return method };
        let TargetConfig { target_modules, exclude_modules, .. } = &mut config.targets;
        let of_targets = match target_modules {
            Targets::Names(names) => Some(names),
            Targets::AllLinear | Targets::Auto => None,
        };
        for names in of_targets.into_iter().chain(exclude_modules) {
            if let Names::List(list) = names {
                list.iter_mut().for_each(|name| *name = self.named(name));
            }
        }
        // From the start of a path in the expressions, which below a head it is not.
        let start = format!("^{}", self.base.prefix().replace('.', r"\."));
        let unanchored = |key: String| key.strip_prefix(&start).map(str::to_string).unwrap_or(key);
        config.rank_pattern =
            std::mem::take(&mut config.rank_pattern).into_iter().map(|(key, rank)| (unanchored(key), rank)).collect();
        config.alpha_pattern =
            std::mem::take(&mut config.alpha_pattern).into_iter().map(|(key, it)| (unanchored(key), it)).collect();
        method
    }

    /// What an adapter of that rank would be on the base, by shapes alone. A layer that PEFT would take for an expert's, in a mixture
    /// that has layers without experts, gets none.
    fn plan(&self, arguments: &Arguments, output: &Output) -> Result<Plan, Failure> {
        let mut apart: Vec<String> = Vec::new();
        loop {
            let error = match self.planned(arguments, &apart) {
                Ok(plan) => {
                    if !apart.is_empty() {
                        let named: Vec<String> = apart.iter().map(|module| format!("`{module}`")).collect();
                        let named = named.join(", ");
                        output
                            .warn(&format!("there is no adapter on {named}: PEFT would take it for one of an expert"));
                    }
                    return Ok(plan);
                }
                Err(model::Error::Adapter(lora::Error::Target(error))) => error,
                Err(other) => return Err(other.into()),
            };
            match error {
                TargetError::TakenForExpert { module } => apart.push(module),
                // Nothing else was named.
                error => {
                    let module = apart.into_iter().next();
                    let error = module.map_or(error, |module| TargetError::TakenForExpert { module });
                    return Err(no_targets(&error, arguments));
                }
            }
        }
    }

    fn planned(&self, arguments: &Arguments, apart: &[String]) -> Result<Plan, model::Error> {
        let target_modules = match arguments.target_modules.is_empty() {
            true => Targets::AllLinear,
            false => Targets::Names(Names::List(arguments.target_modules.clone())),
        };
        let exclude_modules = (!apart.is_empty()).then(|| Names::List(apart.to_vec()));
        let method = Method::Lora(Box::new(LoraConfig {
            r: arguments.rank,
            alpha: arguments.rank as f64,
            dropout: 0.0,
            targets: TargetConfig { target_modules, exclude_modules, ..TargetConfig::default() },
            ..LoraConfig::default()
        }));
        let (frozen, values, device) = (Frozen::AsStored, Values::ShapesOnly, Device::flex());
        if self.are_backbones {
            let plan = Plan::new(resolved(&method, &self.base, &[]), None, 0)?;
            return Ok(self.base.load_backbone(plan, frozen, values, &device)?.1.plan);
        }
        let mut heads: Vec<String> = self.task.modules_to_save.iter().map(|module| module.to_string()).collect();
        heads.extend(self.base.new_modules());
        let plan = Plan::new(resolved(&method, &self.base, &heads), None, 0)?;
        // Of a head that the tuned model lacks the tensors are missed by name, whatever its classes.
        let classes = self.tuned.head_classes().or_else(|| self.base.head_classes()).unwrap_or(1);
        Ok(self.base.load(plan, classes, frozen, values, &device)?.1.plan)
    }

    /// The tensors of the adapter, and what they keep.
    fn factors(&self, plan: &Plan, rank: usize, output: &Output) -> Result<(Tensors, Vec<Kept>), Failure> {
        let (mut names, mut factors, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        let bar = output.bar(plan.updates().len() as u64, "decomposing {bar:30} {pos}/{len}");
        for update in plan.updates() {
            let Some(ThinFactors { a, b, transposed, .. }) = update.form.thin_factors() else { continue };
            let (found, rank) = self.low_rank(update, transposed, rank)?;
            let energy = found.norm.powi(2);
            kept.push(Kept { module: update.module.clone(), rank, share: found.kept, energy });
            names.push([a, b]);
            factors.push(found.factors);
            bar.inc(1);
        }
        bar.finish_and_clear();
        fill_up_experts(&kept.iter().map(|it: &Kept| it.module.as_str()).collect::<Vec<_>>(), &mut factors);
        kept.iter_mut().zip(&factors).for_each(|(kept, [a, _])| kept.rank = a.shape()[0]);
        let own: HashSet<&str> = names.iter().flatten().copied().collect();
        let mut tensors: Tensors = Vec::new();
        for (names, factors) in names.iter().zip(factors) {
            tensors.extend(names.map(str::to_owned).into_iter().zip(factors));
        }
        for parameter in plan.parameters().iter().filter(|parameter| !own.contains(parameter.name.as_str())) {
            let values = self.of_tuned(&parameter.name)?;
            if values.shape().to_vec() != parameter.shape {
                let (found, expected) = (values.shape().to_vec(), &parameter.shape);
                return Err(not_one_model(format!("`{}` is {found:?}, not {expected:?}", parameter.name)));
            }
            tensors.push((parameter.name.clone(), values));
        }
        Ok((tensors, kept))
    }

    fn low_rank(&self, update: &Update, transposed: bool, rank: usize) -> Result<(LowRank, usize), Failure> {
        let (values, shape) = self.difference(&update.weight())?;
        let &[rows, columns] = &shape[..] else {
            return Err(not_one_model(format!("`{}` is {shape:?}, and no matrix", update.weight())));
        };
        let (values, shape) = match transposed {
            true => {
                let column = |column: usize| values.iter().skip(column).step_by(columns).copied();
                ((0..columns).flat_map(column).collect(), [columns, rows])
            }
            false => (values, [rows, columns]),
        };
        let rank = rank.min(rows).min(columns);
        let found = approximated(&values, shape, rank, kernels::hash_text(&update.module));
        let message =
            || Failure::message(format!("the difference of `{}` has no decomposition in f32", update.weight()));
        Ok((found.ok_or_else(message)?, rank))
    }

    /// Of a tensor that both have, with its shape.
    fn difference(&self, name: &str) -> Result<(Vec<f32>, Vec<usize>), Failure> {
        let lacks = |place: String| not_one_model(format!("`{name}` is not in {place}"));
        let before = read(&self.base, name)?.ok_or_else(|| lacks(self.located.name.clone()))?;
        let after = read(&self.tuned, name)?.ok_or_else(|| lacks(self.tuned.directory().display().to_string()))?;
        between(name, &before, &after)
    }

    fn of_tuned(&self, name: &str) -> Result<TensorData, Failure> {
        let lacks = || not_one_model(format!("`{name}` is not in {}", self.tuned.directory().display()));
        self.tuned.values(name)?.ok_or_else(lacks)
    }

    /// The squared norm of what differs and is in no adapter: embeddings, norms and biases.
    fn left_out(&self, plan: &Plan) -> Result<BTreeMap<String, f64>, Failure> {
        let adapted: HashSet<String> = plan.updates().iter().map(Update::weight).collect();
        let saved: HashSet<&str> = plan.parameters().iter().map(|parameter| parameter.name.as_str()).collect();
        let mut left_out = BTreeMap::new();
        let of_both = [&self.base, &self.tuned].into_iter().flat_map(|model| model.tensors());
        let mut names: BTreeSet<String> = of_both.map(|(name, ..)| name).collect();
        // With an adapter on one end of what was tied the other end stays as it was.
        if plan.updates().iter().any(|update| self.base.is_tied(&update.module)) {
            names.extend(self.base.tied_weights().into_iter().flatten());
        }
        for name in names {
            if adapted.contains(&name) || saved.contains(name.as_str()) {
                continue;
            }
            // Of a head that the other model does not have there is no difference.
            let (Some(before), Some(after)) = (read(&self.base, &name)?, read(&self.tuned, &name)?) else { continue };
            let (difference, _) = between(&name, &before, &after)?;
            let energy: f64 = difference.iter().map(|value| f64::from(*value).powi(2)).sum();
            if energy > 0.0 {
                left_out.insert(name, energy);
            }
        }
        Ok(left_out)
    }

    /// The base as an adapter names it, and the tuned model's sidecar with that base.
    fn recorded(&self, tuned: &Path) -> Result<(BaseRecord, Option<Sidecar>), Failure> {
        let path = match self.located.commit {
            Some(_) => self.located.name.clone(),
            None => self.located.directory.canonicalize()?.display().to_string(),
        };
        let base = BaseRecord {
            path,
            revision: self.located.commit.clone(),
            fingerprint: self.base.fingerprint(),
            quantised: None,
        };
        let mut sidecar = Sidecar::read(tuned)?;
        sidecar.iter_mut().for_each(|sidecar| sidecar.base = base.clone());
        Ok((base, sidecar))
    }
}

/// No module gets an adapter, or one gets none that was named. Of the settings that choose modules `--target-modules` alone is an option
/// here, and it may not have been given.
fn no_targets(error: &TargetError, arguments: &Arguments) -> Failure {
    let name = |_: &str| "`--target-modules`".to_string();
    let message = match arguments.target_modules.is_empty() {
        true => error.to_string(),
        false => error.message_with(&name),
    };
    let is_of_names = matches!(
        error,
        TargetError::EmptyName { .. } | TargetError::UnknownModule { .. } | TargetError::ExpertsInPart { .. }
    );
    let help = error.help_with(&name).filter(|_| is_of_names);
    let other = || "name other linear layers with `--target-modules`, those of attention for example".to_string();
    Failure::usage(message, help.unwrap_or_else(other))
}

/// The values of a tensor. The output layer of a tied model stands under the name of its word embeddings.
fn read(model: &Pretrained, name: &str) -> Result<Option<TensorData>, Failure> {
    if let Some(values) = model.values(name)? {
        return Ok(Some(values));
    }
    let is_tied = |name: &str| name.strip_suffix(".weight").is_some_and(|module| model.is_tied(module));
    let twin = model.tensors().into_iter().map(|(name, ..)| name).find(|twin| is_tied(name) && is_tied(twin));
    Ok(twin.map(|twin| model.values(&twin)).transpose()?.flatten())
}

/// What a tensor has become less what it was, and its shape.
fn between(name: &str, before: &TensorData, after: &TensorData) -> Result<(Vec<f32>, Vec<usize>), Failure> {
    let [of_base, of_tuned] = [before, after].map(|data| data.shape().to_vec());
    if of_base != of_tuned {
        return Err(not_one_model(format!("`{name}` is {of_base:?} before and {of_tuned:?} after")));
    }
    let difference = after.iter::<f32>().zip(before.iter::<f32>()).map(|(after, before)| after - before);
    Ok((difference.collect(), of_base))
}

fn not_one_model(message: String) -> Failure {
    Failure::usage(message, "give a model with --base, and the same model after training with --tuned")
}
