//! Whether a value is what a JSON Schema says, as far as the schemas here go.

use regex_automata::meta::Regex;
use serde_json::Value;

/// As much of JSON Schema as the schema uses.
pub(crate) fn check(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let fail = |why: &str| Err(format!("{why}: {value}"));
    if let Some(reference) = schema["$ref"].as_str() {
        check(root, root.pointer(&reference[1..]).unwrap(), value)?;
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[key].as_array() {
            let tried: Vec<_> = choices.iter().map(|choice| check(root, choice, value)).collect();
            if tried.iter().all(Result::is_err) {
                return Err(tried.into_iter().filter_map(Result::err).collect::<Vec<_>>().join(" | "));
            }
        }
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let own = match value {
        Value::Null => ["null", ""],
        Value::Bool(_) => ["boolean", ""],
        Value::Number(number) => [if number.is_f64() { "number" } else { "integer" }, "number"],
        Value::String(_) => ["string", ""],
        Value::Array(_) => ["array", ""],
        Value::Object(_) => ["object", ""],
    };
    if !types.is_empty() && !own.iter().any(|name| types.contains(name)) {
        return fail(&format!("not of the types {types:?}"));
    }
    let listed = schema["enum"].as_array().is_some_and(|choices| !choices.contains(value));
    if listed || schema.get("const").is_some_and(|only| only != value) {
        return fail("not one of the choices");
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !Regex::new(pattern).unwrap().is_match(text)
    {
        return fail(&format!("does not match {pattern}"));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(root, &schema["items"], item).map_err(|why| format!("[{index}]{why}"))?;
    }
    let map = value.as_object();
    for (key, inner) in map.into_iter().flatten() {
        let patterns = schema["patternProperties"].as_object().into_iter().flatten();
        let fits = patterns.into_iter().find(|(pattern, _)| Regex::new(pattern).unwrap().is_match(key));
        let own = schema["properties"].get(key).or(fits.map(|(_, own)| own)).unwrap_or(&schema["additionalProperties"]);
        if *own == Value::Bool(false) {
            return fail(&format!("unknown key {key}"));
        }
        check(root, own, inner).map_err(|why| format!(".{key}{why}"))?;
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    match map.and_then(|map| required.into_iter().find(|key| !map.contains_key(*key))) {
        Some(missing) => fail(&format!("{missing} is missing")),
        None => Ok(()),
    }
}
