//! Platforms in the notation of image tools.

use std::fmt;
use std::str::FromStr;

/// Operating system and architecture, optionally with a variant: `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    os: String,
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

impl Platform {
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

impl FromStr for Platform {
    type Err = ();

    /// Parses `os/architecture`, `os/architecture/variant`, or an architecture alone, which is one
    /// of Linux. Architectures may have the name of image tools or that of the kernel.
    fn from_str(text: &str) -> Result<Self, ()> {
        let is_word = |part: &&str| {
            !part.is_empty()
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        };
        let parts: Vec<&str> = text.split('/').filter(is_word).collect();
        if parts.len() != text.split('/').count() {
            return Err(());
        }
        let (os, architecture, variant) = match parts[..] {
            [architecture] => ("linux", architecture, None),
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(()),
        };
        let known = ARCHITECTURES.iter().find(|(_, kernels)| *kernels == architecture);
        Ok(Self {
            os: os.to_owned(),
            architecture: known.map_or(architecture, |(tools, _)| tools).to_owned(),
            variant: variant.map(str::to_owned),
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
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
        ];
        for (text, shown, arch, suffix) in table {
            let platform: Platform = text.parse().unwrap();
            assert_eq!(platform.to_string(), shown);
            assert_eq!((platform.kernel_arch(), platform.tag_suffix().as_str()), (arch, suffix));
        }
        for text in ["", "linux/", "/arm64", "a/b/c/d", "linux arm64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
