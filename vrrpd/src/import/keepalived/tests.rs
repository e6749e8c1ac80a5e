//! Golden cases: each directory of `golden/` has an original, the configuration file that it becomes, and what is
//! said about it. `UPDATE_GOLDEN=1 cargo test -p vrrpd import` writes them anew; read the difference before it is
//! committed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config;
use crate::import::{Format, ImportError, Imported, Surroundings, import, render};

/// Files in memory, on a host called `main`.
#[derive(Default)]
struct Files(BTreeMap<PathBuf, String>);

impl Surroundings for Files {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn matching(&self, pattern: &str) -> Vec<PathBuf> {
        let (start, end) = pattern.split_once('*').unwrap_or((pattern, ""));
        let matches = |path: &&PathBuf| {
            let path = path.to_string_lossy();
            if pattern.contains('*') {
                path.starts_with(start) && path.ends_with(end)
            } else {
                path == pattern
            }
        };
        self.0.keys().filter(matches).cloned().collect()
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "PRIO").then(|| "77".to_owned())
    }

    fn config_id(&self) -> &'static str {
        "main"
    }
}

fn of(text: &str) -> Result<Imported, ImportError> {
    with_files(&[("k.conf", text)])
}

fn with_files(files: &[(&str, &str)]) -> Result<Imported, ImportError> {
    let files = Files(files.iter().map(|(path, text)| (path.into(), (*text).to_owned())).collect());
    import(Path::new("k.conf"), Some(Format::Keepalived), &files)
}

fn instance(lines: &str) -> String {
    format!(
        "vrrp_instance V {{\ninterface eth0\nvirtual_router_id 5\n{lines}\nvirtual_ipaddress {{ 192.0.2.5 }}\n}}\n"
    )
}

#[test]
fn golden_cases_come_out_as_written_down_and_are_configurations() {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/import/golden"));
    let mut count = 0;
    for case in fs::read_dir(directory).expect("the directory of the cases").flatten() {
        count += 1;
        let original = fs::read_to_string(case.path().join("original")).expect("a case has an original");
        let imported = of(&original).expect("a case can be read");
        let mut remarks = String::new();
        for remark in &imported.remarks {
            writeln!(remarks, "{remark}").expect("a text grows");
        }
        for (file, now) in [("vrrpd.toml", render(&imported)), ("remarks", remarks)] {
            let path = case.path().join(file);
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                fs::write(&path, &now).expect("a golden file can be written");
            }
            let golden = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(now, golden, "{}", path.display());
        }
        let path = case.path().join("vrrpd.toml");
        // Scripts of the original are not on this machine.
        let mistakes = config::file::read(&path).map_or_else(|error| error.lines(), |_| Vec::new());
        let others: Vec<_> = mistakes.iter().filter(|line| !line.contains("No such file")).collect();
        assert!(others.is_empty(), "{}: {others:?}", path.display());
    }
    assert!(count >= 4, "{count} cases");
}

#[test]
fn included_files_are_read_relative_to_the_file_that_includes_them() {
    let imported = with_files(&[
        ("k.conf", "include conf.d/*.conf\n"),
        ("conf.d/a.conf", "include more\n"),
        ("conf.d/more", "vrrp_instance A {\ninclude inner\nvirtual_ipaddress { 192.0.2.1 }\n}\n"),
        ("conf.d/inner", "interface eth0\nvirtual_router_id 5\npriority ${_ENV PRIO}\n"),
    ])
    .expect("is read");
    assert_eq!(imported.routers[0].get(config::Key::Priority), Some("77"));
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    let circle = with_files(&[("k.conf", "include k.conf\n")]).expect_err("a circle").to_string();
    assert!(circle.starts_with("k.conf:1: ") && circle.contains("include each other"), "{circle}");
    for (text, message) in [
        ("vrrp_instance V {\ninterface eth0\n", "k.conf:1: the block of vrrp_instance is not closed"),
        ("}\n", "k.conf:1: a } without its {"),
        ("\n{\n", "k.conf:2: a block without a keyword"),
        ("include nowhere\n", "k.conf:1: nowhere is included and cannot be found"),
        ("router_id \"x\n", "k.conf:1: a quote (\") is not closed"),
        ("$A=x $A\n$A\n", "k.conf:2: the variables refer to each other"),
        ("~SEQ(A,1,0,2) x\n", "k.conf:1: ~SEQ has step 0"),
        ("~SEQ(A,1,x) x\n", "k.conf:1: ~SEQ takes a name and numbers"),
        ("~LST({A,B},{1}) x\n", "k.conf:1: ~LST needs as many values"),
        (&instance("virtual_router_id 0"), "k.conf:4: "),
        (&instance("interface a/b"), "k.conf:4: "),
        (&instance("unicast_src_ip # none"), "k.conf:4: unicast_src_ip has no value"),
        (
            "vrrp_instance V {\ninterface eth0\n}\n",
            "k.conf:1: vrrp_instance V has no valid virtual_router_id",
        ),
        (
            "vrrp_instance V {\ninterface eth0\nvirtual_router_id 5\nversion 3\n}\n",
            "k.conf:1: vrrp_instance V has no virtual_ipaddress",
        ),
        ("# nothing\n", "k.conf:1: there is no vrrp_instance"),
    ] {
        let error = of(text).expect_err(text).to_string();
        assert!(error.starts_with(message), "{text:?}: {error}");
    }
}

#[test]
fn the_text_says_what_kind_of_configuration_it_is() {
    let kind = |text: &str| {
        let files = Files([("k.conf".into(), text.to_owned())].into());
        import(Path::new("k.conf"), None, &files)
    };
    assert_eq!(kind(&instance("")).expect("is keepalived's").routers.len(), 1);
    assert_eq!(kind("vrrpd -i eth0 -v 5 192.0.2.5\n").expect("is a command line").routers.len(), 1);
    let error = kind("hello\n").expect_err("is neither").to_string();
    assert!(error.contains("--import-as"), "{error}");
}
