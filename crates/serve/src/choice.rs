//! Which model answers a request.

use std::sync::Arc;

use crate::app::App;
use crate::engine::Model;
use crate::fields::Fields;
use crate::problem::Problem;

/// What Hugging Face's `InferenceClient` writes where it was given no model.
const UNNAMED: &str = "dummy";

/// What a request needs a model for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Write,
    Classify,
    /// Its tokenizer.
    Tokens,
}

impl Use {
    fn is_of(self, model: &Model) -> bool {
        match self {
            Self::Write => model.writes(),
            Self::Classify => !model.writes(),
            Self::Tokens => true,
        }
    }
}

impl App {
    /// The model that a request names; where it names none, the only one that can answer.
    pub(crate) fn model(&self, fields: &mut Fields, use_: Use) -> Result<Arc<Model>, Problem> {
        let model = self.choose(fields, use_)?;
        // Before it is known whether it can answer: refusals are counted as its own.
        fields.asked.found(&model);
        match use_.is_of(&model) {
            true => Ok(model),
            false => Err(self.other_use(&model, use_)),
        }
    }

    fn choose(&self, fields: &mut Fields, use_: Use) -> Result<Arc<Model>, Problem> {
        let is_there = |name: &str| self.engine.model(name).is_ok();
        let name = fields.text("model")?.filter(|name| name != UNNAMED || is_there(name));
        let Some(name) = name else {
            let models = self.engine.models();
            let fit: Vec<&Arc<Model>> = models.iter().filter(|model| use_.is_of(model)).collect();
            if let [only] = fit.as_slice() {
                return Ok(Arc::clone(only));
            }
            // Somebody who serves one adapter means it, and not its base.
            let adapters: Vec<&Arc<Model>> = fit.iter().copied().filter(|model| model.parent.is_some()).collect();
            if let [only] = adapters.as_slice() {
                return Ok(Arc::clone(only));
            }
            // In the order of their names, as the engine has them.
            let names = suggest::list(fit.iter().map(|model| model.name.as_str()));
            let message = match (fit.is_empty(), use_) {
                (true, Use::Classify) => "none of the models classifies: /v1/models says what each is for".to_string(),
                (true, Use::Write) => "none of the models writes texts: /v1/models says what each is for".to_string(),
                (true, Use::Tokens) | (false, _) => format!("`model` is missing: {}", known(&names)),
            };
            return Err(Problem::field("model", message));
        };
        self.engine.model(&name).map_err(|error| Problem::from(error).at("model"))
    }

    fn other_use(&self, model: &Model, wanted: Use) -> Problem {
        let models = self.engine.models();
        let names = suggest::list(models.iter().filter(|model| wanted.is_of(model)).map(|model| model.name.as_str()));
        let instead = if model.writes() { "/v1/chat/completions or /v1/completions" } else { "/classify or /predict" };
        let message = format!(
            "`{}` is a model for {}, which {}: ask it with {instead}; for this {}",
            model.name,
            model.task,
            if model.writes() { "does not classify" } else { "does not write texts" },
            known(&names)
        );
        Problem::field("model", message).code("wrong_task")
    }
}

fn known(names: &str) -> String {
    if names.is_empty() { "there is no model".to_string() } else { format!("there are {names}") }
}
