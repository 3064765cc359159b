//! The shape of the crate, kept by a test: which file may import which.
//!
//! What a file imports is read from its syntax: `use` declarations and paths, those inside macros
//! too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// A module's path below the crate, or that of an item in it: `["core", "base", "time", "Tick"]`.
type Names = Vec<String>;

/// A source file of the crate, with what it imports.
struct Source {
    file: PathBuf,
    module: Names,
    /// Paths into the crate, absolute, re-exports left out.
    own: BTreeSet<Names>,
    /// Paths that begin with the name of a crate or of a module of `std`.
    foreign: BTreeSet<Names>,
    /// Whether something in it waits.
    waits: bool,
}

struct Imports<'a> {
    /// The module that the paths are relative to: inline modules included.
    module: Names,
    /// The modules declared in it.
    children: BTreeSet<String>,
    source: &'a mut Source,
}

impl Imports<'_> {
    fn add(&mut self, path: &[String]) {
        let selves = path.iter().take_while(|name| *name == "self").count();
        let path = &path[selves..];
        let up = path.iter().take_while(|name| *name == "super").count();
        let rest = &path[up..];
        let absolute = match path.first().map(String::as_str) {
            // The word of a visibility, or a value's own name.
            None => return,
            Some(_) if rest.is_empty() || (path.len() == 1 && selves == 0) => return,
            Some("crate") => path[1..].to_vec(),
            Some("super") => {
                let base = self.module.len().saturating_sub(up);
                [&self.module[..base], rest].concat()
            }
            Some(first) if selves > 0 || self.children.contains(first) => [&self.module[..], path].concat(),
            _ => {
                self.source.foreign.insert(path.to_vec());
                return;
            }
        };
        self.source.own.insert(absolute);
    }

    fn add_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.add_tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.add(&with(&name.ident)),
            // Under another name, a crate's paths would not be known again.
            syn::UseTree::Rename(name) if before.is_empty() => {
                self.source.foreign.insert(with(&name.ident));
            }
            syn::UseTree::Rename(name) => self.add(&with(&name.ident)),
            syn::UseTree::Glob(_) => self.add(before),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(before, tree)),
        }
    }

    /// Whether a `use` only hands on what stands in a module declared here.
    fn hands_on_its_own(&self, item: &syn::ItemUse) -> bool {
        let first = match &item.tree {
            syn::UseTree::Path(path) => path.ident.to_string(),
            _ => return false,
        };
        !matches!(item.vis, syn::Visibility::Inherited) && self.children.contains(&first)
    }

    /// Takes the paths among a macro's tokens, and what it waits for.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Names = Vec::new();
        let mut colons = 0;
        let mut after_dot = false;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    self.source.waits |= after_dot && name == "await";
                    if colons != 2 {
                        self.add(&path);
                        path.clear();
                    }
                    path.push(name.to_string());
                    (colons, after_dot) = (0, false);
                    continue;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    colons = 0;
                    after_dot = matches!(&other, TokenTree::Punct(punct) if punct.as_char() == '.');
                    if let TokenTree::Group(group) = other {
                        self.add_tokens(group.stream());
                    }
                }
            }
            if colons == 0 {
                self.add(&path);
                path.clear();
            }
        }
        self.add(&path);
    }
}

/// Whether an item is compiled for tests alone.
fn is_test(attrs: &[syn::Attribute]) -> bool {
    let is = |attr: &syn::Attribute| matches!(&attr.meta, syn::Meta::List(list) if list.path.is_ident("cfg") && list.tokens.to_string() == "test");
    attrs.iter().any(is)
}

/// The modules declared among these items, in their order.
fn modules(items: &[syn::Item]) -> impl Iterator<Item = &syn::ItemMod> {
    items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) => Some(module),
        _ => None,
    })
}

fn children(items: &[syn::Item]) -> BTreeSet<String> {
    modules(items).map(|module| module.ident.to_string()).collect()
}

impl<'ast> Visit<'ast> for Imports<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let Some((_, items)) = module.content.as_ref().filter(|_| !is_test(&module.attrs)) else { return };
        self.module.push(module.ident.to_string());
        let outer = std::mem::replace(&mut self.children, children(items));
        visit::visit_item_mod(self, module);
        self.children = outer;
        self.module.pop();
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if !is_test(&function.attrs) {
            visit::visit_item_fn(self, function);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !self.hands_on_its_own(item) && !is_test(&item.attrs) {
            self.add_tree(&[], &item.tree);
        }
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        self.source.foreign.insert(vec![item.ident.to_string()]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add(&names);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.add_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_expr_await(&mut self, expr: &'ast syn::ExprAwait) {
        self.source.waits = true;
        visit::visit_expr_await(self, expr);
    }
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the crate") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn parse(file: &Path) -> syn::File {
    let text = fs::read_to_string(file).expect("a source file");
    syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn names(text: &str) -> Names {
    text.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn module_of(file: &Path) -> Names {
    let inner = file.strip_prefix(src()).expect("a file of src").with_extension("");
    let mut module: Names = inner.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    module
}

fn read(text: &syn::File, file: PathBuf, module: Names) -> Source {
    let mut source =
        Source { file, module: module.clone(), own: BTreeSet::new(), foreign: BTreeSet::new(), waits: false };
    Imports { module, children: children(&text.items), source: &mut source }.visit_file(text);
    source
}

/// Every file of `src` but the root, which hands on what all others offer, and those of tests.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for file in files(&src()) {
        let (module, text) = (module_of(&file), parse(&file));
        for item in modules(&text.items) {
            let is_tests = item.ident == "tests";
            assert_eq!(is_tests, is_test(&item.attrs), "{}: mod {}", file.display(), item.ident);
        }
        if !module.is_empty() && !module.iter().any(|name| name == "tests") {
            sources.push(read(&text, file, module));
        }
    }
    sources
}

/// The file of the module that a path leads to.
fn target<'a>(sources: &'a [Source], path: &[String]) -> Option<&'a Source> {
    let leads = sources.iter().filter(|source| path.starts_with(&source.module));
    leads.max_by_key(|source| source.module.len())
}

/// The modules that a file declares, in its order, without those of tests.
fn declared(file: &str) -> Vec<String> {
    let text = parse(&src().join(file));
    let modules = modules(&text.items).filter(|module| !is_test(&module.attrs));
    modules.map(|module| module.ident.to_string()).collect()
}

/// Every import that stands higher than the source itself in `layers`, lowest first. Of two layers
/// that a module is in, the more precise one counts.
fn upwards(sources: &[Source], layers: &[Names]) -> Vec<String> {
    let place = |path: &[String]| {
        let fits = layers.iter().enumerate().filter(|(_, layer)| path.starts_with(layer));
        fits.max_by_key(|(_, layer)| layer.len()).map(|(place, _)| place)
    };
    let mut found = Vec::new();
    for source in sources {
        let Some(own) = place(&source.module) else { continue };
        for path in source.own.iter().filter(|path| place(path).is_some_and(|other| other > own)) {
            found.push(format!("{} imports {}", source.file.display(), path.join("::")));
        }
    }
    found
}

#[test]
fn a_module_of_the_core_imports_its_own_layer_or_a_lower_one() {
    // The order of the layers is written down where they are declared.
    let layers: Vec<Names> =
        declared("core/mod.rs").into_iter().map(|layer| vec!["core".to_owned(), layer]).collect();
    assert!(layers.len() >= 8, "{layers:?}");
    let sources = sources();
    assert!(
        sources.iter().filter(|source| source.module.first().is_some_and(|it| it == "core")).count() > 40
    );
    assert_eq!(upwards(&sources, &layers), [""; 0]);
}

#[test]
fn a_room_imports_only_rooms_below_it() {
    let rooms = [
        "core",
        // What every room returns, and reads the time from.
        "clock",
        "error",
        // Written by the store, and by what feeds it.
        "observability::counters",
        "observability::log_target",
        "observability::link_log",
        "sources",
        "store",
        // Reads the store.
        "observability",
        "runtime",
        "api",
        "fuzzing",
    ];
    let declared = declared("lib.rs");
    let missing: Vec<_> =
        declared.iter().filter(|room| !rooms.contains(&room.as_str()) && *room != "migration").collect();
    assert!(missing.is_empty(), "no room is given to {missing:?}");
    let sources = sources();
    assert_eq!(upwards(&sources, &rooms.map(names)), [""; 0]);
    // By way of the root, a path names no room. What fuzzes may use the crate as its users do.
    for source in sources.iter().filter(|source| source.module != ["fuzzing"]) {
        let through_root = source.own.iter().find(|path| !declared.contains(&path[0]));
        assert_eq!(through_root, None, "{}", source.file.display());
    }
}

#[test]
fn no_file_imports_itself_through_any_others() {
    let sources = sources();
    let mut imports: BTreeMap<&Names, BTreeSet<&Names>> = BTreeMap::new();
    for source in &sources {
        let targets = source.own.iter().filter_map(|path| target(&sources, path));
        let others = targets.map(|other| &other.module).filter(|module| **module != source.module);
        imports.insert(&source.module, others.collect());
    }
    // What imports nothing that is left is in no circle.
    while let Some(free) = imports
        .iter()
        .find(|(_, targets)| targets.iter().all(|it| !imports.contains_key(*it)))
        .map(|(module, _)| *module)
    {
        imports.remove(free);
    }
    let circles: Vec<_> = imports
        .iter()
        .map(|(module, targets)| {
            let targets: Vec<_> =
                targets.iter().filter(|it| imports.contains_key(**it)).map(|it| it.join("::")).collect();
            format!("{} -> {}", module.join("::"), targets.join(", "))
        })
        .collect();
    assert!(circles.is_empty(), "in circles, or between them:\n{}", circles.join("\n"));
}

#[test]
fn the_core_has_no_task_no_socket_and_no_clock() {
    // Data alone: whoever adds a crate here says what it is.
    let crates = [
        "solana_pubkey",
        "solana_signature",
        "solana_program_pack",
        "solana_account_decoder_client_types",
        "spl_token_interface",
        "spl_token_2022_interface",
        "spl_associated_token_account_interface",
        "thiserror",
    ];
    let std = ["collections", "fmt", "iter", "mem", "ops", "time::Duration", "future"];
    let manifest = fs::read_to_string(src().join("../Cargo.toml")).expect("the manifest");
    // Of all tables of dependencies, those for one system among them.
    let tables = manifest.split("\n[").filter(|table| {
        table
            .split(']')
            .next()
            .is_some_and(|head| head.ends_with("dependencies") && head != "dev-dependencies")
    });
    let known: BTreeSet<String> = tables
        .flat_map(|table| table.lines().skip(1))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['=', ' ', '.']).next())
        .map(|name| name.replace('-', "_"))
        .filter(|name| !name.is_empty())
        .collect();
    for name in ["tokio", "solana_pubsub_client", "rustix"] {
        assert!(known.contains(name), "{name} is not among {known:?}");
    }
    for source in sources().iter().filter(|source| source.module.first().is_some_and(|it| it == "core")) {
        assert!(!source.waits, "{} waits", source.file.display());
        for path in &source.own {
            assert_eq!(path.first().map(String::as_str), Some("core"), "{}: {path:?}", source.file.display());
        }
        for path in &source.foreign {
            let of_std = ["std", "core", "alloc"].contains(&path[0].as_str())
                && !std.iter().any(|module| path[1..].starts_with(&names(module)));
            let of_crate = known.contains(&path[0]) && !crates.contains(&path[0].as_str());
            assert!(!of_std && !of_crate, "{} imports {}", source.file.display(), path.join("::"));
        }
    }
}

/// The arguments of the log macros among these tokens whose target is not one of those that users
/// filter by.
fn without_target(tokens: TokenStream) -> Vec<String> {
    let mut found = Vec::new();
    let mut last = [String::new(), String::new()];
    for token in tokens {
        if let TokenTree::Group(group) = &token {
            let text = group.stream().to_string();
            let logs = ["trace", "debug", "info", "warn", "error", "event"].contains(&last[0].as_str());
            if logs && last[1] == "!" && !text.starts_with("target : log_target ::") {
                found.push(text);
            }
            found.extend(without_target(group.stream()));
        }
        last = [std::mem::take(&mut last[1]), token.to_string()];
    }
    found
}

#[test]
fn every_log_line_has_a_target_that_outlives_its_module() {
    let of = |text: &str| without_target(text.parse().expect("tokens"));
    for file in files(&src()) {
        let lines = of(&fs::read_to_string(&file).expect("a source file"));
        assert!(lines.is_empty(), "{}: {lines:?}", file.display());
    }
    let lines =
        r#"fn f() { select!(_ = a() => tracing::warn!(a, "b")); info!(target: log_target::LOG, "c"); }"#;
    assert_eq!(of(lines), [r#"a , "b""#]);
}

#[test]
fn imports_are_read_from_the_syntax() {
    let text = r#"
        use crate::{a::B, c::{self, D as E}};
        use super::f::*;
        pub use crate::handed::On;
        pub(crate) use child::Its;
        use child::{Own, self as own};
        mod child;
        use tokio::sync::Mutex;
        // use crate::comment::Line;
        mod inner { use super::g::H; }
        use tokio as t;
        use self::super::up::M;
        #[cfg(test)]
        mod tests { use crate::only::Tests; }
        fn call() -> u8 { crate::i::j(); std::fs::read("crate::text::Literal"); K::L }
        fn inside() { select! { it = waiting(crate::macros::N) => assert!(super::o::p(it.q, &[r::S])) } }
    "#;
    let text = syn::parse_file(text).expect("a file");
    let source = read(&text, PathBuf::new(), names("core::here"));
    let own: Vec<String> = source.own.iter().map(|path| path.join("::")).collect();
    let expected = [
        "a::B",
        "c::D",
        "c::self",
        "core::f",
        "core::here::child::Own",
        "core::here::child::self",
        "core::here::g::H",
        "core::o::p",
        "core::up::M",
        "handed::On",
        "i::j",
        "macros::N",
    ];
    assert_eq!(own, expected);
    let foreign: Vec<String> = source.foreign.iter().map(|path| path.join("::")).collect();
    assert_eq!(foreign, ["K::L", "r::S", "std::fs::read", "tokio", "tokio::sync::Mutex"]);
    assert!(!source.waits);
    let waits = syn::parse_file("fn f() { select!(_ = async { a.await } => ()) }").expect("a file");
    assert!(read(&waits, PathBuf::new(), names("core")).waits);
    let layers = ["core", "a"].map(names);
    assert_eq!(upwards(&[source], &layers).len(), 1, "a::B stands higher");
}
