//! Reader of the crate's sources: the modules, and the paths that each of them uses, made absolute.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, Macro, MetaList, UseTree, VisRestricted};

/// Names of a path from the crate's root; the root itself has none.
pub type Names = Vec<String>;

/// Primitive types that begin paths such as `u8::MAX`.
const PRIMITIVES: [&str; 14] = [
    "bool", "char", "f32", "f64", "i32", "i64", "isize", "str", "u8", "u16", "u32", "u64", "u128",
    "usize",
];

/// Module of the crate: a file, or a `mod` with a body in one.
pub struct Module {
    /// Path in the crate.
    pub path: Names,
    /// File below `src`.
    pub file: PathBuf,
    /// Imports by the name that they have in the module, as they are written.
    imports: BTreeMap<String, Names>,
    /// Paths as they are written.
    written: BTreeSet<Names>,
    /// Modules that are declared in this one.
    children: BTreeSet<String>,
}

/// Target of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Item or module of this crate.
    Inside(Names),
    /// Crate from elsewhere.
    Library(String),
}

impl Module {
    /// Reads a file whose module has this path. The file's inline modules follow it.
    pub fn read(path: &[&str], file: &Path, text: &str) -> Vec<Self> {
        let parsed = syn::parse_file(text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let path = path.iter().map(|name| (*name).to_owned()).collect();
        let mut found = Vec::new();
        Self::read_items(path, file, &parsed.items, &mut found);
        found
    }

    fn read_items(path: Names, file: &Path, items: &[Item], found: &mut Vec<Self>) {
        let mut reader = Reader::default();
        for item in items {
            reader.visit_item(item);
        }
        let Reader { imports, written, children, bodies } = reader;
        let inner: Vec<_> =
            bodies.into_iter().map(|(name, body)| (below(&path, &name), body)).collect();
        found.push(Self { path, file: file.to_owned(), imports, written, children });
        for (path, body) in inner {
            Self::read_items(path, file, &body, found);
        }
    }

    /// Returns the targets of all paths in the module.
    pub fn uses(&self) -> BTreeSet<Target> {
        self.written.iter().filter_map(|names| self.resolve(names, 0)).collect()
    }

    /// Returns the target of a name that the module imports.
    pub fn import(&self, name: &str) -> Option<Target> {
        self.imports.get(name).and_then(|names| self.resolve(names, 0))
    }

    fn resolve(&self, names: &[String], depth: usize) -> Option<Target> {
        let (first, rest) = names.split_first()?;
        let onto = |start: &[String]| Some(Target::Inside([start, rest].concat()));
        match first.as_str() {
            "crate" => onto(&[]),
            "self" => resolve_from(&self.path, rest),
            "super" => resolve_from(self.path.split_last()?.1, rest),
            _ if self.children.contains(first) => onto(&below(&self.path, first)),
            name => match self.imports.get(name).filter(|import| import.first() != Some(first)) {
                Some(import) if depth < 8 => self.resolve(&[import, rest].concat(), depth + 1),
                _ if rest.is_empty() || name.starts_with(char::is_uppercase) => None,
                _ if PRIMITIVES.contains(&name) => None,
                _ => Some(Target::Library(name.to_owned())),
            },
        }
    }
}

/// Resolves the names after `self` or `super`, of which more may be `super`.
fn resolve_from(start: &[String], rest: &[String]) -> Option<Target> {
    match rest.split_first() {
        Some((name, rest)) if name == "super" => resolve_from(start.split_last()?.1, rest),
        _ => Some(Target::Inside([start, rest].concat())),
    }
}

fn below(path: &[String], name: &str) -> Names {
    path.iter().cloned().chain([name.to_owned()]).collect()
}

/// Collector of what one module writes.
#[derive(Default)]
struct Reader {
    imports: BTreeMap<String, Names>,
    written: BTreeSet<Names>,
    children: BTreeSet<String>,
    bodies: Vec<(String, Vec<Item>)>,
}

impl Reader {
    fn import(&mut self, before: &Names, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => self.import(&below(before, &path.ident.to_string()), &path.tree),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(before, tree)),
            UseTree::Glob(_) => drop(self.written.insert(below(before, "*"))),
            UseTree::Name(name) => self.import_as(before, &name.ident.to_string(), None),
            UseTree::Rename(name) => {
                self.import_as(before, &name.ident.to_string(), Some(name.rename.to_string()));
            }
        }
    }

    fn import_as(&mut self, before: &Names, name: &str, rename: Option<String>) {
        // `a::{self}` is `a`, and `crate as x` has no path before it.
        let names = match name {
            "self" if !before.is_empty() => before.clone(),
            _ => below(before, name),
        };
        let called = rename.unwrap_or_else(|| names.last().expect("a name").clone());
        self.imports.insert(called, names.clone());
        self.written.insert(names);
    }

    /// Collects the paths in the tokens of a macro.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path = Names::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end(&mut path);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.end(&mut path);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.scan(group.stream());
                    }
                }
            }
        }
        self.end(&mut path);
    }

    fn end(&mut self, path: &mut Names) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.written.insert(path);
        }
    }
}

impl<'a> Visit<'a> for Reader {
    fn visit_item(&mut self, item: &'a Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'a ItemUse) {
        self.import(&Names::new(), &item.tree);
    }

    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        let name = item.ident.to_string();
        if let Some((_, body)) = &item.content {
            self.bodies.push((name.clone(), body.clone()));
        }
        self.children.insert(name);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let names: Names = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if names.len() > 1 {
            self.written.insert(names);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'a Macro) {
        visit::visit_macro(self, called);
        self.scan(called.tokens.clone());
    }

    fn visit_meta_list(&mut self, list: &'a MetaList) {
        visit::visit_meta_list(self, list);
        if list.path.is_ident("derive") {
            self.scan(list.tokens.clone());
        }
    }

    /// A path in `pub(in path)` uses nothing.
    fn visit_vis_restricted(&mut self, _: &'a VisRestricted) {}
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Returns true if the attributes have `#[cfg(test)]`.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test")
    })
}

/// All modules of the crate but those of its unit tests.
pub struct Crate {
    pub modules: Vec<Module>,
}

impl Crate {
    /// Reads `src`.
    pub fn read() -> Self {
        let root = root();
        let mut modules = Vec::new();
        let mut open =
            vec![(Names::new(), root.join("lib.rs")), (below(&[], "main"), root.join("main.rs"))];
        while let Some((path, file)) = open.pop() {
            let text =
                fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            let names: Vec<&str> = path.iter().map(String::as_str).collect();
            let relative = file.strip_prefix(&root).expect("it is below src");
            let read = Module::read(&names, relative, &text);
            for module in &read {
                let bodies: BTreeSet<&Names> = read.iter().map(|module| &module.path).collect();
                let declared = module.children.iter().map(|name| below(&module.path, name));
                let files = declared.filter(|path| !bodies.contains(path)).map(|path| {
                    let file = file_of(&root, &path);
                    (path, file)
                });
                open.extend(files);
            }
            modules.extend(read);
        }
        assert!(modules.len() > 100, "the sources were not found");
        Self { modules }
    }

    /// Returns the module that defines the target of a path, with imports of other modules followed.
    pub fn definer(&self, target: &[String]) -> &Names {
        let mut target = target.to_vec();
        for _ in 0..8 {
            let module = self.innermost(&target);
            let next = target.get(module.path.len()).and_then(|name| module.import(name));
            match next {
                Some(Target::Inside(path)) if path != target => {
                    target = [path.as_slice(), &target[module.path.len() + 1..]].concat();
                }
                _ => return &module.path,
            }
        }
        &self.innermost(&target).path
    }

    fn innermost(&self, target: &[String]) -> &Module {
        let of = |module: &&Module| target.starts_with(&module.path);
        self.modules.iter().filter(of).max_by_key(|module| module.path.len()).expect("the root")
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn file_of(root: &Path, path: &[String]) -> PathBuf {
    let stem: PathBuf =
        [root.to_owned()].into_iter().chain(path.iter().map(PathBuf::from)).collect();
    let flat = stem.with_extension("rs");
    if flat.is_file() { flat } else { stem.join("mod.rs") }
}
