//! The whole-program suites: each a test program in `tests/`, with the real components it needs.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::components::{Component, ensure};
use crate::python;
use crate::shell::{cargo, run as sh, say, within};

/// How the suites are run.
pub(crate) struct Run {
    /// The long sweeps too.
    pub(crate) full: bool,
    /// A skip is a failure.
    pub(crate) strict: bool,
}

impl Run {
    /// How long one suite may take, building it included.
    fn limit(&self) -> Duration {
        let minutes = if self.full { 120 } else { 10 };
        Duration::from_secs(minutes * 60)
    }
}

/// A suite and what it cannot do without.
struct Suite {
    name: &'static str,
    needs: &'static [Component],
    /// What pip installs for it beside the tests.
    python: &'static [&'static str],
}

const NGINX: Component = Component {
    program: "nginx",
    package: "nginx-light",
};
const REDIS: Component = Component {
    program: "redis-server",
    package: "redis-server",
};
const POSTGRES: Component = Component {
    program: "/usr/lib/postgresql/*/bin/postgres",
    package: "postgresql",
};
const PYTHON: Component = Component {
    program: "python3",
    package: "python3-venv",
};

const SUITES: &[Suite] = &[
    Suite {
        name: "stack",
        needs: &[REDIS, NGINX, POSTGRES],
        python: &[],
    },
    Suite {
        name: "systemctl",
        needs: &[
            Component {
                program: "systemctl",
                package: "systemd",
            },
            Component {
                program: "dbus-daemon",
                package: "dbus",
            },
            Component {
                program: "ssh",
                package: "openssh-client",
            },
            Component {
                program: "sshd",
                package: "openssh-server",
            },
        ],
        python: &[],
    },
    Suite {
        name: "launchctl",
        needs: &[],
        python: &[],
    },
    Suite {
        name: "slurm",
        needs: &[
            Component {
                program: "slurmctld",
                package: "slurmctld",
            },
            Component {
                program: "slurmd",
                package: "slurmd",
            },
            Component {
                program: "sbatch",
                package: "slurm-client",
            },
            Component {
                program: "munged",
                package: "munge",
            },
            Component {
                program: "/usr/lib/*/slurm-wlm/auth_munge.so",
                package: "slurm-wlm-basic-plugins",
            },
        ],
        python: &[],
    },
    Suite {
        name: "hostile",
        needs: &[],
        python: &[],
    },
    Suite {
        name: "fuzz",
        needs: &[],
        python: &[],
    },
    Suite {
        name: "chaos",
        needs: &[NGINX],
        python: &[],
    },
    Suite {
        name: "rivals",
        needs: &[
            PYTHON,
            Component {
                program: "runsv",
                package: "runit",
            },
            Component {
                program: "s6-supervise",
                package: "s6",
            },
        ],
        python: &["supervisor==4.3.0"],
    },
    Suite {
        name: "notify",
        needs: &[
            PYTHON,
            REDIS,
            POSTGRES,
            Component {
                program: "systemd-notify",
                package: "systemd",
            },
            Component {
                program: "dbus-send",
                package: "dbus",
            },
        ],
        python: &["sdnotify==0.3.2", "gunicorn==23.0.0"],
    },
    Suite {
        name: "rolling",
        needs: &[PYTHON],
        python: &["gunicorn==23.0.0"],
    },
];

/// Tests of one crate that belong to a suite: the suite, the package, the test program.
const BESIDE: &[(&str, &str, &str)] = &[("hostile", "proc-core", "pid_reuse")];

/// Runs one suite, or all of them.
///
/// # Errors
/// An unknown name, a failed suite, and with [`Run::strict`] a suite that had to be skipped.
pub(crate) fn run(only: Option<&str>, options: &Run, args: &[String]) -> Result<()> {
    let chosen: Vec<&Suite> = SUITES
        .iter()
        .filter(|s| only.is_none_or(|name| s.name == name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = SUITES.iter().map(|s| s.name).collect();
        bail!(
            "no suite `{}`; there are: {}",
            only.unwrap_or_default(),
            names.join(", ")
        );
    }
    sh(&mut cargo([
        "build",
        "--locked",
        "-p",
        "proc-cli",
        "-p",
        "proc-shim",
    ]))?;
    for suite in chosen {
        let missing = ensure_suite(suite);
        if missing.is_empty() {
            run_one(suite, options, args)?;
            continue;
        }
        let skip = format!(
            "SKIPPED suite `{}`: missing {}",
            suite.name,
            missing.join(", ")
        );
        if options.strict {
            bail!("{skip}");
        }
        say(&skip);
    }
    Ok(())
}

fn run_one(suite: &Suite, options: &Run, args: &[String]) -> Result<()> {
    let mut test = cargo([
        "test",
        "--locked",
        "-p",
        "proc-tests",
        "--test",
        suite.name,
        "--",
    ]);
    // Suites own ports, cgroups and process trees of the whole machine: one test at a time.
    test.arg("--test-threads=1").args(args);
    if options.full {
        test.env("PROC_TEST_FULL", "1");
    }
    sh(&mut within(options.limit(), &test))?;
    if suite.name == "launchctl" {
        crate::launchctl::run(true)?;
    }
    for (_, package, test) in BESIDE.iter().filter(|(name, ..)| *name == suite.name) {
        let mut test = cargo(["test", "--locked", "-p", package, "--test", test]);
        if options.full {
            test.env("PROC_TEST_FULL", "1");
        }
        sh(&mut within(options.limit(), &test))?;
    }
    Ok(())
}

/// Returns what it still misses after trying to install it.
fn ensure_suite(suite: &Suite) -> Vec<&'static str> {
    let mut missing = ensure(suite.needs);
    if missing.is_empty() {
        missing = python::ensure(suite.python);
    }
    missing
}

/// Returns what a suite still misses after trying to install it.
pub(crate) fn ensure_components(suite: &str) -> Vec<&'static str> {
    SUITES
        .iter()
        .find(|s| s.name == suite)
        .map(ensure_suite)
        .unwrap_or_default()
}
