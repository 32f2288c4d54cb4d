//! Platforms in the notation of image tools, read as containerd's library reads them, which Docker,
//! BuildKit and Podman use.

use std::fmt;
use std::str::FromStr;

/// Operating system and architecture, optionally with a variant: `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Platform {
    os: String,
    /// Version and features of the operating system with their parentheses, as in
    /// `windows(10.0.17763)`; empty for none.
    os_options: String,
    architecture: String,
    variant: Option<String>,
}

/// Names of architectures in image tools and in the kernel, where they differ.
const ARCHITECTURES: &[(&str, &str)] = &[
    ("amd64", "x86_64"),
    ("arm64", "aarch64"),
    ("386", "i686"),
    ("arm", "armv7l"),
    ("loong64", "loongarch64"),
];

/// Operating systems that may be named without an architecture.
const KNOWN_SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];

/// Architectures that may be named without an operating system.
const KNOWN_ARCHITECTURES: &[&str] = &[
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "arm64",
    "arm64be",
    "armbe",
    "loong64",
    "mips",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "mipsle",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

/// Operating system of a platform that names none.
const LINUX: &str = "linux";

impl Platform {
    /// Returns the platform of this machine's containers: Linux on the architecture that this
    /// program was compiled for.
    pub fn of_host() -> Self {
        let (architecture, variant) = normalized(std::env::consts::ARCH, "");
        let variant = variant.filter(|_| architecture != "arm");
        Self { os: LINUX.to_owned(), os_options: String::new(), architecture, variant }
    }

    /// Parses a platform whose architecture may also have the kernel's name, as in `armv7l`.
    ///
    /// # Errors
    /// When the text is not a platform.
    pub fn from_any_name(text: &str) -> Result<Self, InvalidPlatform> {
        let (os, architecture) =
            text.rsplit_once('/').map_or((None, text), |(os, arch)| (Some(os), arch));
        let known = ARCHITECTURES.iter().find(|(_, kernels)| *kernels == architecture);
        let Some((tools, _)) = known else { return text.parse() };
        match os {
            Some(os) => format!("{os}/{tools}").parse(),
            None => tools.parse(),
        }
    }

    /// Returns the name of the operating system.
    pub fn os(&self) -> &str {
        &self.os
    }

    /// Returns the version of the operating system; an empty text if none is named.
    pub fn os_version(&self) -> &str {
        let options = self.os_options.trim_start_matches('(').trim_end_matches(')');
        options.split('+').next().unwrap_or_default()
    }

    /// Returns the name of the architecture in image tools.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Returns the variant of the architecture; an empty text if none is named.
    pub fn variant(&self) -> &str {
        self.variant.as_deref().unwrap_or_default()
    }

    /// Returns the kernel's name of the architecture.
    pub fn kernel_arch(&self) -> &str {
        let known = ARCHITECTURES.iter().find(|(tools, _)| *tools == self.architecture);
        known.map_or(self.architecture.as_str(), |(_, kernels)| kernels)
    }

    /// Returns the part of a tag that tells this platform's images from those of others.
    pub fn tag_suffix(&self) -> String {
        match &self.variant {
            Some(variant) => format!("{}-{variant}", self.architecture),
            None => self.architecture.clone(),
        }
    }
}

/// Error for a text that is not a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidPlatform;

impl FromStr for Platform {
    type Err = InvalidPlatform;

    /// Parses `os/architecture`, `os/architecture/variant`, an operating system alone, which gets
    /// the architecture of this machine, or an architecture alone, which is one of Linux.
    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let mut parts = text.split('/');
        let first = parts.next().unwrap_or_default();
        let rest: Vec<&str> = parts.collect();
        let (os, os_options) = split_os(first).ok_or(InvalidPlatform)?;
        if !rest.iter().all(|part| is_component(part)) {
            return Err(InvalidPlatform);
        }
        let os = match os.to_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let (os, (architecture, variant)) = match rest[..] {
            [] if KNOWN_SYSTEMS.contains(&os.as_str()) => {
                let host = Self::of_host();
                (os, (host.architecture, host.variant))
            }
            [] => {
                let (architecture, variant) = without_default(normalized(first, ""));
                if !KNOWN_ARCHITECTURES.contains(&architecture.as_str()) {
                    return Err(InvalidPlatform);
                }
                (LINUX.to_owned(), (architecture, variant))
            }
            [architecture] => (os, without_default(normalized(architecture, ""))),
            [architecture, variant] => {
                let (architecture, variant) = normalized(architecture, variant);
                let variant =
                    variant.or_else(|| (architecture == "arm64").then(|| "v8".to_owned()));
                (os, (architecture, variant))
            }
            _ => return Err(InvalidPlatform),
        };
        Ok(Self { os, os_options: os_options.to_owned(), architecture, variant })
    }
}

fn is_component(part: &str) -> bool {
    !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

/// Splits the name of an operating system from its options; `None` if one of them is not valid.
fn split_os(text: &str) -> Option<(&str, &str)> {
    let (name, options) = text.split_at(text.find('(').unwrap_or(text.len()));
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let is_option = |c: char| c.is_ascii_alphanumeric() || "_-.%+".contains(c);
    let inner = match options.strip_prefix('(') {
        Some(inner) => inner.strip_suffix(')')?,
        None => "",
    };
    (!name.is_empty() && name.chars().all(is_name) && inner.chars().all(is_option))
        .then_some((name, options))
}

/// Removes the variant that 32-bit ARM has if none is named.
fn without_default((architecture, variant): (String, Option<String>)) -> (String, Option<String>) {
    let is_default = architecture == "arm" && variant.as_deref() == Some("v7");
    (architecture, variant.filter(|_| !is_default))
}

/// Returns the usual name of an architecture and of its variant.
fn normalized(architecture: &str, variant: &str) -> (String, Option<String>) {
    let (architecture, variant) = (architecture.to_lowercase(), variant.to_lowercase());
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => {
            ("amd64", if variant == "v1" { "" } else { variant })
        }
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (architecture.to_owned(), Some(variant.to_owned()).filter(|variant| !variant.is_empty()))
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}/{}", self.os, self.os_options, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_in_whichever_words() {
        let table = [
            ("linux/arm64", "linux/arm64", "aarch64", "arm64"),
            ("aarch64", "linux/arm64", "aarch64", "arm64"),
            ("linux/x86_64", "linux/amd64", "x86_64", "amd64"),
            ("linux/arm/v7", "linux/arm/v7", "armv7l", "arm-v7"),
            ("linux/ppc64le", "linux/ppc64le", "ppc64le", "ppc64le"),
            ("armv7l", "linux/arm", "armv7l", "arm"),
            ("linux/i686", "linux/386", "i686", "386"),
        ];
        for (text, shown, arch, suffix) in table {
            let platform = Platform::from_any_name(text).unwrap();
            assert_eq!(platform.to_string(), shown);
            assert_eq!((platform.kernel_arch(), platform.tag_suffix().as_str()), (arch, suffix));
        }
        for text in ["", "linux/", "/arm64", "a/b/c/d", "linux arm64", "toaster", "*/amd64"] {
            assert!(Platform::from_any_name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn platforms_of_dockerfiles_are_read_as_containerd_does() {
        let table = [
            ("Linux/AMD64", "linux/amd64"),
            ("macOS/arm64/v8", "darwin/arm64/v8"),
            ("linux/arm64/v9.0", "linux/arm64/v9"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/armhf", "linux/arm"),
            ("linux/arm/6", "linux/arm/v6"),
            ("i386", "linux/386"),
            ("s390x", "linux/s390x"),
            ("linux/toaster", "linux/toaster"),
            ("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64"),
        ];
        for (text, shown) in table {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), shown);
        }
        let windows: Platform = "windows(10.0.17763+win32k)/amd64".parse().unwrap();
        assert_eq!((windows.os(), windows.os_version()), ("windows", "10.0.17763"));
        assert_eq!("linux".parse::<Platform>().unwrap(), Platform::of_host());
    }
}
