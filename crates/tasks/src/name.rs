//! A task by its name.

use std::fmt;
use std::ops::Deref;

use model::Head;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Definition;
use crate::registry::{NAMES, TASKS};

/// One of the tasks of [`crate::registry`], by its name in files; behind it is all that its definition says.
#[derive(Clone, Copy)]
pub struct TaskName(&'static Definition);

impl TaskName {
    pub const NAMES: &[&str] = NAMES;

    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|task| task.name == name)
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        TASKS.iter().map(|definition| Self(definition))
    }

    /// The first that PEFT calls so; several may have one `task_type`.
    pub fn of_peft(task_type: &str) -> Option<Self> {
        Self::all().find(|task| task.peft_type == Some(task_type))
    }

    /// The first for which a model with this head can be used.
    pub fn of_head(head: Head) -> Option<Self> {
        Self::all().find(|task| task.head == head)
    }

    /// This task, or where Transformers' `problem_type` names another for the same head, that one.
    pub fn of_problem(self, problem: &str) -> Self {
        Self::all().find(|task| task.head == self.head && task.problem == Some(problem)).unwrap_or(self)
    }

    /// Whether the key `dotted` of the configuration means something to this task: it names it, or no task does.
    pub fn has(self, dotted: &str) -> bool {
        self.keys.contains(&dotted) || !Self::all().any(|task| task.keys.contains(&dotted))
    }
}

impl Deref for TaskName {
    type Target = Definition;

    fn deref(&self) -> &Definition {
        self.0
    }
}

impl Definition {
    pub fn id(&'static self) -> TaskName {
        TaskName(self)
    }
}

impl PartialEq for TaskName {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for TaskName {}

/// What a configuration is for that does not say.
impl Default for TaskName {
    fn default() -> Self {
        Self(TASKS[0])
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Debug for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Serialize for TaskName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for TaskName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| serde::de::Error::unknown_variant(&name, NAMES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_found_by_its_name_and_has_its_own_keys_alone() {
        for name in NAMES {
            let task = TaskName::named(name).unwrap();
            assert_eq!(serde_json::to_value(task).unwrap(), *name);
            assert!(task.has("train.epochs") && task.keys.iter().all(|key| task.has(key)));
        }
        assert_eq!(TaskName::named("masked"), None);
        let [classes, masked] = ["sequence-classification", "masked-lm"].map(|name| TaskName::named(name).unwrap());
        assert!(classes.has("data.label") && !masked.has("data.label") && !classes.has("data.pack"));
    }
}
