//! What a machine cannot do for the services that run on it without another manager.

use proc_core::caps::Capabilities;
use proc_spec::{BackendName, ConfigError, Project, ServiceSpec};

/// Finds the limits of native services that this machine keeps in a weaker form or not at all,
/// each with its line. `root` says whether services without a `user` run as root; the machine is
/// only looked at where a service has such a limit.
#[must_use]
pub fn audit_host(
    project: &Project,
    root: bool,
    probe: impl FnOnce() -> Capabilities,
) -> Vec<ConfigError> {
    let limited: Vec<&ServiceSpec> = project
        .services
        .iter()
        .filter(|service| service.backend == BackendName::Native)
        .filter(|service| limits(service, root).next().is_some())
        .collect();
    if limited.is_empty() {
        return Vec::new();
    }
    let here = probe();
    let carried = |controller: &str| {
        here.works("cgroup2 writable") && here.works(&format!("{controller} controller"))
    };
    let weaker = |service: &&ServiceSpec| {
        let name = service.name.clone();
        let missing = limits(service, root).filter(|limit| !carried(limit.controller));
        let told = missing.map(move |limit| {
            let key = format!("service.{name}.limits.{}", limit.key);
            project.error_at(&key, format!("weaker on this machine: {}", limit.instead))
        });
        told.collect::<Vec<_>>()
    };
    limited.iter().flat_map(weaker).collect()
}

/// A limit of a whole tree, which only a cgroup can keep.
struct TreeLimit {
    key: &'static str,
    controller: &'static str,
    /// What comes instead.
    instead: &'static str,
}

fn limits(service: &ServiceSpec, root: bool) -> impl Iterator<Item = TreeLimit> + use<> {
    let cgroup = service.attributes.cgroup.clone().unwrap_or_default();
    let user = service.attributes.user.as_deref();
    let uncounted = user.map_or(root, |user| ["root", "0"].contains(&user));
    let all = [
        (
            cgroup.memory_max.is_some(),
            TreeLimit {
                key: "memory",
                controller: "memory",
                instead: "there is no memory controller, so it limits the address space of each process",
            },
        ),
        (
            cgroup.pids_max.is_some(),
            TreeLimit {
                key: "pids",
                controller: "pids",
                instead: if uncounted {
                    "there is no pids controller, and the kernel does not count root's processes, so it is not applied"
                } else {
                    "there is no pids controller, so it counts all processes of the user"
                },
            },
        ),
        (
            cgroup.cpu_max_us.is_some(),
            TreeLimit {
                key: "cpu_max",
                controller: "cpu",
                instead: "there is no cpu controller, so it is not applied",
            },
        ),
    ];
    all.into_iter()
        .filter_map(|(set, limit)| set.then_some(limit))
}

#[cfg(test)]
mod tests {
    use proc_core::caps::Capability;
    use proc_spec::Loader;

    use super::*;

    fn machine(works: bool) -> Capabilities {
        let names = [
            "cgroup2 writable",
            "memory controller",
            "pids controller",
            "cpu controller",
        ];
        let capability = |name| Capability {
            name,
            works,
            line: String::new(),
        };
        Capabilities {
            all: names.map(capability).to_vec(),
        }
    }

    fn project(keys: &str) -> Project {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let text = format!("[service.web]\ncommand = 'x'\n{keys}\n");
        std::fs::write(dir.path().join("proc.toml"), text).expect("it can be written");
        let loader = Loader::new(dir.path(), std::collections::BTreeMap::new());
        loader.load().expect("it is valid")
    }

    #[test]
    fn what_only_a_controller_can_limit_is_told_where_there_is_none() {
        const LIMITS: &str = "limits = { memory = '1MiB', pids = 9, cpu_max = '50%', nofile = 9 }";
        let project = project(LIMITS);
        assert_eq!(audit_host(&project, true, || machine(true)), []);
        let told = audit_host(&project, true, || machine(false));
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].contains(":3:") && told[0].contains("limits.memory"));
        assert!(told[1].contains("does not count root's processes"));
        let told = audit_host(&project, false, || machine(false));
        assert!(told[1].to_string().contains("all processes of the user"));
    }

    #[test]
    fn the_machine_is_not_looked_at_without_need() {
        for keys in [
            "limits = { nofile = 9 }",
            "backend = 'systemctl'\nlimits = { pids = 9 }",
        ] {
            let told = audit_host(&project(keys), true, || panic!("nobody asks"));
            assert_eq!(told, [], "{keys}");
        }
    }
}
