//! A small catalogue, a real Go build, and a server on loopback.

use std::{
    ffi::OsString,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    sync::{Barrier, Mutex},
    thread,
};

use flate2::{Compression, write::GzEncoder};

use super::{catalogue::Module, *};

const SPEC: VersionSpec = VersionSpec { major: 9, minor: 9, patch: None };
const NINE: Version = Version::new(9, 9, 1);

/// A program without dependencies, so that its build needs no network.
const MAIN_GO: &str = "package main\n\nimport \"fmt\"\n\nvar version string\n\nfunc main() { fmt.Println(\"Kubernetes \" + version) }\n";

/// Collects events.
#[derive(Default)]
struct Recorder(Mutex<Vec<Event>>);

impl Progress for Recorder {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Recorder {
    fn count(&self, which: impl Fn(&Event) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|event| which(event)).count()
    }
}

fn module(main: &str) -> Module {
    let files = [("go.mod", "module example.test/server\n\ngo 1.21\n"), ("main.go", main)];
    Module {
        name: "server".to_owned(),
        files: files.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
    }
}

/// A catalogue of one kube-apiserver 9.9.1 that is built from `main`.
fn built_from(main: &str) -> Catalogue {
    let text = r#"
        defaults = { kube-apiserver = "9.9.1" }
        [[release]]
        component = "kube-apiserver"
        version = "9.9.1"
        build = { module = "server", package = ".", ldflags = ["-s", "-X main.version=v9.9.1"] }
    "#;
    Catalogue::parse(text, vec![module(main)]).unwrap()
}

/// A catalogue of one kube-apiserver 9.9.1 that lies at `url` in an archive with the checksum `sha512`.
fn downloaded_from(url: &str, sha512: &str) -> Catalogue {
    let text = format!(
        r#"
        defaults = {{}}
        [[archive]]
        name = "archive"
        url = "{url}"
        sha512 = {{ {} = "{sha512}" }}
        [[release]]
        component = "kube-apiserver"
        version = "9.9.1"
        download = {{ archive = "archive", member = "controller-tools/envtest/kube-apiserver" }}
        "#,
        Platform::HOST
    );
    Catalogue::parse(&text, Vec::new()).unwrap()
}

fn wanted() -> Wanted {
    Wanted { component: Component::KubeApiserver, spec: SPEC, path: None }
}

/// Our `PATH`, on which `go` is.
fn path() -> Option<OsString> {
    std::env::var_os("PATH")
}

fn env(dir: &Path) -> AssetsEnv {
    AssetsEnv { cache: Some(dir.join("cache")), ..AssetsEnv::default() }
}

/// A directory with a `kube-apiserver` that says it has `version`.
fn directory(root: &Path, name: &str, version: &str) -> PathBuf {
    let dir = root.join(name);
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join("kube-apiserver");
    fs::write(&path, format!("#!/bin/sh\necho Kubernetes v{version}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

// === lookup ===

#[test]
fn the_first_place_wins() {
    let root = tempfile::tempdir().unwrap();
    let explicit = directory(root.path(), "explicit", "1.2.3").join("kube-apiserver");
    let cached = directory(root.path(), &format!("cache/kube-apiserver/9.9.1/{}", Platform::HOST), "9.9.1");
    let mut env = AssetsEnv {
        spangate_assets: Some(directory(root.path(), "spangate", "9.9.1")),
        kubebuilder_assets: Some(directory(root.path(), "kubebuilder", "9.9.0")),
        path: Some(directory(root.path(), "path", "9.9.7").into()),
        ..env(root.path())
    };
    let locate = |env: &AssetsEnv, path: Option<&PathBuf>| {
        let wanted = Wanted { path: path.cloned(), ..wanted() };
        Assets::with_catalogue(env.clone(), built_from(MAIN_GO))
            .locate(&wanted)
            .map(|found| (found.source, found.version))
    };
    // What the user names is taken whatever its version.
    assert_eq!(locate(&env, Some(&explicit)), Some((Source::Explicit, Version::new(1, 2, 3))));
    assert_eq!(locate(&env, None), Some((Source::SpangateAssets, NINE)));
    env.spangate_assets = None;
    assert_eq!(locate(&env, None), Some((Source::KubebuilderAssets, Version::new(9, 9, 0))));
    env.kubebuilder_assets = None;
    assert_eq!(locate(&env, None), Some((Source::Path, Version::new(9, 9, 7))));
    env.path = None;
    assert_eq!(locate(&env, None), Some((Source::Cache, NINE)));
    fs::remove_dir_all(cached).unwrap();
    assert_eq!(locate(&env, None), None);
}

#[test]
fn a_build_is_made_although_a_binary_is_at_hand() {
    let root = tempfile::tempdir().unwrap();
    let cached = directory(root.path(), &format!("cache/kube-apiserver/9.9.1/{}", Platform::HOST), "0.0.0");
    let assets = Assets::with_catalogue(AssetsEnv { path: path(), ..env(root.path()) }, built_from(MAIN_GO));
    let found = assets.build(&wanted(), &()).unwrap();
    assert_eq!((found.source, found.version), (Source::Build, NINE));
    assert_eq!(version_of::ask(&cached.join("kube-apiserver")).unwrap(), NINE);
}

#[test]
fn other_versions_are_passed_over_with_a_note() {
    let root = tempfile::tempdir().unwrap();
    let env = AssetsEnv {
        spangate_assets: Some(directory(root.path(), "old", "9.8.0")),
        kubebuilder_assets: Some(directory(root.path(), "right", "9.9.1")),
        ..env(root.path())
    };
    let events = Recorder::default();
    let found = Assets::with_catalogue(env.clone(), built_from(MAIN_GO)).ensure(&wanted(), &events).unwrap();
    assert_eq!(found.source, Source::KubebuilderAssets);
    let noted = |event: &Event| matches!(event, Event::PassedOver { why, .. } if why.contains("9.8.0"));
    assert_eq!(events.count(noted), 1);

    // An exact patch is not met by another.
    let exact = Wanted { spec: "9.9.2".parse().unwrap(), ..wanted() };
    let error = Assets::with_catalogue(env, built_from(MAIN_GO)).ensure(&exact, &()).unwrap_err().to_string();
    assert!(error.contains("the catalogue knows only 9.9.1"), "{error}");
    assert!(error.contains("9.8.0") && error.contains("right"), "{error}");
}

#[test]
fn a_named_binary_that_does_not_run_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let path = Some(root.path().join("none"));
    let assets = Assets::with_catalogue(env(root.path()), built_from(MAIN_GO));
    let error = assets.ensure(&Wanted { path, ..wanted() }, &()).unwrap_err();
    assert!(matches!(error, AssetError::Explicit { .. }), "{error}");
}

#[test]
fn without_a_home_there_is_no_cache() {
    let error =
        Assets::with_catalogue(AssetsEnv::default(), built_from(MAIN_GO)).ensure(&wanted(), &()).unwrap_err();
    assert!(matches!(error, AssetError::NoCache), "{error}");
}

#[test]
fn scenarios_name_versions_and_paths() {
    let assets = Assets::new(AssetsEnv::default());
    let mut cluster = model::Cluster::default();
    let kubernetes = assets.wanted_kube_apiserver(&cluster).unwrap();
    assert_eq!((kubernetes.spec.to_string().as_str(), kubernetes.path), ("1.37", None));
    let etcd = |cluster: &_| assets.wanted_etcd(cluster, Version::new(1, 36, 2)).unwrap().spec.to_string();
    assert_eq!(etcd(&cluster), "3.6");
    cluster.etcd.version = Some("3.7.3".to_owned());
    assert_eq!(etcd(&cluster), "3.7.3");
    cluster.kubernetes = "latest".to_owned();
    assert!(assets.wanted_kube_apiserver(&cluster).is_err());
}

#[test]
fn the_list_says_what_is_at_hand() {
    let root = tempfile::tempdir().unwrap();
    let env =
        AssetsEnv { spangate_assets: Some(directory(root.path(), "bin", "1.36.2")), ..env(root.path()) };
    let list = Assets::new(env).list();
    let entry = |version: &str| {
        let version = version.parse().unwrap();
        list.iter()
            .find(|asset| asset.component == Component::KubeApiserver && asset.version == version)
            .unwrap()
    };
    assert_eq!(entry("1.36.2").found.as_ref().map(|found| found.source), Some(Source::SpangateAssets));
    assert_eq!((entry("1.36.2").default, entry("1.36.2").buildable), (false, false));
    assert_eq!((entry("1.37.2").default, entry("1.37.2").buildable), (true, true));
    assert!(!entry("1.37.2").downloadable && entry("1.37.2").found.is_none());
    assert_eq!(list.iter().filter(|asset| asset.default).count(), Component::ALL.len());
}

// === build ===

#[test]
fn a_build_lands_in_the_cache_and_is_found_there() {
    let root = tempfile::tempdir().unwrap();
    let env = AssetsEnv { path: path(), ..env(root.path()) };
    let assets = Assets::with_catalogue(env, built_from(MAIN_GO));
    let events = Recorder::default();
    let built = assets.ensure(&wanted(), &events).unwrap();
    assert_eq!((built.source, built.version), (Source::Build, NINE));
    assert_eq!(version_of::ask(&built.path).unwrap(), NINE);
    let skipped = |event: &Event| {
        matches!(event, Event::DownloadSkipped { why, .. }
            if why.contains("no checksum is pinned for kube-apiserver 9.9.1") && why.ends_with("; building from source"))
    };
    assert_eq!(events.count(skipped), 1);
    assert!(events.count(|event| matches!(event, Event::Building { .. })) >= 1);

    let again = assets.ensure(&wanted(), &()).unwrap();
    assert_eq!((again.source, again.path.clone()), (Source::Cache, built.path));
    let mut left: Vec<_> =
        fs::read_dir(again.path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort_unstable();
    assert_eq!(left, [".lock", "kube-apiserver"]);
}

#[test]
fn two_at_once_build_once() {
    let root = tempfile::tempdir().unwrap();
    let env = AssetsEnv { path: path(), ..env(root.path()) };
    let assets = Assets::with_catalogue(env, built_from(MAIN_GO));
    let (events, barrier) = (Recorder::default(), Barrier::new(2));
    // The first holds the lock until the second waits for it: the order of the two is certain then.
    let hold = |event: Event| {
        let building = events.count(|event| matches!(event, Event::Building { .. }));
        let rendezvous = matches!(event, Event::Waiting { .. })
            || matches!(event, Event::Building { .. }) && building == 0;
        events.event(event);
        if rendezvous {
            barrier.wait();
        }
    };
    let sources = thread::scope(|scope| {
        let both = [0, 1].map(|_| scope.spawn(|| assets.ensure(&wanted(), &hold).unwrap().source));
        both.map(|thread| thread.join().unwrap())
    });
    assert!(sources.contains(&Source::Build) && sources.contains(&Source::Cache), "{sources:?}");
    assert_eq!(events.count(|event| matches!(event, Event::Waiting { .. })), 1);
}

#[test]
fn a_broken_build_shows_what_the_compiler_said_and_keeps_its_log() {
    let root = tempfile::tempdir().unwrap();
    let env = AssetsEnv { path: path(), ..env(root.path()) };
    let broken = "package main\n\nfunc main() { undefinedName() }\n";
    let error = Assets::with_catalogue(env, built_from(broken)).ensure(&wanted(), &()).unwrap_err();
    let AssetError::Build { source: BuildError::Failed { log, tail, .. }, .. } = &error else {
        panic!("{error}")
    };
    assert!(tail.contains("undefined: undefinedName"), "{tail}");
    assert!(fs::read_to_string(log).unwrap().contains("undefined: undefinedName"));
    assert!(!log.with_file_name("kube-apiserver").exists());
}

#[test]
fn a_build_of_another_version_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let env = AssetsEnv { path: path(), ..env(root.path()) };
    let other = MAIN_GO.replace("+ version", "+ \"v8.8.8\"");
    let error = Assets::with_catalogue(env, built_from(&other)).ensure(&wanted(), &()).unwrap_err();
    let AssetError::Build { source: BuildError::WrongVersion { got, .. }, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(got, Version::new(8, 8, 8));
}

#[test]
fn without_go_the_error_says_what_to_install() {
    let root = tempfile::tempdir().unwrap();
    let error =
        Assets::with_catalogue(env(root.path()), built_from(MAIN_GO)).ensure(&wanted(), &()).unwrap_err();
    assert!(full_message(&error).contains("install Go 1.21 or later"), "{}", full_message(&error));
}

#[test]
fn leftovers_of_a_killed_fetcher_are_removed() {
    let root = tempfile::tempdir().unwrap();
    let env = AssetsEnv { path: path(), ..env(root.path()) };
    let dir = root.path().join(format!("cache/kube-apiserver/9.9.1/{}", Platform::HOST));
    fs::create_dir_all(dir.join(".build-x")).unwrap();
    fs::write(dir.join(".build-x/output"), "half").unwrap();
    fs::write(dir.join(".download-x"), "half").unwrap();
    Assets::with_catalogue(env, built_from(MAIN_GO)).ensure(&wanted(), &()).unwrap();
    assert!(!dir.join(".build-x").exists() && !dir.join(".download-x").exists());
}

// === download ===

/// A gzipped tar archive with one file, and its checksum.
fn archive(name: &str, content: &str) -> (Vec<u8>, String) {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    header.set_cksum();
    tar.append_data(&mut header, name, content.as_bytes()).unwrap();
    let bytes = tar.into_inner().unwrap().finish().unwrap();
    let sum = ring::digest::digest(&ring::digest::SHA512, &bytes);
    (bytes, download::hex(sum.as_ref()))
}

/// Answers one request with `status` and `body`, and gives the address of the archive.
fn serve(status: &'static str, body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/{{os}}-{{arch}}.tar.gz", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            let count = stream.read(&mut buffer).unwrap();
            request.extend_from_slice(&buffer[..count]);
        }
        let platform = format!("/{}.tar.gz ", Platform::HOST);
        assert!(String::from_utf8_lossy(&request).contains(&platform), "the platform is not in the address");
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
    });
    url
}

const SERVER: &str = "#!/bin/sh\necho Kubernetes v9.9.1\n";

#[test]
fn a_download_with_the_pinned_checksum_is_unpacked() {
    let root = tempfile::tempdir().unwrap();
    let (bytes, sum) = archive("controller-tools/envtest/kube-apiserver", SERVER);
    let length = bytes.len() as u64;
    let assets = Assets::with_catalogue(env(root.path()), downloaded_from(&serve("200 OK", bytes), &sum));
    let events = Recorder::default();
    let found = assets.ensure(&wanted(), &events).unwrap();
    assert_eq!(found.source, Source::Download);
    assert_eq!(version_of::ask(&found.path).unwrap(), NINE);
    let whole = |event: &Event| matches!(event, Event::Downloading { done, total, .. } if *done == length && *total == Some(length));
    assert_eq!(events.count(whole), 1);
    assert_eq!(assets.locate(&wanted()).unwrap().source, Source::Cache);
}

/// Tries a download that must fail; gives the message and the names of the files that are left.
fn failed_download(url: &str, sum: &str) -> (String, Vec<String>) {
    let root = tempfile::tempdir().unwrap();
    let assets = Assets::with_catalogue(env(root.path()), downloaded_from(url, sum));
    let error = assets.ensure(&wanted(), &()).unwrap_err();
    assert!(matches!(error, AssetError::Unavailable { .. }), "{error}");
    let dir = root.path().join(format!("cache/kube-apiserver/9.9.1/{}", Platform::HOST));
    let left = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    (error.to_string(), left.collect())
}

#[test]
fn another_checksum_is_refused_and_nothing_is_left() {
    let (bytes, sum) = archive("controller-tools/envtest/kube-apiserver", SERVER);
    let pinned = "0".repeat(128);
    let (message, left) = failed_download(&serve("200 OK", bytes), &pinned);
    assert!(message.contains(&sum) && message.contains(&pinned), "{message}");
    assert_eq!(left, [".lock"]);
}

#[test]
fn an_archive_without_the_file_and_an_error_of_the_server_are_told_apart() {
    let (bytes, sum) = archive("elsewhere/kube-apiserver", SERVER);
    let (message, left) = failed_download(&serve("200 OK", bytes), &sum);
    assert!(message.contains("holds no file controller-tools/envtest/kube-apiserver"), "{message}");
    assert_eq!(left, [".lock"]);
    let (message, left) = failed_download(&serve("404 Not Found", Vec::new()), &sum);
    assert!(message.contains("cannot fetch") && message.contains("404"), "{message}");
    assert_eq!(left, [".lock"]);
}

#[test]
fn a_failed_download_falls_through_to_the_build() {
    let root = tempfile::tempdir().unwrap();
    let text = format!(
        r#"
        defaults = {{}}
        [[archive]]
        name = "archive"
        url = "{}"
        sha512 = {{ {} = "00" }}
        [[release]]
        component = "kube-apiserver"
        version = "9.9.1"
        download = {{ archive = "archive", member = "kube-apiserver" }}
        build = {{ module = "server", package = ".", ldflags = ["-X main.version=v9.9.1"] }}
        "#,
        serve("500 Internal Server Error", Vec::new()),
        Platform::HOST
    );
    let catalogue = Catalogue::parse(&text, vec![module(MAIN_GO)]).unwrap();
    let events = Recorder::default();
    let env = AssetsEnv { path: path(), ..env(root.path()) };
    let found = Assets::with_catalogue(env, catalogue).ensure(&wanted(), &events).unwrap();
    assert_eq!(found.source, Source::Build);
    assert_eq!(
        events.count(|event| matches!(event, Event::DownloadFailed { why, .. } if why.contains("500"))),
        1
    );
}
