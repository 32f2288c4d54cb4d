//! Versions of Dockerfile's frontend that instructions and flags need.
//!
//! BuildKit reads a Dockerfile with the frontend that `# syntax=` names, or else with the one that is
//! built into the engine. The classic builder has a reader of its own. Versions are those of the
//! release notes of Dockerfile and of the BuildKit in each release of Docker Engine.

use std::fmt;
use std::str::FromStr;

use super::findings::Remark;
use super::rule::Rule;
use crate::dockerfile::Instruction;

/// First two numbers of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not a version; write MAJOR.MINOR, such as 23.0");
        let mut parts = text.strip_prefix('v').unwrap_or(text).split(['.', '-', '+', '~']);
        let mut number = || parts.next().and_then(|part| part.parse().ok()).ok_or_else(wrong);
        Ok(Self(number()?, number()?))
    }
}

/// Builder that reads the Dockerfiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builder {
    /// Classic builder of Docker.
    Classic,
    /// BuildKit in a Docker Engine; the version is `None` if it is unknown.
    BuildKit(Option<Version>),
    /// Builder that reads Dockerfiles in its own way, such as Podman.
    Other,
}

/// Part of a Dockerfile that not every builder reads.
struct Feature {
    /// Name for messages.
    name: &'static str,
    /// Instructions that have it.
    instructions: &'static [&'static str],
    /// Sign by which it is recognized.
    sign: Sign,
    /// First stable version of the frontend with it; `None` if it is only in the labs channel.
    stable: Option<Version>,
    /// First version of the labs channel with it; `None` if that is the stable one.
    labs: Option<Version>,
    /// First Docker Engine with it built in; `None` if none has it.
    engine: Option<Version>,
    /// True if the classic builder reads it, too.
    is_classic: bool,
}

enum Sign {
    Flag(&'static str),
    HereDocument,
    GitSource,
}

const FEATURES: [Feature; 13] = {
    const FILES: &[&str] = &["COPY", "ADD"];
    const fn flag(
        name: &'static str,
        instructions: &'static [&'static str],
        flag: &'static str,
        (stable, engine): (Version, Version),
    ) -> Feature {
        let (stable, engine) = (Some(stable), Some(engine));
        let sign = Sign::Flag(flag);
        Feature { name, instructions, sign, stable, labs: None, engine, is_classic: false }
    }
    let early = (Version(1, 2), Version(20, 10));
    let checked = (Version(1, 6), Version(25, 0));
    [
        flag("RUN --mount", &["RUN"], "--mount", early),
        flag("COPY --chmod", FILES, "--chmod", early),
        flag("RUN --network", &["RUN"], "--network", (Version(1, 3), Version(23, 0))),
        Feature {
            sign: Sign::HereDocument,
            labs: Some(Version(1, 3)),
            ..flag("<<EOF", &["RUN", "COPY", "ADD"], "", (Version(1, 4), Version(23, 0)))
        },
        flag("COPY --link", FILES, "--link", (Version(1, 4), Version(23, 0))),
        Feature {
            sign: Sign::GitSource,
            labs: Some(Version(1, 5)),
            ..flag("ADD of a git repository", &["ADD"], "", checked)
        },
        Feature {
            labs: Some(Version(1, 5)),
            ..flag("ADD --checksum", &["ADD"], "--checksum", checked)
        },
        Feature {
            is_classic: true,
            ..flag("HEALTHCHECK --start-interval", &["HEALTHCHECK"], "--start-interval", checked)
        },
        flag("ADD --unpack", &["ADD"], "--unpack", (Version(1, 17), Version(28, 3))),
        Feature {
            labs: Some(Version(1, 7)),
            ..flag("COPY --exclude", FILES, "--exclude", (Version(1, 19), Version(28, 5)))
        },
        Feature {
            labs: Some(Version(1, 7)),
            ..flag("COPY --parents", &["COPY"], "--parents", (Version(1, 20), Version(29, 1)))
        },
        Feature {
            labs: Some(Version(1, 1)),
            ..flag("RUN --security", &["RUN"], "--security", (Version(1, 20), Version(29, 1)))
        },
        Feature {
            name: "RUN --device",
            instructions: &["RUN"],
            sign: Sign::Flag("--device"),
            stable: None,
            labs: Some(Version(1, 14)),
            engine: None,
            is_classic: false,
        },
    ]
};

impl Feature {
    fn is_in(&self, instruction: &Instruction<'_>) -> bool {
        self.instructions.iter().any(|one| instruction.is(one))
            && match self.sign {
                Sign::Flag(name) => instruction.flags().any(|flag| {
                    flag.strip_prefix(name)
                        .is_some_and(|rest| matches!(rest.chars().next(), None | Some('=')))
                }),
                Sign::HereDocument => !instruction.documents().is_empty(),
                Sign::GitSource => {
                    let words: Vec<String> = instruction.arguments().collect();
                    words
                        .split_last()
                        .is_some_and(|(_, sources)| sources.iter().any(|one| is_git(one)))
                }
            }
    }

    /// Returns the tag of the first frontend that has it.
    fn tag(&self) -> String {
        match (self.stable, self.labs) {
            (Some(stable), _) => stable.to_string(),
            (None, labs) => labs.map_or_else(|| "labs".to_owned(), |labs| format!("{labs}-labs")),
        }
    }
}

/// Returns true if a source of `ADD` is a git repository.
fn is_git(source: &str) -> bool {
    let source = source.trim_matches(['"', '\'', '[', ',']);
    let path = source.split(['#', '?']).next().unwrap_or_default();
    source.starts_with("git@")
        || source.starts_with("git://")
        || source.starts_with("ssh://")
        || ["http://", "https://"].iter().any(|scheme| source.starts_with(scheme))
            && path.ends_with(".git")
}

/// Frontend that reads a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frontend {
    /// Image of Docker's frontend.
    Image {
        /// Name of the image.
        named: String,
        /// Version; `None` for the latest.
        version: Option<Version>,
        /// True for the labs channel.
        has_labs: bool,
    },
    /// The one in a Docker Engine of this version.
    BuiltIn(Version),
    /// Reader of the classic builder.
    Classic,
    /// Any other, about which nothing is known.
    Unknown,
}

impl Frontend {
    /// Returns the frontend by which a builder reads a Dockerfile with this `# syntax`.
    pub(super) fn of(builder: Builder, syntax: Option<&str>) -> Self {
        match (builder, syntax) {
            (Builder::Classic, _) => Self::Classic,
            (Builder::Other, _) | (Builder::BuildKit(None), None) => Self::Unknown,
            (Builder::BuildKit(_), Some(named)) => Self::image(named).unwrap_or(Self::Unknown),
            (Builder::BuildKit(Some(engine)), None) => Self::BuiltIn(engine),
        }
    }

    /// Returns the frontend of an image; `None` if it is none of Docker's, or only a digest names it.
    fn image(named: &str) -> Option<Self> {
        let (name, digest) = match named.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (named, None),
        };
        let path = name.strip_prefix("docker.io/").unwrap_or(name);
        let (path, tag) = path.split_once(':').unwrap_or((path, ""));
        let is_dockers = ["docker/dockerfile", "docker/dockerfile-upstream"].contains(&path);
        if !is_dockers || digest.is_some() && tag.is_empty() {
            return None;
        }
        let has_labs = tag.ends_with("labs") || tag.ends_with("experimental");
        Some(Self::Image { named: named.to_owned(), version: tag.parse().ok(), has_labs })
    }

    /// Returns the findings on an instruction.
    pub(super) fn remarks(&self, instruction: &Instruction<'_>) -> Vec<Remark> {
        let features = FEATURES.iter().filter(|feature| feature.is_in(instruction));
        features.filter_map(|feature| self.remark(feature)).collect()
    }

    fn remark(&self, feature: &Feature) -> Option<Remark> {
        let Feature { name, engine, .. } = feature;
        let tag = feature.tag();
        let (message, help) = match self {
            Self::Unknown => return None,
            Self::Classic if feature.is_classic => return None,
            Self::Classic => (
                format!("the classic builder does not have {name}"),
                "leave out --nobuildkit".to_owned(),
            ),
            Self::Image { named, version, has_labs } => {
                let has = |first: Option<Version>| {
                    first.is_some_and(|first| version.is_none_or(|version| version >= first))
                };
                if has(feature.stable) || *has_labs && has(feature.labs) {
                    return None;
                }
                let message = format!("{named} does not have {name}, which is in version {tag}");
                (message, format!("write # syntax=docker/dockerfile:{tag}"))
            }
            Self::BuiltIn(version) => {
                if engine.is_some_and(|first| *version >= first) {
                    return None;
                }
                let message = format!("Docker Engine {version} does not have {name} built in");
                (message, format!("begin the Dockerfile with # syntax=docker/dockerfile:{tag}"))
            }
        };
        Some(Remark::new(Rule::NewerFrontend, message).help(help))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::instructions;

    /// Returns the messages about an instruction that a builder reads with a `# syntax`.
    fn messages(builder: Builder, syntax: Option<&str>, text: &str) -> Vec<String> {
        let frontend = Frontend::of(builder, syntax);
        let remarks = frontend.remarks(&instructions(text)[0]);
        remarks.into_iter().map(|one| format!("{}; {}", one.message, one.help.unwrap())).collect()
    }

    #[test]
    fn engines_have_features_built_in_from_a_version_on() {
        for (text, first) in [
            ("RUN --mount=type=tmpfs,target=/t true", "20.10"),
            ("ADD --chmod=644 a /b", "20.10"),
            ("RUN --network=none true", "23.0"),
            ("COPY <<E /a\nE", "23.0"),
            ("COPY --link a /b", "23.0"),
            ("ADD https://example.com/a.git#v1 /b", "25.0"),
            ("ADD --checksum=sha256:1 https://example.com/a /b", "25.0"),
            ("HEALTHCHECK --start-interval=1s CMD true", "25.0"),
            ("ADD --unpack=true https://example.com/a.tar /b", "28.3"),
            ("ADD --exclude=*.o a /b", "28.5"),
            ("COPY --parents a /b", "29.1"),
            ("RUN --security=insecure true", "29.1"),
        ] {
            let first: Version = first.parse().unwrap();
            let before = match first {
                Version(major, 0) => Version(major - 1, 9),
                Version(major, minor) => Version(major, minor - 1),
            };
            assert_eq!(messages(Builder::BuildKit(Some(first)), None, text).len(), 0, "{text}");
            assert_eq!(messages(Builder::BuildKit(Some(before)), None, text).len(), 1, "{text}");
            assert_eq!(messages(Builder::BuildKit(None), None, text).len(), 0, "{text}");
            assert_eq!(messages(Builder::Other, Some("docker/dockerfile:1.0"), text).len(), 0);
        }
        for text in [
            "COPY --from=a --chown=b a /b",
            "RUN true",
            "ADD https://example.com/a /b",
            "STOPSIGNAL 9",
        ] {
            let old = Builder::BuildKit(Some(Version(18, 9)));
            assert_eq!(messages(old, None, text).len(), 0, "{text}");
            assert_eq!(messages(Builder::Classic, None, text).len(), 0, "{text}");
        }
    }

    #[test]
    fn syntax_decides_before_the_engine() {
        let new = Builder::BuildKit(Some(Version(99, 0)));
        for (syntax, text, expected) in [
            ("docker/dockerfile:1.3", "RUN <<E\nE", 1),
            ("docker/dockerfile:1.3-labs", "RUN <<E\nE", 0),
            ("docker/dockerfile:1.4", "RUN <<E\nE", 0),
            ("docker.io/docker/dockerfile:1.2.1@sha256:0", "RUN --network=none true", 1),
            ("docker/dockerfile@sha256:0", "RUN --network=none true", 0),
            ("docker/dockerfile:1", "COPY --parents a /b", 0),
            ("docker/dockerfile", "COPY --parents a /b", 0),
            ("docker/dockerfile:1.19", "COPY --parents a /b", 1),
            ("docker/dockerfile:1.7-labs", "COPY --parents a /b", 0),
            ("docker/dockerfile:1", "RUN --device=a true", 1),
            ("docker/dockerfile:1-labs", "RUN --device=a true", 0),
            ("docker/dockerfile-upstream:master", "ADD --unpack a /b", 0),
            ("docker/dockerfile:1.0-experimental", "RUN --security=insecure true", 1),
            ("example.com/frontend:1.0", "RUN <<E\nE", 0),
        ] {
            assert_eq!(messages(new, Some(syntax), text).len(), expected, "{syntax} {text}");
        }
    }

    #[test]
    fn messages_name_the_frontend_and_the_cure() {
        for (builder, syntax, expected) in [
            (
                Builder::BuildKit(None),
                Some("docker/dockerfile:1.5"),
                "docker/dockerfile:1.5 does not have COPY --exclude, which is in version 1.19; \
                 write # syntax=docker/dockerfile:1.19",
            ),
            (
                Builder::BuildKit(Some(Version(24, 0))),
                None,
                "Docker Engine 24.0 does not have COPY --exclude built in; \
                 begin the Dockerfile with # syntax=docker/dockerfile:1.19",
            ),
            (
                Builder::Classic,
                Some("docker/dockerfile:1"),
                "the classic builder does not have COPY --exclude; leave out --nobuildkit",
            ),
        ] {
            assert_eq!(messages(builder, syntax, "COPY --exclude=a . /b"), [expected]);
        }
    }

    #[test]
    fn versions_are_read_by_their_first_two_numbers() {
        for (text, expected) in [
            ("23.0", Some(Version(23, 0))),
            ("v28.3.1", Some(Version(28, 3))),
            ("20.10.24+dfsg1", Some(Version(20, 10))),
            ("29.0-rc.1", Some(Version(29, 0))),
            ("23", None),
            ("latest", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Version>().ok(), expected, "{text}");
        }
    }

    #[test]
    fn the_documentation_has_the_table_of_features() {
        let docs = include_str!("../../docs/dockerfiles.md");
        let shown =
            |version: Option<Version>| version.map_or("-".to_owned(), |one| one.to_string());
        for feature in &FEATURES {
            let name = match feature.name {
                "ADD of a git repository" => feature.name.to_owned(),
                name => format!("`{name}`"),
            };
            let name = match feature.instructions {
                ["COPY", "ADD"] => format!("{name}, `{}`", feature.name.replace("COPY", "ADD")),
                _ => name,
            };
            let row = format!(
                "| {name} | {} | {} | {} |",
                shown(feature.stable),
                shown(feature.labs),
                shown(feature.engine)
            );
            assert!(docs.contains(&row), "{row}");
        }
    }
}
