//! The clusters that stand: what of Docker's containers and networks is ours, whose it is, and how it goes.
//!
//! Every cluster has a bridge network of its own, of the cluster's name, and all that we know of it is in the labels of
//! that network. So nothing needs to be written down elsewhere, and a cluster whose maker was killed is found.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    thread,
    time::Duration,
};

use super::kernel_settings::KernelSettings;
use crate::{
    docker::{Docker, DockerError, LABEL, Owner},
    play::Play,
};

/// A cluster of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its name, which is its network's too.
    pub name: String,
    /// Whose it is; unknown where the network is gone and only nodes are left.
    pub owner: Option<Owner>,
    /// Its nodes, by their containers' names.
    pub nodes: Vec<String>,
    /// Whether there are nodes, and all of them run.
    pub running: bool,
}

/// How the name of every cluster of ours begins.
pub(super) const PREFIX: &str = "spangate-";
/// The label that kind gives its nodes (kind, `pkg/cluster/internal/providers/docker/constants.go`).
const CLUSTER: &str = "io.x-k8s.kind.cluster";
/// How often removing a cluster is tried: what a killed kind had asked for may come into being meanwhile.
const ATTEMPTS: u32 = 5;
/// Time between two tries.
const AGAIN: Duration = Duration::from_millis(300);

// === impl Standing ===

impl Standing {
    /// All clusters of ours, by name. Blocks.
    pub fn list(docker: &Docker) -> Result<Vec<Self>, DockerError> {
        let mut found: BTreeMap<String, Self> = BTreeMap::new();
        // Before networks, which are there before their nodes: a cluster that is made meanwhile is one without nodes, and
        // never one without an owner.
        let nodes = nodes(docker, CLUSTER)?;
        let mut strange = BTreeSet::new();
        let filter = format!("label={LABEL}=cluster");
        let networks = docker.run(["network", "ls", "--filter", &filter, "--format", "{{.Name}}"])?;
        for name in networks.lines() {
            let format = Owner::format(".Labels");
            let owner = match docker.run(["network", "inspect", "--format", &format, name]) {
                Ok(owner) => owner,
                // Removed meanwhile, by the run that made it.
                Err(error) if error.is_missing() => continue,
                // Without its network, its nodes would be nobody's.
                Err(error) => return Err(error),
            };
            let name = name.to_owned();
            let Some(owner) = Owner::read(&owner) else {
                tracing::warn!(name, owner, "another version made this cluster: it is left alone");
                strange.insert(name);
                continue;
            };
            found.insert(name.clone(), Self { name, owner: Some(owner), nodes: Vec::new(), running: false });
        }
        for (node, cluster, runs) in nodes.lines().filter_map(our_node) {
            if strange.contains(cluster) {
                continue;
            }
            let standing = found.entry(cluster.to_owned()).or_insert_with(|| Self {
                name: cluster.to_owned(),
                owner: None,
                nodes: Vec::new(),
                running: false,
            });
            standing.running = runs && (standing.running || standing.nodes.is_empty());
            standing.nodes.push(node.to_owned());
        }
        Ok(found.into_values().collect())
    }

    /// Whether it is to stay until it is taken down.
    pub fn is_kept(&self) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.process.is_none())
    }

    /// Whether nobody will ever take it down: the process that made it is gone.
    pub fn is_abandoned(&self) -> bool {
        match &self.owner {
            None => true,
            Some(owner) => owner.is_gone(),
        }
    }

    /// Whether nobody here can tell whether that is so.
    pub fn is_elsewhere(&self) -> bool {
        self.owner.as_ref().is_some_and(Owner::is_elsewhere)
    }

    /// The processes on the node with the API server, by their numbers on this machine and their names. Blocks.
    pub fn processes(&self, docker: &Docker) -> Result<Vec<(u32, String)>, DockerError> {
        processes(docker, &format!("{}-control-plane", self.name))
    }

    /// Removes it and the directory of a kept one. Blocks.
    pub fn remove(&self, docker: &Docker) -> Result<(), DockerError> {
        remove(docker, &self.name)?;
        // The directory of a run has its ledgers too, and is tidied up by the next run.
        let Some(owner) = self.owner.as_ref().filter(|owner| owner.process.is_none()) else { return Ok(()) };
        let directory = owner.directory.display();
        match Play::from_process().ok().and_then(|play| self.own_directory(&play)) {
            None => tracing::warn!(
                %directory,
                "the files of the cluster are not where those of this user are, and are left alone"
            ),
            Some(own) => match fs::remove_dir_all(own) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(%directory, %error, "cannot remove the files of a cluster");
                }
                _ => {}
            },
        }
        Ok(())
    }

    /// The directory of a kept one, where it is that of a cluster of this name on this machine: what is written on a network
    /// may come from anywhere.
    fn own_directory(&self, play: &Play) -> Option<&Path> {
        let owner = self.owner.as_ref().filter(|owner| owner.process.is_none() && owner.is_here())?;
        let name = self.name.strip_prefix(PREFIX)?;
        play.lends(name, &owner.directory).then_some(owner.directory.as_path())
    }
}

/// The processes on a node, by their numbers on this machine and their names. Blocks.
pub(super) fn processes(docker: &Docker, node: &str) -> Result<Vec<(u32, String)>, DockerError> {
    let text = docker.run(["top", node, "-eo", "pid,comm"])?;
    // The first line is the heading.
    let process = |line: &str| {
        let (number, name) = line.trim().split_once(char::is_whitespace)?;
        Some((number.parse().ok()?, name.trim().to_owned()))
    };
    Ok(text.lines().filter_map(process).collect())
}

/// The nodes of all clusters of kind with this label, running or not, in lines for [`our_node`].
fn nodes(docker: &Docker, label: &str) -> Result<String, DockerError> {
    let format = format!("{{{{.Names}}}}\t{{{{.Label {CLUSTER:?}}}}}\t{{{{.State}}}}\t{{{{.Networks}}}}");
    docker.run(["ps", "--all", "--filter", &format!("label={label}"), "--format", &format])
}

/// A node, its cluster, and whether it runs, if it is one of ours: only ours have a network of the cluster's name.
fn our_node(line: &str) -> Option<(&str, &str, bool)> {
    let mut fields = line.split('\t');
    let (node, cluster) = (fields.next()?, fields.next()?);
    let (state, networks) = (fields.next()?, fields.next()?);
    let ours = cluster.starts_with(PREFIX) && networks.split(',').any(|network| network == cluster);
    ours.then_some((node, cluster, state == "running"))
}

/// Removes the nodes and the network of a cluster, as `kind delete cluster` does, volumes included, and sets back what its
/// kubelets have changed of the machine. What is not there is fine. Blocks.
pub(super) fn remove(docker: &Docker, cluster: &str) -> Result<(), DockerError> {
    let settings = KernelSettings::of(docker, cluster);
    remove_all(docker, cluster)?;
    settings.iter().for_each(KernelSettings::restore);
    Ok(())
}

fn remove_all(docker: &Docker, cluster: &str) -> Result<(), DockerError> {
    let mut attempt = 1;
    loop {
        match remove_once(docker, cluster) {
            Err(error) if attempt == ATTEMPTS => return Err(error),
            Ok(true) => return Ok(()),
            Ok(false) if attempt == ATTEMPTS => return Ok(()),
            _ => thread::sleep(AGAIN),
        }
        attempt += 1;
    }
}

/// Removes what is there now; gives whether nothing was.
fn remove_once(docker: &Docker, cluster: &str) -> Result<bool, DockerError> {
    // A user may have a cluster of that name too, which is on the network of plain kind.
    let found = nodes(docker, &format!("{CLUSTER}={cluster}"))?;
    let ours = found.lines().filter_map(our_node).filter(|(_, of, _)| *of == cluster);
    let nodes: Vec<&str> = ours.map(|(node, ..)| node).collect();
    if !nodes.is_empty() {
        docker.run(["rm", "--force", "--volumes"].iter().chain(&nodes))?;
    }
    let name = format!("name=^{cluster}$");
    let label = format!("label={LABEL}=cluster");
    let networks = docker.run(["network", "ls", "--quiet", "--filter", &name, "--filter", &label])?;
    let networks: Vec<&str> = networks.lines().collect();
    if !networks.is_empty() {
        docker.run(["network", "rm"].iter().chain(&networks))?;
    }
    Ok(nodes.is_empty() && networks.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{docker::testing, play::PlayProcess};

    #[test]
    fn a_cluster_of_plain_kind_is_not_ours() {
        assert_eq!(our_node("n\tspangate-a\trunning\tspangate-a"), Some(("n", "spangate-a", true)));
        assert_eq!(our_node("n\tspangate-a\texited\tother,spangate-a"), Some(("n", "spangate-a", false)));
        assert_eq!(our_node("n\tspangate-a\trunning\tkind"), None);
        assert_eq!(our_node("n\tmine\trunning\tmine"), None);
    }

    /// Scenario: a user has a cluster of plain kind with the name of one of ours, whose node was made and never started.
    /// Guarantees: only ours is removed.
    #[test]
    fn a_cluster_of_plain_kind_with_our_name_stays() {
        let (dir, docker) = testing::docker(
            r#"ps*)
                 printf 'theirs\tspangate-demo\trunning\tkind\n'
                 printf 'ours\tspangate-demo\tcreated\tspangate-demo\n';;
               rm*) echo "$*" >>$here/removed;;"#,
        );
        assert!(!remove_once(&docker, "spangate-demo").unwrap());
        let removed = fs::read_to_string(dir.path().join("removed")).unwrap();
        assert_eq!(removed, "rm --force --volumes ours\n");
    }

    /// Scenario: the network of a cluster with a node is there, and Docker does not answer what is asked of it; then the
    /// network is gone.
    /// Guarantees: only the second is a cluster without an owner.
    #[test]
    fn a_network_that_cannot_be_looked_at_is_not_gone() {
        let listed = |said: &str| {
            let cases = format!(
                "ps*) printf 'node\\tspangate-a\\trunning\\tspangate-a\\n';;
                 'network ls'*) echo spangate-a;;
                 'network inspect'*) echo '{said}' >&2; exit 1;;"
            );
            let (_dir, docker) = testing::docker(&cases);
            Standing::list(&docker)
        };
        assert!(listed("Cannot connect to the Docker daemon").is_err());
        let gone = listed("Error response from daemon: network spangate-a not found").unwrap();
        assert!(matches!(gone.as_slice(), [one] if one.owner.is_none()), "{gone:?}");
    }

    #[test]
    fn only_what_lost_its_process_is_abandoned() {
        let standing = |process| Standing {
            name: "spangate-a".to_owned(),
            owner: Some(Owner { process, ..Owner::kept("/d".into()) }),
            nodes: Vec::new(),
            running: false,
        };
        let this = PlayProcess::this().unwrap();
        let gone = PlayProcess { start_time: this.start_time + 1, ..this.clone() };
        assert!(!standing(Some(this)).is_abandoned());
        assert!(standing(Some(gone)).is_abandoned());
        let kept = standing(None);
        assert!(kept.is_kept() && !kept.is_abandoned());
        assert!(Standing { owner: None, ..kept }.is_abandoned());
    }

    /// Scenario: kept clusters whose networks name the directory of this user's cluster of that name, another one, or that of
    /// another machine.
    /// Guarantees: only the first is ours to remove.
    #[test]
    fn only_the_directory_of_a_cluster_of_ours_is_removed() {
        let play = Play::new("/state".into());
        let owned = |owner| {
            let (name, nodes) = ("spangate-demo".to_owned(), Vec::new());
            let standing = Standing { name, owner: Some(owner), nodes, running: false };
            standing.own_directory(&play).map(Path::to_owned)
        };
        assert_eq!(owned(Owner::kept("/state/demo".into())).as_deref(), Some(Path::new("/state/demo")));
        assert_eq!(owned(Owner::kept("/home".into())), None);
        assert_eq!(owned(Owner::kept("/state/other".into())), None);
        let machine = Some("another".to_owned());
        assert_eq!(owned(Owner { machine, ..Owner::kept("/state/demo".into()) }), None);
        assert_eq!(owned(Owner::this("/state/demo".into()).unwrap()), None);
    }
}
