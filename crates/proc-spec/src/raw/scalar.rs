//! Single values with a grammar or bounds of their own.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::decode::{At, Cx, Decode, Named, Scalar, inline_schema};
use crate::node::{Node, Value};

/// A user or group, by name or number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UserName(pub(crate) String);
inline_schema!(UserName, { "type": ["string", "integer"] });

impl Decode for UserName {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let name = match &node.value {
            Value::Integer { .. } => u32::decode(node, cx)?.to_string(),
            _ => String::decode(node, cx)?,
        };
        if name.is_empty() || name.contains([':', '/', '\n']) {
            cx.fail(
                node.at,
                format!("`{}` is not a user or group", name.escape_debug()),
            );
            return None;
        }
        Some(UserName(name))
    }
}

/// A signal by name or number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SignalName(pub(crate) proc_core::Signal);
inline_schema!(SignalName, { "type": ["string", "integer"], "examples": ["TERM", "SIGINT", "RTMIN+3", 15] });

impl Decode for SignalName {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let text = match &node.value {
            Value::Integer { value, .. } => value.to_string(),
            Value::String(text) => text.clone(),
            _ => return cx.wrong_type(node, "a signal such as \"TERM\""),
        };
        match text.parse() {
            Ok(signal) => Some(SignalName(signal)),
            Err(_) => {
                cx.fail(
                    node.at,
                    format!("`{}` is not a signal", text.escape_debug()),
                );
                None
            }
        }
    }
}

/// An exit code, a signal, or "oom".
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CodeOrSignal {
    Code(i32),
    Signal(proc_core::Signal),
    Oom,
}
inline_schema!(CodeOrSignal, { "type": ["string", "integer"], "examples": [78, "SIGTERM"] });

impl Decode for CodeOrSignal {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::Integer { .. } => exit_code(i32::decode(node, cx)?, node, cx).map(Self::Code),
            Value::String(text) if text == "oom" => Some(Self::Oom),
            _ => SignalName::decode(node, cx).map(|signal| Self::Signal(signal.0)),
        }
    }
}

/// Checks that a number can be an exit code.
pub(crate) fn exit_code(code: i32, node: &Node, cx: &mut Cx) -> Option<i32> {
    if (0..=255).contains(&code) {
        return Some(code);
    }
    cx.fail(
        node.at,
        format!("`{code}` is not an exit code, expected 0 to 255"),
    );
    None
}

/// Declares an integer with bounds.
macro_rules! bounded {
    ($(#[$meta:meta])* $name:ident, $low:literal, $high:literal, $what:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub(crate) struct $name(pub(crate) i32);
        inline_schema!($name, { "type": "integer", "minimum": $low, "maximum": $high });

        impl Decode for $name {
            fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
                let value = i32::decode(node, cx)?;
                if ($low..=$high).contains(&value) {
                    return Some($name(value));
                }
                let message = format!("`{value}` is not {}, expected {} to {}", $what, $low, $high);
                cx.fail(node.at, message);
                None
            }
        }
    };
}

bounded!(
    /// A scheduling priority.
    Nice, -20, 19, "a nice value"
);
bounded!(
    /// A score for the kernel's choice when memory runs out.
    OomScore, -1000, 1000, "an oom_score_adj"
);
bounded!(
    /// A number of instances.
    Instances, 0, 10_000, "a number of instances"
);
bounded!(
    /// A number of tries.
    Count, 1, 1_000_000, "a count"
);
bounded!(
    /// A file descriptor for readiness.
    NotifyFd, 3, 1023, "a file descriptor for readiness"
);
bounded!(
    /// A process id.
    Pid, 1, 4_194_304, "a process id"
);

/// A file mode mask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Umask(pub(crate) u32);
inline_schema!(Umask, { "type": "string", "pattern": "^(0o)?[0-7]{1,4}$" });

impl Decode for Umask {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let mask = match &node.value {
            Value::Integer { value, octal: true } => u32::try_from(*value).ok(),
            Value::Integer { value, .. } => {
                let hint = Some(format!("write it as a string: umask = \"{value:03}\""));
                cx.fail_hint(node.at, "a umask is octal, and this number is not", hint);
                return None;
            }
            Value::String(text) => {
                let digits = text.strip_prefix("0o").unwrap_or(text);
                let octal =
                    !digits.is_empty() && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
                octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten()
            }
            _ => return cx.wrong_type(node, "an octal string such as \"027\""),
        };
        match mask {
            Some(mask) if mask <= 0o7777 => Some(Umask(mask)),
            _ => {
                let text = node.as_str().unwrap_or_default();
                cx.fail(
                    node.at,
                    format!("`{text}` is not a umask, expected octal digits such as \"027\""),
                );
                None
            }
        }
    }
}

/// A set of CPUs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CpuList(pub(crate) Vec<u32>);
inline_schema!(CpuList, {
    "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "integer", "minimum": 0 } }]
});

impl Decode for CpuList {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let mut cpus = match &node.value {
            Value::String(text) => match cpu_ranges(text) {
                Some(cpus) => cpus,
                None => {
                    cx.fail(
                        node.at,
                        format!(
                            "`{}` is not a list of CPUs such as \"0-3,8\"",
                            text.escape_debug()
                        ),
                    );
                    return None;
                }
            },
            Value::Array(_) => Vec::<u32>::decode(node, cx)?,
            _ => return cx.wrong_type(node, "a list of CPUs"),
        };
        cpus.sort_unstable();
        cpus.dedup();
        if cpus.is_empty() || cpus.iter().any(|cpu| *cpu >= MAX_CPUS) {
            cx.fail(node.at, format!("expected CPUs from 0 to {}", MAX_CPUS - 1));
            return None;
        }
        Some(CpuList(cpus))
    }
}

/// The kernel's own bound in most configurations.
const MAX_CPUS: u32 = 8192;

fn cpu_ranges(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (low, high) = part
            .trim()
            .split_once('-')
            .unwrap_or((part.trim(), part.trim()));
        let (low, high) = (low.parse::<u32>().ok()?, high.parse::<u32>().ok()?);
        if low > high || high >= MAX_CPUS {
            return None;
        }
        cpus.extend(low..=high);
    }
    Some(cpus)
}

bounded!(
    /// An HTTP status.
    Status, 100, 599, "an HTTP status"
);

/// Limits by name, the place kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct RawLimits(pub(crate) Vec<(At<String>, At<LimitText>)>);

impl Decode for RawLimits {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        Named::decode(node, cx).map(|named| RawLimits(named.0))
    }
}

impl JsonSchema for RawLimits {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Limits".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": { "type": ["integer", "string"] },
            "examples": [{ "nofile": 4096, "core": "0", "memory": "512MiB", "pids": 200 }]
        })
    }
}

/// What a job asks for, the place kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct RawSlurm(pub(crate) Vec<(At<String>, At<Scalar>)>);

impl Decode for RawSlurm {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        Named::decode(node, cx).map(|named| RawSlurm(named.0))
    }
}

impl JsonSchema for RawSlurm {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Slurm".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let keys: Vec<&str> = crate::slurm::keys().collect();
        json_schema!({
            "type": "object",
            "propertyNames": { "enum": keys },
            "additionalProperties": { "type": ["string", "integer", "number", "boolean"] },
            "examples": [{ "partition": "batch", "cpus": 4, "memory": "8GiB", "time": "12h" }]
        })
    }
}

/// A limit as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LimitText(pub(crate) String);

impl Decode for LimitText {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::String(_) => String::decode(node, cx).map(LimitText),
            Value::Integer { value, .. } => Some(LimitText(value.to_string())),
            Value::Float(value) => Some(LimitText(value.to_string())),
            _ => cx.wrong_type(node, "a number, a size or \"none\""),
        }
    }
}
