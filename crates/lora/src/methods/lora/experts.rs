//! LoRA on experts and routers, as far as PEFT reads it there.

use super::LoraConfig;
use crate::{Settings, TargetError};

impl LoraConfig {
    /// See [`check_joined`](crate::AdapterMethod::check_joined).
    pub(super) fn check_expert(&self, module: &str, paired: bool) -> Result<(), TargetError> {
        let wrong = |key: &'static str, problem: String, help| Err(TargetError::Setting { key, problem, help });
        if self.use_dora {
            let problem = format!("`{module}` cannot be decomposed so");
            return wrong("use_dora", problem, |_| {
                "PEFT has no DoRA on experts and routers: adapt attention alone".to_string()
            });
        }
        if self.dropout != 0.0 {
            let problem = format!("{} with `{module}` as a target", self.dropout);
            return wrong("dropout", problem, |name| {
                format!("PEFT has no dropout on experts and routers: set {} to 0.0", name("dropout"))
            });
        }
        if self.use_rslora && paired {
            let problem = format!("`{module}` cannot be scaled so");
            return wrong("use_rslora", problem, |_| {
                "PEFT joins the adapters of an expert with another scale: use `alpha` alone".to_owned()
            });
        }
        if self.rank_and_alpha(module, Settings::New)? != (self.r, self.alpha) {
            let key = if self.rank_pattern.is_empty() { "alpha_pattern" } else { "rank_pattern" };
            let problem = format!("`{module}` cannot have a rank or an alpha of its own");
            return wrong(key, problem, |_| {
                "PEFT joins the adapters of all experts of a layer: let it match none of theirs".to_owned()
            });
        }
        Ok(())
    }
}
