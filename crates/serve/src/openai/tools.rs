//! Tools in a request, as OpenAI has them: what may be called, and calls in a history. They go to the chat template as Transformers'
//! `apply_chat_template` takes them. The answer is text: calls in it are for whoever sent the tools to find.

use serde_json::{Map, Value};

use crate::fields::{Fields, kind, wrong};
use crate::problem::Problem;

const FUNCTION: &str = "function";

/// What may be called, each as the request has it; `None` where there is nothing.
pub(crate) fn described(fields: &mut Fields) -> Result<Option<Vec<Value>>, Problem> {
    const NAME: &str = "tools";
    let tools = match fields.take(NAME) {
        None => return Ok(None),
        Some(Value::Array(tools)) => tools,
        Some(other) => return Err(wrong(NAME, "a list of {\"type\", \"function\"}", &other)),
    };
    for (number, tool) in tools.iter().enumerate() {
        check_described(&format!("{NAME}[{number}]"), tool.clone())?;
    }
    Ok(Some(tools).filter(|tools| !tools.is_empty()))
}

/// All of a tool is written by templates, so that a misspelt field would be, too. `return` is of Transformers' `get_json_schema`.
fn check_described(place: &str, tool: Value) -> Result<(), Problem> {
    let mut tool = Fields::object(place, tool)?;
    let mut function = function(&mut tool)?;
    tool.finish(&[])?;
    function.text("description")?;
    for name in ["parameters", "return"] {
        if let Some(schema) = function.take(name).filter(|schema| !schema.is_object()) {
            return Err(wrong(&function.place(name), "an object, a JSON schema", &schema));
        }
    }
    function.flag("strict")?;
    function.finish(&[]).map(drop)
}

/// What an assistant has called, at this place of the request.
///
/// Arguments are text for OpenAI, and an object for the templates: as in vLLM they are parsed, and nothing is no arguments.
pub(super) fn called(place: &str, calls: Value) -> Result<Vec<Value>, Problem> {
    let Value::Array(calls) = calls else { return Err(wrong(place, "a list of calls", &calls)) };
    let call = |(number, call)| call_at(&format!("{place}[{number}]"), call);
    calls.into_iter().enumerate().map(call).collect()
}

fn call_at(place: &str, mut call: Value) -> Result<Value, Problem> {
    let mut fields = Fields::object(place, call.clone())?;
    fields.text("id")?;
    let mut function = function(&mut fields)?;
    // Of a stream's pieces, from which clients put the call together.
    fields.integer("index", 0..=i64::MAX)?;
    fields.finish(&[])?;
    let arguments = function.take("arguments");
    call[FUNCTION]["arguments"] = parsed(&function.place("arguments"), arguments)?.into();
    function.finish(&[])?;
    Ok(call)
}

/// The object `function`, whose name has been read.
fn function(fields: &mut Fields) -> Result<Fields, Problem> {
    if let Some(other) = fields.text("type")?.filter(|kind| kind != FUNCTION) {
        let place = fields.place("type");
        return Err(
            Problem::field(&place, format!("`{place}` is `{other}`: only functions can be called")).code("unsupported")
        );
    }
    let function = fields.required(FUNCTION, "an object with a `name`")?;
    let mut function = Fields::object(&fields.place(FUNCTION), function)?;
    let place = function.place("name");
    match function.text("name")?.as_deref() {
        None | Some("") => {
            Err(Problem::field(&place, format!("`{place}` is missing: expected the name of a function")))
        }
        Some(_) => Ok(function),
    }
}

fn parsed(place: &str, arguments: Option<Value>) -> Result<Map<String, Value>, Problem> {
    let arguments = match arguments {
        None => return Ok(Map::new()),
        Some(Value::String(text)) if text.is_empty() => return Ok(Map::new()),
        Some(Value::String(text)) => json::parse(text.as_bytes())
            .map_err(|error| Problem::field(place, format!("`{place}` is no JSON: {error}")))?,
        Some(other) => other,
    };
    match arguments {
        Value::Object(arguments) => Ok(arguments),
        other => {
            let found = kind(&other);
            Err(Problem::field(place, format!("`{place}` should be a JSON object, as text, found {found}")))
        }
    }
}

/// A client that insists on a call must know that nobody makes the model call.
pub(super) fn check_choice(fields: &mut Fields) -> Result<(), Problem> {
    fields.refuse("functions", "send them as `tools`")?;
    for name in ["tool_choice", "function_call"] {
        let is_free = |choice: &Value| matches!(choice.as_str(), Some("none" | "auto"));
        if fields.take(name).is_some_and(|choice| !is_free(&choice)) {
            let message = format!(
                "`{name}` is not supported but for \"auto\" and \"none\": no model is made to call a tool; ask for it in a message"
            );
            return Err(Problem::field(name, message).code("unsupported"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused<T: std::fmt::Debug>(result: Result<T, Problem>) -> (String, String) {
        let problem = result.unwrap_err();
        (problem.param.unwrap(), problem.message)
    }

    fn tools(tools: Value) -> Result<Option<Vec<Value>>, Problem> {
        described(&mut Fields::of(Map::from_iter([("tools".to_string(), tools)])))
    }

    fn said(place: &str, rest: &str) -> (String, String) {
        (place.to_string(), format!("`{place}` {rest}"))
    }

    #[test]
    fn tools_are_taken_as_they_are() {
        let parameters =
            json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
        let tool = json!({ "type": "function", "function": { "name": "weather", "description": "of a city", "strict": true, "parameters": parameters } });
        let returns = json!({ "function": { "name": "now", "parameters": {}, "return": { "type": "string" } } });
        assert_eq!(tools(json!([tool, returns])).unwrap().unwrap(), [tool, returns]);
        assert_eq!((tools(json!([])).unwrap(), tools(Value::Null).unwrap()), (None, None));
    }

    #[test]
    fn tools_that_are_none_are_refused_with_their_place() {
        let expected = said("tools", "should be a list of {\"type\", \"function\"}, found an object");
        assert_eq!(refused(tools(json!({}))), expected);
        assert_eq!(refused(tools(json!(["f"]))), said("tools[0]", "should be an object, found a string"));
        let of = |function: Value| refused(tools(json!([{ "type": "function", "function": function }])));
        let f = "tools[0].function";
        assert_eq!(
            refused(tools(json!([{ "type": "function" }]))),
            said(f, "is missing: expected an object with a `name`")
        );
        let name = format!("{f}.name");
        assert_eq!(of(json!({})), said(&name, "is missing: expected the name of a function"));
        assert_eq!(of(json!({ "name": 1 })), said(&name, "should be a string, found a number"));
        let expected = said(&format!("{f}.parameters"), "should be an object, a JSON schema, found a list");
        assert_eq!(of(json!({ "name": "f", "parameters": [] })), expected);
        let (param, message) = of(json!({ "name": "f", "paramters": {} }));
        assert_eq!(param, format!("{f}.paramters"));
        assert_eq!(message, format!("unknown field `{f}.paramters`: did you mean `parameters`?"));
        let custom = tools(json!([{ "type": "custom", "custom": { "name": "f" } }]));
        assert_eq!(refused(custom), said("tools[0].type", "is `custom`: only functions can be called"));
    }

    #[test]
    fn arguments_become_an_object() {
        let call = |arguments: Value| {
            let call = json!({ "id": "1", "type": "function", "function": { "name": "f", "arguments": arguments } });
            called("c", json!([call])).map(|calls| calls[0]["function"]["arguments"].clone())
        };
        let expected = json!({ "b": "é", "a": 1.0 });
        assert_eq!(call(json!("{\"b\": \"\\u00e9\", \"a\": 1.0}")).unwrap().to_string(), expected.to_string());
        assert_eq!(call(expected.clone()).unwrap(), expected);
        for none in [json!(""), json!("{}"), Value::Null] {
            assert_eq!(call(none).unwrap(), json!({}));
        }
        let place = "c[0].function.arguments";
        let expected = said(place, "is no JSON: expected `:` at line 1 column 5");
        assert_eq!(refused(call(json!("{\"a\"}"))), expected);
        assert_eq!(refused(call(json!("[1]"))), said(place, "should be a JSON object, as text, found a list"));
        assert_eq!(refused(call(json!(1))), said(place, "should be a JSON object, as text, found a number"));
        // Deep JSON is an error, and no end of the stack.
        assert!(refused(call(json!("[".repeat(100_000)))).1.contains("recursion limit"));
    }

    #[test]
    fn a_call_that_is_none_is_refused_with_its_place() {
        let of = |call: Value| refused(called("messages[1].tool_calls", json!([call])));
        let place = "messages[1].tool_calls[0]";
        assert_eq!(of(json!("f")), said(place, "should be an object, found a string"));
        assert_eq!(of(json!({ "id": 1 })), said(&format!("{place}.id"), "should be a string, found a number"));
        let expected = said(&format!("{place}.function"), "is missing: expected an object with a `name`");
        assert_eq!(of(json!({ "id": "1" })), expected);
        let expected = said(&format!("{place}.function.name"), "is missing: expected the name of a function");
        assert_eq!(of(json!({ "id": "1", "function": { "arguments": "{}" } })), expected);
        let list = refused(called("messages[1].tool_calls", json!({})));
        assert_eq!(list, said("messages[1].tool_calls", "should be a list of calls, found an object"));
        let streamed =
            json!({ "index": 0, "id": "1", "type": "function", "function": { "name": "f", "arguments": "" } });
        assert!(called("c", json!([streamed])).is_ok());
    }
}
