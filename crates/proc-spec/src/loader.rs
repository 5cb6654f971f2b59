//! Finding the files, reading them, and making a project of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use proc_policy::BucketRate;

use crate::decode::{At, Cx, Decode};
use crate::env_file::parse_env_file;
use crate::environment::add_layer;
use crate::error::{ConfigError, ConfigErrors, Position};
use crate::expand::{Scope, expand_node, expand_table};
use crate::graph::{Edge, check_edges, check_instance_names, check_members};
use crate::interpolate::Syntax;
use crate::merge::merge;
use crate::names::{check_name, project_name};
use crate::node::{Entry, Node, Table, Value, parse};
use crate::places::Places;
use crate::procfile::{BASE_PORT, PORT_STEP};
use crate::raw::{OnExit, RawFile, RawGroup, RawGuard, RawProject, RawService, Strategy};
use crate::service::{Given, service};
use crate::source::{Origin, read};
use crate::spec::{Environment, Format, Group, Project, ServiceSpec};

/// The most instances of one service, whoever asks for them.
pub const MAX_INSTANCES: u32 = 10_000;

/// Loads a project: which directory to look in, which files, and the caller's environment.
///
/// Reads files, and nothing else: the environment is passed in.
#[derive(Debug, Clone, Default)]
pub struct Loader {
    /// Where to look; relative names in `files` start here. Empty is the current directory.
    pub dir: PathBuf,
    /// The files, later ones over earlier ones; empty to search. A name that does not end in `.toml` is a Procfile.
    pub files: Vec<PathBuf>,
    /// The project's name, over the one in the files.
    pub project: Option<String>,
    /// The caller's environment.
    pub env: BTreeMap<String, String>,
    /// Numbers of instances by service, over the ones in the files.
    pub scale: BTreeMap<String, u32>,
}

/// A file to read, and what it is called.
#[derive(Debug, Clone)]
struct Found {
    path: PathBuf,
    shown: PathBuf,
    format: Format,
}

impl Loader {
    /// Returns a loader that searches from `dir`, with the caller's environment.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, env: BTreeMap<String, String>) -> Self {
        Self {
            dir: dir.into(),
            env,
            ..Self::default()
        }
    }

    /// Finds, reads and resolves the project.
    ///
    /// # Errors
    /// [`ConfigErrors`] with everything that is wrong, each at its line; `not_found` is set when there is no
    /// configuration at all.
    pub fn load(&self) -> Result<Project, ConfigErrors> {
        let found = self.find()?;
        let mut cx = Cx::default();
        let mut root = Table::default();
        let mut processes = Vec::new();
        for file in &found {
            let text = match read(&file.path, &file.shown) {
                Ok(text) => text,
                Err(error) => {
                    cx.errors.push(error);
                    continue;
                }
            };
            let source = cx.sources.add(file.shown.clone(), text);
            match file.format {
                Format::Procfile => {
                    let (table, names) = crate::procfile::parse(source, &mut cx);
                    processes.extend(names);
                    merge(&mut root, table);
                }
                Format::Toml => match parse(&cx.sources, source) {
                    Ok(table) => merge(&mut root, table),
                    Err(errors) => cx.errors.extend(errors),
                },
            }
        }
        if !cx.errors.is_empty() {
            return Err(ConfigErrors::new(cx.errors));
        }
        Resolver {
            loader: self,
            found: &found,
            processes,
        }
        .resolve(root, cx)
    }

    /// Resolves a text as if it were the `proc.toml` of `dir`: no file is looked for, `files` is empty
    /// then too. Files that the text names are read.
    ///
    /// # Errors
    /// [`ConfigErrors`] with everything that is wrong; the file's name is `proc.toml`.
    ///
    /// ```
    /// let loader = proc_spec::Loader::new("/srv/shop", Default::default());
    /// let project = loader.load_text("[service.web]\ncommand = './web'\n").unwrap();
    /// assert_eq!(project.services[0].cwd, std::path::Path::new("/srv/shop"));
    /// assert!(loader.load_text("[service.web]\ncomand = './web'\n").is_err());
    /// ```
    pub fn load_text(&self, text: &str) -> Result<Project, ConfigErrors> {
        let shown = PathBuf::from("proc.toml");
        let found = [Found {
            path: self.dir_or_dot().join(&shown),
            shown: shown.clone(),
            format: Format::Toml,
        }];
        let mut cx = Cx::default();
        let source = cx.sources.add(shown, text.to_owned());
        let root = parse(&cx.sources, source).map_err(ConfigErrors::new)?;
        let resolver = Resolver {
            loader: self,
            found: &found,
            processes: Vec::new(),
        };
        let mut project = resolver.resolve(root, cx)?;
        project.files.clear();
        Ok(project)
    }

    /// Names the files that would be read, in order, without reading them.
    ///
    /// # Errors
    /// [`ConfigErrors`] with `not_found` when there is no configuration.
    pub fn paths(&self) -> Result<Vec<PathBuf>, ConfigErrors> {
        let found = self.find()?;
        Ok(found.iter().map(|file| absolute(&file.path)).collect())
    }

    fn find(&self) -> Result<Vec<Found>, ConfigErrors> {
        if !self.files.is_empty() {
            return Ok(self.files.iter().map(|file| self.named(file)).collect());
        }
        let start = std::path::absolute(self.dir_or_dot()).unwrap_or_else(|_| self.dir.clone());
        for dir in start.ancestors() {
            let main = dir.join("proc.toml");
            if exists(&main) {
                let local = dir.join("proc.local.toml");
                let here = dir == start;
                let file = |path: PathBuf, name: &str| Found {
                    shown: if here {
                        PathBuf::from(name)
                    } else {
                        path.clone()
                    },
                    path,
                    format: Format::Toml,
                };
                let mut found = vec![file(main, "proc.toml")];
                if exists(&local) {
                    found.push(file(local, "proc.local.toml"));
                }
                return Ok(found);
            }
        }
        if let Some(name) = self.procfile_in_env(&start) {
            return Ok(vec![self.named(Path::new(&name))]);
        }
        if exists(&start.join("Procfile")) {
            return Ok(vec![self.named(Path::new("Procfile"))]);
        }
        let error = ConfigError {
            file: PathBuf::from("proc.toml"),
            at: Position { line: 1, column: 1 },
            key: String::new(),
            message: format!(
                "not found in `{}` or above it, and no Procfile there",
                start.display()
            ),
            hint: Some("`proc new` writes one to start from; -f names another file".to_owned()),
        };
        Err(ConfigErrors {
            not_found: true,
            ..ConfigErrors::from(error)
        })
    }

    fn dir_or_dot(&self) -> &Path {
        if self.dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &self.dir
        }
    }

    fn named(&self, file: &Path) -> Found {
        let toml = file
            .extension()
            .is_some_and(|extension| extension == "toml");
        let format = if toml { Format::Toml } else { Format::Procfile };
        Found {
            path: self.dir_or_dot().join(file),
            shown: file.to_owned(),
            format,
        }
    }

    /// `PROCFILE=` in `.env`; a broken `.env` is reported when it is read as a whole.
    fn procfile_in_env(&self, dir: &Path) -> Option<String> {
        let text = read(&dir.join(".env"), Path::new(".env")).ok()?;
        let lines = parse_env_file(&text, |name| self.env.get(name).cloned()).ok()?;
        lines
            .into_iter()
            .rev()
            .find(|line| line.key == "PROCFILE" && !line.value.is_empty())
            .map(|line| line.value)
    }
}

/// Something with this name is there, whether or not it can be read.
fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

struct Resolver<'a> {
    loader: &'a Loader,
    found: &'a [Found],
    /// The processes of Procfiles, in order.
    processes: Vec<String>,
}

/// What is known of a service beside its spec.
struct Resolved {
    spec: ServiceSpec,
    at: Origin,
    table: Table,
    edges: Vec<Edge>,
}

impl Resolver<'_> {
    fn resolve(self, mut root: Table, mut cx: Cx) -> Result<Project, ConfigErrors> {
        let dir = self.dir();
        let node = Node::new(Value::Table(root.clone()), Origin::default());
        cx.unknown_keys(&node, RawFile::KEYS);
        let mut scope = Scope::new(&self.loader.env);
        let project = self.project(&mut root, &dir, &mut scope, &mut cx);
        let defaults = self.defaults(&mut root, &mut cx);
        let services = self.services(&mut root, defaults.as_ref(), &dir, &scope, &mut cx);
        self.check_scale(&services, &mut cx);
        let groups = groups(&mut root, &services, &scope, &mut cx);
        let (name, format) = (self.name(&project, &dir, &mut cx), self.found[0].format);
        if services.is_empty() && cx.errors.is_empty() {
            let hint = match format {
                Format::Toml => {
                    "add `[service.NAME]` with a `command`; `proc new` writes an example"
                }
                Format::Procfile => "a process is a line of `name: command`",
            };
            cx.fail_hint(
                Origin::default(),
                "defines no service",
                Some(hint.to_owned()),
            );
        }
        if !cx.errors.is_empty() {
            if let Some(defaults) = &defaults {
                name_defaults(defaults, &mut cx);
            }
            return Err(ConfigErrors::new(cx.errors));
        }
        let places: Vec<(String, Origin, Table)> = services
            .iter()
            .map(|s| (s.spec.name.clone(), s.at, s.table.clone()))
            .collect();
        let on_exit = match format {
            Format::Toml => OnExit::Keep,
            Format::Procfile => OnExit::Stop,
        };
        Ok(Project {
            name,
            dir,
            files: self.found.iter().map(|file| absolute(&file.path)).collect(),
            format,
            env: Environment(scope.set),
            services: services.into_iter().map(|service| service.spec).collect(),
            groups,
            on_exit: project.on_exit.as_deref().copied().unwrap_or(on_exit),
            restart_budget: project.restart_budget.as_deref().and_then(rate),
            warnings: cx.warnings,
            places: Arc::new(Places::new(cx.sources, &places)),
        })
    }

    /// The directory of the first file.
    fn dir(&self) -> PathBuf {
        let file = absolute(&self.found[0].path);
        file.parent().map(Path::to_owned).unwrap_or_default()
    }

    fn project(
        &self,
        root: &mut Table,
        dir: &Path,
        scope: &mut Scope<'_>,
        cx: &mut Cx,
    ) -> RawProject {
        if !self.processes.is_empty() && exists(&dir.join(".env")) {
            let at = Origin::default();
            let file = Node {
                text: crate::node::Text::Literal,
                ..Node::new(Value::String(".env".to_owned()), at)
            };
            let mut table = Table::default();
            table.set("env_file", at, file);
            add_layer(&mut table, dir, scope, cx);
        }
        let Some(mut entry) = root.remove("project") else {
            return RawProject::default();
        };
        cx.at("project", |cx| {
            if let Value::Table(table) = &mut entry.node.value {
                add_layer(table, dir, scope, cx);
                expand_table(table, scope, cx);
            }
            RawProject::decode(&entry.node, cx).unwrap_or_default()
        })
    }

    fn name(&self, project: &RawProject, dir: &Path, cx: &mut Cx) -> String {
        if let Some(name) = &self.loader.project {
            if let Err(error) = check_name(name) {
                let at = Origin {
                    source: usize::MAX,
                    offset: 0,
                };
                cx.fail(at, format!("project `{}`: {error}", name.escape_debug()));
            }
            return name.clone();
        }
        let Some(name) = &project.name else {
            return project_name(dir);
        };
        if let Err(error) = check_name(name) {
            cx.at("project", |cx| {
                cx.at("name", |cx| cx.fail(name.at, error.to_string()))
            });
        }
        name.value.clone()
    }

    fn defaults(&self, root: &mut Table, cx: &mut Cx) -> Option<Table> {
        let entry = root.remove("defaults")?;
        cx.at("defaults", |cx| {
            // Unknown keys are reported here once, not for every service.
            cx.unknown_keys(&entry.node, RawService::KEYS);
            match entry.node.value {
                Value::Table(mut table) => {
                    table
                        .entries
                        .retain(|entry| RawService::KEYS.contains(&entry.key.as_str()));
                    Some(table)
                }
                _ => cx.wrong_type(&entry.node, "a table"),
            }
        })
    }

    fn services(
        &self,
        root: &mut Table,
        defaults: Option<&Table>,
        dir: &Path,
        scope: &Scope<'_>,
        cx: &mut Cx,
    ) -> Vec<Resolved> {
        let Some(entry) = root.remove("service") else {
            return Vec::new();
        };
        let Value::Table(table) = entry.node.value else {
            return cx
                .at("service", |cx| cx.wrong_type(&entry.node, "a table"))
                .unwrap_or_default();
        };
        let services: Vec<Resolved> = table
            .entries
            .into_iter()
            .filter_map(|entry| self.service(entry, defaults, dir, scope, cx))
            .collect();
        let edges: Vec<Edge> = services
            .iter()
            .flat_map(|service| service.edges.clone())
            .collect();
        let places = services
            .iter()
            .map(|service| (service.spec.name.clone(), service.at))
            .collect();
        let specs: Vec<ServiceSpec> = services
            .iter()
            .map(|service| service.spec.clone())
            .collect();
        check_edges(&edges, &specs, cx);
        check_instance_names(&specs, &places, cx);
        services
    }

    fn service(
        &self,
        entry: Entry,
        defaults: Option<&Table>,
        dir: &Path,
        scope: &Scope<'_>,
        cx: &mut Cx,
    ) -> Option<Resolved> {
        let Entry {
            key: name,
            key_at: at,
            node,
        } = entry;
        cx.path.push("service".to_owned());
        let before = cx.errors.len();
        let resolved = cx.at(&name, |cx| {
            if let Err(error) = check_name(&name) {
                cx.fail(at, error.to_string());
            }
            let Value::Table(own) = node.value else {
                return cx.wrong_type(&node, "a table");
            };
            let port = self.port(&name, scope);
            let mut scope = scope.clone();
            let mut own = own;
            let mut merged = defaults.cloned().unwrap_or_default();
            add_layer(&mut merged, dir, &mut scope, cx);
            add_layer(&mut own, dir, &mut scope, cx);
            merge(&mut merged, own);
            expand_table(&mut merged, &scope, cx);
            let node = Node::new(Value::Table(merged), at);
            let raw = RawService::decode(&node, cx)?;
            let given = Given {
                name: &name,
                at,
                dir,
                env: scope.set,
                port,
                scale: self.loader.scale.get(&name).copied(),
            };
            // A wrong value reads as an absent one: what follows from that would be noise.
            let read = cx.errors.len();
            let spec = service(&raw, given, cx);
            if read > before {
                cx.errors.truncate(read);
            }
            let Value::Table(table) = node.value else {
                return None;
            };
            Some(Resolved {
                spec,
                at,
                table,
                edges: edges(&name, &raw),
            })
        });
        cx.path.pop();
        resolved
    }

    /// The port of the first instance of a process of a Procfile. `PORT` in `.env`, then in the environment, is
    /// that of the first process.
    fn port(&self, name: &str, scope: &Scope<'_>) -> Option<u16> {
        let index = self.processes.iter().position(|process| process == name)?;
        let base = scope
            .get("PORT")
            .and_then(|port| port.trim().parse().ok())
            .unwrap_or(BASE_PORT);
        PORT_STEP
            .checked_mul(u16::try_from(index).ok()?)?
            .checked_add(base)
    }

    fn check_scale(&self, services: &[Resolved], cx: &mut Cx) {
        let at = Origin {
            source: usize::MAX,
            offset: 0,
        };
        for (name, count) in &self.loader.scale {
            if !services.iter().any(|service| service.spec.name == *name) {
                let meant =
                    crate::suggest::nearest(name, services.iter().map(|s| s.spec.name.as_str()));
                let hint = meant.map(|meant| format!("did you mean `{meant}`?"));
                cx.fail_hint(
                    at,
                    format!("scale: there is no service `{}`", name.escape_debug()),
                    hint,
                );
            } else if *count > MAX_INSTANCES {
                cx.fail(
                    at,
                    format!("scale: {count} instances of `{name}` are more than {MAX_INSTANCES}"),
                );
            }
        }
    }
}

/// What is wrong in `[defaults]` is found in each service: name the place where it stands.
fn name_defaults(defaults: &Table, cx: &mut Cx) {
    let mut places = BTreeSet::new();
    let mut rest: Vec<&Table> = vec![defaults];
    while let Some(table) = rest.pop() {
        for entry in &table.entries {
            let mut nodes = vec![&entry.node];
            places.insert(cx.sources.place(entry.key_at));
            while let Some(node) = nodes.pop() {
                places.insert(cx.sources.place(node.at));
                match &node.value {
                    Value::Table(table) => rest.push(table),
                    Value::Array(items) => nodes.extend(items),
                    _ => {}
                }
            }
        }
    }
    for error in &mut cx.errors {
        let key = error.key.splitn(3, '.').collect::<Vec<_>>();
        if let ["service", _, rest] = key[..]
            && places.contains(&(error.file.clone(), error.at))
        {
            error.key = format!("defaults.{rest}");
        }
    }
}

/// Returns a file's absolute path, without `..`: the same file has the same directory, however it was named.
fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if !path.components().any(|part| part == Component::ParentDir) {
        return path;
    }
    let parts = path.parent().zip(path.file_name());
    let real = parts.and_then(|(dir, name)| Some(dir.canonicalize().ok()?.join(name)));
    real.unwrap_or(path)
}

fn edges(name: &str, raw: &RawService) -> Vec<Edge> {
    let edge = |to: &At<String>, key| Edge {
        from: name.to_owned(),
        to: to.value.clone(),
        key,
        at: to.at,
    };
    let needs = raw
        .needs
        .as_deref()
        .map(|needs| &*needs.0)
        .unwrap_or_default();
    let after = raw
        .after
        .as_deref()
        .map(|after| &*after.0)
        .unwrap_or_default();
    needs
        .iter()
        .map(|(to, _)| edge(to, "needs"))
        .chain(after.iter().map(|to| edge(to, "after")))
        .collect()
}

fn groups(
    root: &mut Table,
    services: &[Resolved],
    scope: &Scope<'_>,
    cx: &mut Cx,
) -> BTreeMap<String, Group> {
    let mut groups = BTreeMap::new();
    let Some(mut entry) = root.remove("groups") else {
        return groups;
    };
    let specs: Vec<ServiceSpec> = services
        .iter()
        .map(|service| service.spec.clone())
        .collect();
    cx.at("groups", |cx| {
        expand_node(&mut entry.node, Syntax::Config, scope, cx);
        let Some(table) = entry.node.as_table() else {
            cx.wrong_type::<()>(&entry.node, "a table");
            return;
        };
        for entry in &table.entries {
            cx.at(&entry.key, |cx| {
                if let Err(error) = check_name(&entry.key) {
                    cx.fail(entry.key_at, error.to_string());
                }
                let Some(group) = RawGroup::decode(&entry.node, cx) else {
                    return;
                };
                check_members(&group, &specs, cx);
                groups.insert(
                    entry.key.clone(),
                    Group {
                        members: group
                            .members
                            .iter()
                            .map(|member| member.value.clone())
                            .collect(),
                        strategy: group.strategy.unwrap_or(Strategy::OneForOne),
                        restart_budget: group.budget.as_deref().and_then(rate),
                    },
                );
            });
        }
    });
    groups
}

/// So many within so long, as a bucket that holds that many and fills in that time.
fn rate(guard: &RawGuard) -> Option<BucketRate> {
    guard.0.map(|guard| BucketRate {
        burst: guard.count,
        every: guard.within / guard.count.max(1),
    })
}
