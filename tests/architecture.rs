//! ARCHITECTURE.md's arrows are those of the manifests, and neither crates nor the files of a crate import each other in circles.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The arrows in ARCHITECTURE.md's table: crate, and the crates that it depends on.
fn documented() -> Arrows {
    let text = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `crates/") || line.starts_with("| `shaders/"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
        (names(cells[2]).pop_first().unwrap(), names(cells[4]))
    };
    rows.map(row).collect()
}

/// The arrows in the manifests, development dependencies left out.
fn declared() -> Arrows {
    let folders = fs::read_dir("crates").unwrap().map(|entry| entry.unwrap().path()).chain([PathBuf::from("shaders")]);
    let arrows = folders.filter(|folder| !folder.ends_with("oracle")).map(|folder| {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let name = manifest.lines().find_map(|line| line.strip_prefix("name = ")).unwrap().trim_matches('"').to_owned();
        let (_, after) = manifest.split_once("[dependencies]").unwrap_or_default();
        let dependencies = after.split("\n[").next().unwrap().lines();
        let ours = dependencies.filter(|line| line.starts_with("alias-"));
        (name, ours.map(|line| line.split(['.', ' ']).next().unwrap().to_owned()).collect())
    });
    arrows.collect()
}

#[test]
fn the_documented_arrows_are_those_of_the_manifests() {
    assert_eq!(documented(), declared());
    assert_eq!(circles(&declared()), Vec::<Vec<String>>::new());
}

#[test]
fn no_files_of_a_crate_import_each_other_in_a_circle() {
    let crates = fs::read_dir("crates").unwrap().map(|entry| entry.unwrap().path().join("src"));
    let found: Vec<_> = crates.flat_map(|source| circles(&Modules::read(&source).arrows())).collect();
    assert_eq!(found, Vec::<Vec<String>>::new(), "circles between files");
}

/// The checker itself: what it should find, and what it should not.
#[test]
fn circles_are_found() {
    let modules = |files: &[(&str, &str)]| {
        let text = |(name, text): &(&str, &str)| (path(name), Module::new(text));
        circles(&Modules(files.iter().map(text).collect()).arrows())
    };
    let lib = ("", "mod a; mod b; pub use a::A;");
    assert!(modules(&[lib, ("a", "use crate::b::B; pub struct A;"), ("b", "pub struct B;")]).is_empty());
    let found = modules(&[lib, ("a", "use crate::b::B; pub struct A;"), ("b", "use crate::A; pub struct B;")]);
    assert_eq!(found, [["a", "b"]]);
    let found = modules(&[lib, ("a", "use crate::b::{B, C};"), ("b", "fn f() { crate::a::g() }")]);
    assert_eq!(found, [["a", "b"]]);
    assert!(
        modules(&[
            lib,
            ("a", "use crate::b::B;"),
            ("b", "// use crate::a::A;\n#[cfg(test)]\nmod tests { use crate::A; }")
        ])
        .is_empty()
    );
    let found = modules(&[("", "mod a; fn run() { a::go() } pub const SIZE: usize = 1;"), ("a", "use crate::SIZE;")]);
    assert_eq!(found, [["a", "lib"]]);
}

/// A module by its path from the crate's root, which is empty.
type ModulePath = Vec<String>;

fn path(name: &str) -> ModulePath {
    name.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// What a file imports.
struct Module {
    /// Paths that it names, each as in `crate::a::B`, `super::a::B` or `a::B`.
    uses: Vec<Vec<String>>,
    /// Names that it exports from elsewhere, and from where.
    exports: BTreeMap<String, Vec<String>>,
}

impl Module {
    fn new(text: &str) -> Module {
        let code: String = text.lines().map(|line| line.split("//").next().unwrap_or("").to_owned() + "\n").collect();
        let code = code.split("#[cfg(test)]\nmod tests").next().unwrap();
        let (mut uses, mut exports) = (Vec::new(), BTreeMap::new());
        let mut rest = String::new();
        for statement in code.split_inclusive(';') {
            let Some(at) = statement.rfind("use ").filter(|&at| is_use(statement, at)) else {
                rest += statement;
                continue;
            };
            let tree = statement[at + 4..].trim_end_matches(';');
            let is_public = statement[..at].trim_end().rsplit(['\n', ';', '}', '{']).next().unwrap().contains("pub");
            for path in expanded(tree) {
                if is_public {
                    let name = path.last().unwrap().clone();
                    exports.insert(name, path);
                } else {
                    uses.push(path);
                }
            }
        }
        let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        let words = rest.split(|c| !is_path(c)).filter(|word| word.contains("::"));
        uses.extend(words.map(|word| word.split("::").map(str::to_owned).collect::<Vec<_>>()));
        Module { uses, exports }
    }
}

/// Whether the text at `at` begins a `use` statement, and not some other word.
fn is_use(statement: &str, at: usize) -> bool {
    let before = statement[..at].trim_end();
    before.is_empty() || before.ends_with([';', '}', '{', ')', ']']) || before.ends_with("pub")
}

/// The paths of a tree such as `a::{b, c::D}`.
fn expanded(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let parts = |text: &str| -> Vec<String> {
        text.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    };
    let Some((before, inside)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap();
        return vec![parts(path)];
    };
    let inside = inside.trim_end().strip_suffix('}').unwrap_or(inside);
    let (mut depth, mut start, mut all) = (0, 0, Vec::new());
    for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inside[start..at].trim().is_empty() {
                    all.push(&inside[start..at]);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    let prefix = parts(before);
    let with_prefix = |rest: Vec<String>| prefix.iter().cloned().chain(rest).collect();
    all.into_iter().flat_map(expanded).map(with_prefix).collect()
}

/// The files of a crate.
struct Modules(BTreeMap<ModulePath, Module>);

impl Modules {
    fn read(source: &Path) -> Modules {
        let (mut folders, mut modules) = (vec![source.to_owned()], BTreeMap::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    folders.push(entry);
                } else if entry.extension().is_some_and(|extension| extension == "rs") {
                    let name = entry.strip_prefix(source).unwrap().with_extension("");
                    let mut name = path(&name.to_string_lossy().replace('\\', "/"));
                    name.pop_if(|last| ["lib", "main", "mod"].contains(&last.as_str()));
                    modules.insert(name, Module::new(&fs::read_to_string(&entry).unwrap()));
                }
            }
        }
        Modules(modules)
    }

    /// The module in which what `module` calls `path` is defined, if it is one of these.
    fn resolved(&self, module: &ModulePath, path: &[String], depth: usize) -> Option<ModulePath> {
        let (mut at, mut rest) = (module.clone(), path);
        match rest.first().map(String::as_str) {
            Some("crate") => (at, rest) = (Vec::new(), &rest[1..]),
            Some("self") => rest = &rest[1..],
            Some("super") => {
                while rest.first().is_some_and(|part| part == "super") {
                    at.pop();
                    rest = &rest[1..];
                }
            }
            Some(first) if self.0.contains_key(&[at.clone(), vec![first.into()]].concat()) => {}
            _ => return None,
        }
        while let Some((first, left)) = rest.split_first() {
            let child = [at.clone(), vec![first.clone()]].concat();
            if !self.0.contains_key(&child) {
                break;
            }
            (at, rest) = (child, left);
        }
        let export = rest.first().and_then(|name| self.0.get(&at)?.exports.get(name));
        match export {
            Some(export) if depth < 8 => self.resolved(&at, export, depth + 1).or(Some(at)),
            _ => Some(at),
        }
    }

    /// Which file uses what is defined in which.
    fn arrows(&self) -> Arrows {
        let name = |path: &ModulePath| if path.is_empty() { "lib".into() } else { path.join("/") };
        let of = |(module, file): (&ModulePath, &Module)| {
            let used = file.uses.iter().filter_map(|path| self.resolved(module, path, 0));
            let others = used.filter(|other| other != module && self.0.contains_key(other));
            (name(module), others.map(|other| name(&other)).collect())
        };
        self.0.iter().map(of).collect()
    }
}

/// The sets of nodes that reach each other.
fn circles(arrows: &Arrows) -> Vec<Vec<String>> {
    let reaches = |from: &String| {
        let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
        while let Some(node) = left.pop() {
            for next in arrows.get(node).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    left.push(next);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = arrows.keys().map(|node| (node, reaches(node))).collect();
    let mut found = BTreeSet::new();
    for (node, to) in &reached {
        let circle: Vec<String> =
            to.iter().filter(|other| reached.get(other).is_some_and(|back| back.contains(*node))).cloned().collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}
