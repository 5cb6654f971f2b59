//! `proc tree [PID]`: processes under their parents, with identity, state and memory.

use std::collections::BTreeMap;
use std::io::Write;

use proc_core::Identity;
use proc_core::list::{self, ProcessInfo};
use serde::Serialize;

use crate::context::Context;
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The root; without it every process that has no parent here
    #[arg(value_name = "PID")]
    pid: Option<u32>,
}

/// A process and what it started.
#[derive(Serialize)]
struct Node {
    #[serde(flatten)]
    info: ProcessInfo,
    identity: Option<Identity>,
    children: Vec<Node>,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let all = list::all()
        .map_err(|error| CliError::new(exit::FAILED, format!("cannot list processes: {error}")))?;
    let roots = roots(&all, args.pid)?;
    let mut families: BTreeMap<u32, Vec<ProcessInfo>> = BTreeMap::new();
    for info in all {
        families.entry(info.ppid).or_default().push(info);
    }
    let nodes: Vec<_> = roots
        .into_iter()
        .map(|root| node(root, &mut families))
        .collect();
    if context.globals.json {
        match (args.pid, nodes.as_slice()) {
            (Some(_), [one]) => render::json(one)?,
            _ => render::json(&nodes)?,
        }
    } else {
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        for root in &nodes {
            print(&mut out, root, "", "")?;
        }
        out.flush()?;
    }
    Ok(exit::OK)
}

fn roots(all: &[ProcessInfo], pid: Option<u32>) -> Result<Vec<ProcessInfo>, CliError> {
    let Some(pid) = pid else {
        let known: std::collections::HashSet<u32> = all.iter().map(|info| info.pid).collect();
        return Ok(all
            .iter()
            .filter(|info| !known.contains(&info.ppid))
            .cloned()
            .collect());
    };
    let found = all.iter().find(|info| info.pid == pid).cloned();
    found
        .map(|root| vec![root])
        .ok_or_else(|| super::find::unknown_pid(pid))
}

/// Takes a process and its descendants out of the families.
fn node(info: ProcessInfo, families: &mut BTreeMap<u32, Vec<ProcessInfo>>) -> Node {
    let children = families.remove(&info.pid).unwrap_or_default();
    let children = children
        .into_iter()
        .map(|child| node(child, families))
        .collect();
    let identity = Identity::of(info.pid).ok();
    Node {
        info,
        identity,
        children,
    }
}

fn print(out: &mut impl Write, node: &Node, lead: &str, below: &str) -> std::io::Result<()> {
    let ProcessInfo {
        pid,
        comm,
        state,
        rss_bytes,
        start_ticks,
        ..
    } = &node.info;
    let (name, rss) = (render::escape(comm), render::size(*rss_bytes));
    writeln!(out, "{lead}{pid} {name} {state} {rss} @{start_ticks}")?;
    let last = node.children.len().saturating_sub(1);
    for (index, child) in node.children.iter().enumerate() {
        let (branch, space) = if index == last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        print(
            out,
            child,
            &format!("{below}{branch}"),
            &format!("{below}{space}"),
        )?;
    }
    Ok(())
}
