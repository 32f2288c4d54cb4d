//! Reading of Dockerfiles beside the frontend of the engine's BuildKit: generated Dockerfiles are
//! built from a registry of the test, which records the images and platforms that BuildKit asks
//! for.
//!
//! Each Dockerfile gets a last instruction that BuildKit refuses once it knows all images, so that
//! nothing is executed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use kiln::internals::dockerfile::{ReadingInput, parse};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::http::{Reply, Request, Server, empty};
use crate::support::{docker, require_engine};

/// Cases of one run.
const CASES: usize = 300;
/// Cases in a run of the long tier.
const MANY_CASES: usize = 10_000;
/// Cases that are built at once.
const AT_ONCE: usize = 8;
const SEED: u64 = 0x4b69_6c6e;

/// Instruction that BuildKit's frontend refuses after it has asked for all images.
const END: &str = "\nWORKDIR ${kiln_end:&}\n";
const REFUSED_END: &str = "kiln_end:&";

/// Platforms that every image of the registry has. None of them can run images of another, as arm64
/// can run those of arm: older versions of BuildKit ask for these, too.
const PLATFORMS: [&str; 4] = ["linux/amd64", "linux/arm64", "linux/s390x", "windows/amd64"];

#[test]
fn engine_and_kiln_read_the_same_images() {
    compare(CASES);
}

#[test]
#[ignore = "takes minutes"]
fn engine_and_kiln_read_the_same_images_in_many_dockerfiles() {
    compare(MANY_CASES);
}

/// Reads generated Dockerfiles with Kiln and with the engine, and fails unless both find the same
/// images, and unless at least half of the cases were read by both.
fn compare(cases: usize) {
    require_engine();
    let registry = AnyImageRegistry::start();
    let engine = Engine::at_hand();
    let mut rng = Rng::with_seed(SEED);
    let generated: Vec<Case> = (0..cases)
        .map(|number| Generator::new(&mut rng, &registry.address(), number, engine.frontend).case())
        .collect();
    let share = generated.len().div_ceil(AT_ONCE);
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let threads: Vec<_> = generated
            .chunks(share)
            .map(|cases| {
                let registry = &registry;
                scope.spawn(move || {
                    cases.iter().map(|case| registry.answer(case)).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("an answer")).collect()
    });

    let mut read_by_both = 0;
    let mut disagreements = Vec::new();
    for (case, answer) in generated.iter().zip(&answers) {
        match (&answer.needs, case.needs_by_kiln(&engine)) {
            (Some(asked), Ok(kiln)) if *asked == kiln => read_by_both += 1,
            (Some(asked), kiln) => disagreements.push(format!(
                "{}\nargs {:?}, target {}\nengine: {asked:?}\nkiln: {kiln:?}\n",
                case.text, case.args, case.target
            )),
            (None, _) => {}
        }
    }
    println!("seed {SEED:#x}, {cases} cases, {read_by_both} read by both");
    assert!(disagreements.is_empty(), "{}: {}", disagreements.len(), disagreements.join("\n---\n"));
    assert!(read_by_both >= cases / 2, "only {read_by_both} of {cases} were read by both");
}

/// Images that the engine asked for, as `NAME PLATFORM`; `None` if it refused the Dockerfile for
/// another reason than its last instruction.
struct Answer {
    needs: Option<BTreeSet<String>>,
}

/// Dockerfile with what its builder is told.
struct Case {
    /// Prefix of the images' names, which no other case has.
    prefix: String,
    text: String,
    args: BTreeMap<String, String>,
    target: &'static str,
}

impl Case {
    fn needs_by_kiln(&self, engine: &Engine) -> Result<BTreeSet<String>, String> {
        let input = ReadingInput {
            build_args: self.args.clone(),
            target: self.target.parse().unwrap(),
            build: engine.platform.parse().unwrap(),
        };
        let read = parse(&self.text, &input).map_err(|error| error.message)?;
        let needed = read.needed_references().map(|one| {
            let platform = one.platform.as_ref().unwrap_or(&input.target);
            format!("{} {platform}", with_tag(&one.image.to_string()))
        });
        Ok(needed.filter(|image| engine.frontend.asks_first_for(image)).collect())
    }
}

fn with_tag(name: &str) -> String {
    let last = name.rsplit('/').next().expect("at least one part");
    if last.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}

/// Generations of BuildKit's frontend, by the Docker Engine that has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frontend {
    /// Frontend of Docker Engine 20.10, and of every other before 28: without here-documents, with
    /// the older forms of `${...}`, and not asking for the images of `COPY --from` and of mounts
    /// before they are used.
    Old,
    /// Frontend of Docker Engine 28 and later.
    Current,
}

/// Facts about the engine that builds.
struct Engine {
    frontend: Frontend,
    /// Platform that it runs on.
    platform: String,
}

impl Engine {
    fn at_hand() -> Self {
        let format = "{{.Server.Version}} {{.Server.Os}}/{{.Server.Arch}}";
        let told = docker(&["version", "--format", format]).expect(0).stdout;
        let (version, platform) = told.trim().split_once(' ').expect("two words");
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        let is_current = major.expect("a version") >= 28;
        let frontend = if is_current { Frontend::Current } else { Frontend::Old };
        Self { frontend, platform: platform.to_owned() }
    }
}

impl Frontend {
    /// Returns whether an image, as `NAME PLATFORM`, is asked for before anything is executed.
    fn asks_first_for(self, image: &str) -> bool {
        let is_a_base = |image: &str| {
            let (name, _) = image.split_once(' ').expect("a name and a platform");
            name.contains('/') && !SOURCES.iter().any(|source| name.contains(&format!("/{source}")))
        };
        self == Self::Current || is_a_base(image)
    }
}

// ------------------------------------------------------------------ the registry

/// Registry that has every image for all of [`PLATFORMS`], each with content of its own, so that the
/// engine finds none of it among what it already has.
struct AnyImageRegistry {
    server: Server,
    documents: Arc<Mutex<Documents>>,
}

#[derive(Default)]
struct Documents {
    by_digest: HashMap<String, Document>,
    /// Images whose manifests for a platform were asked for, as `NAME PLATFORM`.
    asked: BTreeSet<String>,
}

#[derive(Clone)]
struct Document {
    media_type: &'static str,
    body: String,
    /// `NAME PLATFORM`, in a manifest for one platform.
    image: Option<String>,
}

const INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";

impl AnyImageRegistry {
    fn start() -> Self {
        let documents = Arc::<Mutex<Documents>>::default();
        let shared = documents.clone();
        let server = Server::plain(move |request| shared.lock().unwrap().reply(request));
        Self { server, documents }
    }

    fn address(&self) -> String {
        self.server.address()
    }

    /// Lets the engine build a Dockerfile, and returns the images that it asks for.
    fn answer(&self, case: &Case) -> Answer {
        let output = build(case);
        let errors: Vec<String> = output
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter_map(|line| line["error"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(errors.len(), 1, "no end of the build in: {output}\n{}", case.text);
        let is_read = errors[0].contains(REFUSED_END);
        Answer { needs: is_read.then(|| self.asked_below(&case.prefix)) }
    }

    fn asked_below(&self, prefix: &str) -> BTreeSet<String> {
        let documents = self.documents.lock().unwrap();
        documents.asked.iter().filter(|image| image.starts_with(prefix)).cloned().collect()
    }
}

impl Documents {
    fn reply(&mut self, request: &Request) -> Reply {
        let host = request.header("host");
        let parts = request
            .path
            .strip_prefix("/v2/")
            .and_then(|path| path.split_once("/manifests/").or_else(|| path.split_once("/blobs/")));
        let Some((repository, wanted)) = parts else { return empty(200, "") };
        let digest = match wanted.starts_with("sha256:") {
            true => wanted.to_owned(),
            false => self.add_image(&format!("{host}/{repository}:{wanted}")),
        };
        let Some(document) = self.by_digest.get(&digest).cloned() else { return empty(404, "") };
        self.asked.extend(document.image);
        let headers =
            format!("Content-Type: {}\r\nDocker-Content-Digest: {digest}\r\n", document.media_type);
        Reply::Whole(200, headers, document.body.into_bytes())
    }

    /// Adds the documents of an image and returns the digest of its index.
    fn add_image(&mut self, name: &str) -> String {
        let manifests: Vec<Value> = PLATFORMS
            .iter()
            .map(|platform| {
                let (os, architecture) = platform.split_once('/').expect("two parts");
                let config = json!({
                    "os": os, "architecture": architecture,
                    "config": { "Labels": { "name": name } },
                    "rootfs": { "type": "layers", "diff_ids": [] },
                });
                let config = self.add(CONFIG, &config, None);
                let manifest = json!({
                    "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [],
                });
                let mut entry = self.add(MANIFEST, &manifest, Some(format!("{name} {platform}")));
                entry["platform"] = json!({ "os": os, "architecture": architecture });
                entry
            })
            .collect();
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        let descriptor = self.add(INDEX, &index, None);
        descriptor["digest"].as_str().expect("a digest").to_owned()
    }

    /// Adds a document and returns its descriptor.
    fn add(&mut self, media_type: &'static str, content: &Value, image: Option<String>) -> Value {
        let body = content.to_string();
        let hash = Sha256::digest(body.as_bytes());
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = format!("sha256:{hex}");
        let descriptor = json!({ "mediaType": media_type, "digest": digest, "size": body.len() });
        self.by_digest.insert(digest, Document { media_type, body, image });
        descriptor
    }
}

// -------------------------------------------------------------------- the engine

/// Builds a Dockerfile with BuildKit and returns the engine's answer, one JSON object in each line.
fn build(case: &Case) -> String {
    let mut context = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(case.text.len() as u64);
    header.set_mode(0o644);
    context.append_data(&mut header, "Dockerfile", case.text.as_bytes()).unwrap();
    let context = context.into_inner().unwrap();
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let args = encoded(&serde_json::to_string(&case.args).unwrap());
    let platform = encoded(case.target);
    let head = format!(
        "POST /build?version=2&platform={platform}&buildargs={args} HTTP/1.0\r\n\
         Content-Type: application/x-tar\r\nContent-Length: {}\r\n\r\n",
        context.len()
    );
    let host = std::env::var("DOCKER_HOST").expect("an engine");
    let mut answer = Vec::new();
    let request = [head.as_bytes(), &context].concat();
    match host.strip_prefix("unix://") {
        Some(socket) => {
            let mut stream = UnixStream::connect(socket).unwrap();
            stream.write_all(&request).unwrap();
            stream.read_to_end(&mut answer).unwrap();
        }
        None => {
            let mut stream = TcpStream::connect(host.trim_start_matches("tcp://")).unwrap();
            stream.write_all(&request).unwrap();
            stream.read_to_end(&mut answer).unwrap();
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

// ----------------------------------------------------------------- the generator

/// Names of build arguments.
const ARGS: [&str; 8] = ["V", "W", "T", "EMPTY", "NONE", "TARGETARCH", "BUILDPLATFORM", "S"];
/// Values of build arguments that the user gives.
const GIVEN: [&str; 5] = ["", "given", "amd64", "12.5-slim", "v1"];
/// Images of the registry that `COPY --from` and mounts name, and no `FROM`.
const SOURCES: [&str; 3] = ["x:1", "y", "c/z:2"];
/// Names of stages. Those that end in an architecture are meant by `pick-$TARGETARCH`.
const STAGES: [&str; 7] = ["build", "Tools", "s.x", "pick-amd64", "pick-arm64", "pick-s390x", "a1"];

/// Writer of random Dockerfiles, of the forms that the frontend of an engine reads.
struct Generator<'a> {
    rng: &'a mut Rng,
    prefix: String,
    frontend: Frontend,
    escape: char,
    /// Names of the stages so far.
    stages: Vec<Option<&'static str>>,
}

impl<'a> Generator<'a> {
    fn new(rng: &'a mut Rng, registry: &str, number: usize, frontend: Frontend) -> Self {
        let prefix = format!("{registry}/case{number}/");
        Self { rng, prefix, frontend, escape: '\\', stages: Vec::new() }
    }

    fn case(mut self) -> Case {
        let mut text = String::new();
        if self.one_in(12) {
            text.push('\u{feff}');
        }
        if self.one_in(5) {
            self.escape = '`';
            text.push_str(self.pick(&[
                "# escape=`\n",
                "#ESCAPE = `\n",
                "# check=skip=all\n#escape=`\n",
            ]));
        }
        for _ in 0..self.rng.usize(0..5) {
            text.push_str(&self.global_arg());
            self.filler(&mut text);
        }
        for _ in 0..self.rng.usize(1..5) {
            text.push_str(&self.stage());
        }
        text.push_str(END);
        let args = (0..self.rng.usize(0..3))
            .map(|_| (self.pick(&ARGS).to_owned(), self.pick(&GIVEN).to_owned()))
            .collect();
        let target = self.pick(&PLATFORMS[..3]);
        Case { prefix: self.prefix, text, args, target }
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.rng.u32(0..count) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.usize(0..from.len())]
    }

    /// Returns an instruction's or a flag's name in upper, lower or mixed case.
    fn cased(&mut self, word: &str) -> String {
        match self.rng.u32(0..4) {
            0 => word.to_lowercase(),
            1 => word.chars().take(1).chain(word[1..].to_lowercase().chars()).collect(),
            _ => word.to_owned(),
        }
    }

    /// Returns what separates two words: blanks, or the end of a line that goes on.
    fn gap(&mut self) -> String {
        let escape = self.escape;
        match self.rng.u32(0..10) {
            0 => format!(" {escape}\n"),
            1 => format!(" {escape} \t\n  "),
            2 => format!(" {escape}\n# remark\n"),
            3 => format!(" {escape}\n \n  # remark\n  "),
            4 => "\t".to_owned(),
            5 => "  ".to_owned(),
            _ => " ".to_owned(),
        }
    }

    /// Adds lines that mean nothing.
    fn filler(&mut self, text: &mut String) {
        if self.one_in(4) {
            text.push_str(self.pick(&["\n", "# FROM no:1\n", "  \t\n", "  # remark \\\n", "\r\n"]));
        }
    }

    fn end_of_line(&mut self) -> &'static str {
        self.pick(&["\n", "\n", "\n", " \n", "\r\n"])
    }

    fn global_arg(&mut self) -> String {
        let count = if self.one_in(4) { 2 } else { 1 };
        let mut line = self.cased("ARG");
        for _ in 0..count {
            let (gap, name) = (self.gap(), self.pick(&ARGS));
            line.push_str(&format!("{gap}{name}"));
            // The old frontend forgets an earlier value here, the current one keeps it.
            if self.frontend == Frontend::Old || !self.one_in(4) {
                let value = self.value();
                line.push_str(&format!("={value}"));
            }
        }
        line + self.end_of_line()
    }

    /// Returns a value of a build argument, often one that refers to others.
    fn value(&mut self) -> String {
        match self.rng.u32(0..9) {
            0 => String::new(),
            1 => "\"\"".to_owned(),
            2 => "12.5-slim".to_owned(),
            3 => "v1.2".to_owned(),
            4 => format!("\"{}\"", self.expansion()),
            5 => format!("'{}'", self.pick(&["1", "1-slim", "x"])),
            6 => format!("1{}", self.expansion()),
            _ => self.pick(&["1", "1-slim", "linux/arm64", "amd64", "b"]).to_owned(),
        }
    }

    /// Returns an expansion of a build argument, in any of its forms.
    fn expansion(&mut self) -> String {
        let name = self.pick(&[
            "V",
            "W",
            "T",
            "EMPTY",
            "NONE",
            "S",
            "TARGETARCH",
            "BUILDARCH",
            "TARGETOS",
            "TARGETPLATFORM",
            "TARGETVARIANT",
            "UNKNOWN",
        ]);
        let inner = match self.rng.u32(0..4) {
            0 => format!("${}", self.pick(&ARGS)),
            1 => format!("\"{}\"", self.pick(&["1", "1-slim"])),
            2 => String::new(),
            _ => self.pick(&["1", "slim", "-slim", "2"]).to_owned(),
        };
        let forms = if self.frontend == Frontend::Current { 12 } else { 4 };
        match self.rng.u32(0..forms) {
            0 => format!("${name}"),
            1 => format!("${{{name}}}"),
            2 => format!("${{{name}:-{inner}}}"),
            3 => format!("${{{name}:+{inner}}}"),
            4 => format!("${{{name}-{inner}}}"),
            5 => format!("${{{name}+{inner}}}"),
            6 => format!(
                "${{{name}{}{}}}",
                self.pick(&["#", "##"]),
                self.pick(&["v", "*.", "?", "1"])
            ),
            7 => format!(
                "${{{name}{}{}}}",
                self.pick(&["%", "%%"]),
                self.pick(&[".*", "-*", "?", "m64"])
            ),
            8 => format!("${{{name}/{}/{inner}}}", self.pick(&["1", "s*m", ".", "amd"])),
            9 => format!("${{{name}//{}/{inner}}}", self.pick(&["1", "?", ".", "6"])),
            10 => format!("${{{name}:?{inner}}}"),
            _ => format!("${{{name}?{inner}}}"),
        }
    }

    /// Returns an image of the registry as a word, which may be quoted or have expansions.
    fn image(&mut self) -> String {
        let prefix = self.prefix.clone();
        let name = self.pick(&["a", "b", "c/d"]);
        match self.rng.u32(0..8) {
            0 => format!("\"{prefix}{name}:1\""),
            1 => format!("'{prefix}{name}'"),
            2 => format!("{prefix}{name}:1{}", self.expansion()),
            3 => format!("{prefix}{name}:\"{}\"1", self.expansion()),
            4 => format!("{prefix}{name}{}", self.expansion()),
            5 => format!("${{NONE:-{prefix}{name}:3}}"),
            6 => format!("{prefix}{}:2", self.escaped(name)),
            _ => format!("{prefix}{name}:1"),
        }
    }

    /// Returns a word whose first character is escaped.
    fn escaped(&mut self, word: &str) -> String {
        format!("{}{word}", self.escape)
    }

    /// Returns a base: an image, an earlier stage, `scratch`, or a stage by the platform.
    fn base(&mut self) -> String {
        let earlier: Vec<&str> = self.stages.iter().copied().flatten().collect();
        match self.rng.u32(0..8) {
            0 => "scratch".to_owned(),
            1 if earlier.iter().any(|stage| stage.starts_with("pick-")) => {
                "pick-$TARGETARCH".to_owned()
            }
            2 | 3 if !earlier.is_empty() => {
                let name = self.pick(&earlier);
                name.to_lowercase()
            }
            _ => self.image(),
        }
    }

    fn stage(&mut self) -> String {
        let mut text = self.cased("FROM");
        if self.one_in(3) {
            let (gap, platform) = (self.gap(), self.platform());
            text.push_str(&format!("{gap}--platform={platform}"));
        }
        let (gap, base) = (self.gap(), self.base());
        text.push_str(&format!("{gap}{base}"));
        if self.one_in(2) {
            let (name, keyword) = (self.pick(&STAGES), self.cased("AS"));
            let (before, after) = (self.gap(), self.gap());
            text.push_str(&format!("{before}{keyword}{after}{name}"));
            self.stages.push(Some(name));
        } else {
            self.stages.push(None);
        }
        text.push_str(self.end_of_line());
        for _ in 0..self.rng.usize(0..5) {
            self.filler(&mut text);
            let instruction = self.instruction();
            text.push_str(&instruction);
        }
        text
    }

    fn platform(&mut self) -> &'static str {
        self.pick(&[
            "linux/arm64",
            "$BUILDPLATFORM",
            "\"$TARGETPLATFORM\"",
            "linux/amd64",
            "${NONE:-linux/s390x}",
            "'linux/s390x'",
            "linux/$TARGETARCH",
            "windows/amd64",
            "arm64",
            "aarch64",
        ])
    }

    /// Returns a source of `COPY --from` or of a mount: a stage by name or number, or an image.
    fn source(&mut self) -> String {
        let (earlier, prefix) = (self.stages.clone(), self.prefix.clone());
        let last = earlier.len() - 1;
        match self.rng.u32(0..6) {
            0 if last > 0 => self.rng.usize(0..last).to_string(),
            1 | 2 if last > 0 => {
                let index = self.rng.usize(0..last);
                match earlier[index] {
                    None => index.to_string(),
                    Some(name) if self.one_in(3) => name.to_uppercase(),
                    Some(name) => name.to_owned(),
                }
            }
            3 => "scratch".to_owned(),
            _ => format!("{prefix}{}", self.pick(&SOURCES)),
        }
    }

    fn instruction(&mut self) -> String {
        let trigger = if self.one_in(6) { self.cased("ONBUILD") + " " } else { String::new() };
        let line = match self.rng.u32(0..7) {
            0 | 1 => self.copy(),
            2 => self.run_with_mount(),
            3 | 4 if self.frontend == Frontend::Current => {
                return trigger + &self.here_documents();
            }
            5 => format!("LABEL x='a{}\n FROM b'", self.escape),
            6 => format!("RUN echo a{0}{0}", self.escape),
            _ => "ARG V=9".to_owned(),
        };
        trigger + &line + self.end_of_line()
    }

    fn copy(&mut self) -> String {
        let (keyword, gap, source) = (self.cased("COPY"), self.gap(), self.source());
        let after = self.gap();
        match self.rng.u32(0..5) {
            0 => format!("{keyword}{gap}--chown=1:1{after}--from={source} /a /b"),
            1 => format!("{keyword}{gap}--from={source}{after}[\"/a\", \"/b\"]"),
            2 => format!("{keyword}{gap}\"--from={source}\"{after}/a /b"),
            3 => format!("{keyword}{gap}/a --from={source}"),
            _ => format!("{keyword}{gap}--from={source}{after}/a /b"),
        }
    }

    fn run_with_mount(&mut self) -> String {
        let (keyword, gap, source) = (self.cased("RUN"), self.gap(), self.source());
        let after = self.gap();
        let mount = match self.rng.u32(0..7) {
            0 => format!("type=bind,from={source},target=/m"),
            1 => format!("target=/m,from={source}"),
            2 => format!("Type=Bind,From={source},Target=/m"),
            3 => format!("type=bind,{e}\"from={source}{e}\",target=/m", e = self.escape),
            4 => format!("from={source},target=/m,type=cache"),
            5 => "type=tmpfs,target=/m".to_owned(),
            _ => format!("type=cache,target=/m,from={source},ro"),
        };
        match self.rng.u32(0..3) {
            0 => format!("{keyword}{gap}'--mount={mount}'{after}true"),
            1 => format!("{keyword}{gap}--network=none{after}--mount={mount} true"),
            _ => format!("{keyword}{gap}--mount={mount}{after}true"),
        }
    }

    /// Returns an instruction with one or two here-documents, and their bodies.
    fn here_documents(&mut self) -> String {
        let count = self.rng.usize(1..3);
        let documents: Vec<_> = (0..count)
            .map(|_| {
                let (word, name) = self.pick(&[
                    ("EOF", "EOF"),
                    ("'END-OF'", "END-OF"),
                    ("\"a.txt\"", "a.txt"),
                    ("1", "1"),
                    ("é", "é"),
                    ("E\"F\"", "EF"),
                    ("$Y", "$Y"),
                ]);
                let dash = if self.one_in(3) { "-" } else { "" };
                let file = if self.one_in(4) { "3" } else { "" };
                (format!("{file}<<{dash}{word}"), name, !dash.is_empty())
            })
            .collect();
        let words: Vec<&str> = documents.iter().map(|(word, ..)| word.as_str()).collect();
        let mut text = match self.rng.u32(0..3) {
            0 => format!("COPY {} /x/\n", words.join(" ")),
            1 => format!("RUN cat {}\n", words.join(" ")),
            _ => format!("ADD --chmod=644 {} /x/\n", words.join(" ")),
        };
        for (_, name, indented) in documents {
            let tab = if indented { "\t" } else { "" };
            let body = self.pick(&["", "FROM no:1\n", "COPY --from=no:2 / /\n", "\\\n", "EOF \n"]);
            text.push_str(&format!("{body}{tab}{name}\n"));
        }
        text
    }
}
