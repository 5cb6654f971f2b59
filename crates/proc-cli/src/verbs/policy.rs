//! `proc policy sim`: a restart policy played in virtual time.

use std::io::Write;

use clap::Subcommand;
use proc_policy::sim::{Exit, Timeline};
use proc_policy::{Jitter, Mode, Profile, RestartPolicy};

use crate::args::{Limit, limit};
use crate::context::Context;
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render;
use crate::select;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Play exits against a policy and show each decision with its arithmetic
    Sim(Sim),
}

/// The policy is a service's, a profile's or the default; flags change it.
#[derive(Debug, clap::Args)]
struct Sim {
    /// A service of the configuration
    #[arg(value_name = "SERVICE", conflicts_with = "profile")]
    service: Option<String>,
    /// A peer's policy: supervisord, systemd, s6, runit, pm2, dinit, otp, kubernetes, nomad
    #[arg(long)]
    profile: Option<Profile>,
    /// What happens: `CODE@LIFE*TIMES`, `signal:9@2m`, `oom`, `start-failed`, `stopped`
    #[arg(long = "exit", value_name = "EXIT", default_value = "1@1s*20")]
    exits: Vec<Exit>,
    /// When to restart: never, on-failure, always
    #[arg(long, value_name = "MODE")]
    restart: Option<Mode>,
    /// Most restarts; `none` is no limit
    #[arg(long, value_name = "N", value_parser = count)]
    max_restarts: Option<Count>,
    /// The first delay
    #[arg(long, value_name = "DURATION", value_parser = proc_spec::parse_span)]
    delay: Option<std::time::Duration>,
    /// The longest delay
    #[arg(long, value_name = "DURATION", value_parser = limit)]
    max_delay: Option<Limit>,
    /// What each further delay is multiplied by
    #[arg(long)]
    factor: Option<f64>,
    /// none, equal, full, or a percentage
    #[arg(long)]
    jitter: Option<Jitter>,
    /// The random number for every jitter, from 0 to 1
    #[arg(long, default_value_t = 0.5)]
    random: f64,
}

/// A number of restarts; `None` is no limit.
#[derive(Clone, Copy, Debug)]
struct Count(Option<u32>);

fn count(text: &str) -> Result<Count, String> {
    if text == "none" {
        return Ok(Count(None));
    }
    text.parse()
        .map(|n| Count(Some(n)))
        .map_err(|_| format!("`{text}` is no number or `none`"))
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let What::Sim(sim) = args.what;
    let policy = sim.policy(context)?;
    policy
        .validate()
        .map_err(|error| CliError::chain(exit::USAGE, &error))?;
    for warning in proc_policy::warnings(&policy) {
        render::warning_line(&warning);
    }
    let timeline = Timeline::play(&policy, &sim.exits, |_| sim.random);
    if context.globals.json {
        render::json(&timeline)?;
    } else {
        write!(anstream::stdout().lock(), "{timeline}")?;
    }
    Ok(exit::OK)
}

impl Sim {
    fn policy(&self, context: &Context) -> Result<RestartPolicy, CliError> {
        let mut policy = match (&self.service, self.profile) {
            (Some(name), _) => {
                let project = context.load()?;
                let service = project.service(name).ok_or_else(|| select::unknown(name))?;
                service.restart.clone()
            }
            (None, Some(profile)) => profile.policy(),
            (None, None) => RestartPolicy::default(),
        };
        self.change(&mut policy);
        Ok(policy)
    }

    fn change(&self, policy: &mut RestartPolicy) {
        policy.mode = self.restart.unwrap_or(policy.mode);
        policy.initial_delay = self.delay.unwrap_or(policy.initial_delay);
        policy.factor = self.factor.unwrap_or(policy.factor);
        policy.jitter = self.jitter.unwrap_or(policy.jitter);
        if let Some(Limit(max)) = self.max_delay {
            policy.max_delay = max.unwrap_or(std::time::Duration::MAX);
        }
        if let Some(Count(max)) = self.max_restarts {
            policy.limit_restarts(max);
        }
    }
}
