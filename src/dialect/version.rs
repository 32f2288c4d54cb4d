//! Version of a release of kolla-build.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// Version of a release. A part that is not written counts as the largest number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Series.
    pub major: u32,
    /// Release within the series.
    pub minor: u32,
    /// Patch level of that release.
    pub patch: u32,
}

impl FromStr for Version {
    type Err = ParseIntError;

    /// Parses `14`, `14.11` or `14.11.0`, and versions between two releases in the spelling of
    /// Python's tools, such as `14.11.1.dev3`.
    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let mut numbers = text.trim().splitn(4, '.');
        let major = numbers.next().unwrap_or_default().parse()?;
        let mut next = || match numbers.next() {
            None => Ok(u32::MAX),
            Some(number) => {
                let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
                number[..digits].parse()
            }
        };
        Ok(Self { major, minor: next()?, patch: next()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.major)?;
        for number in [self.minor, self.patch].into_iter().take_while(|number| *number != u32::MAX)
        {
            write!(f, ".{number}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parts_of_a_version_sort_last() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("14") > version("14.12.0"));
        assert!(version("14.11") > version("14.11.0"));
        assert!(version("14.11") < version("14.12.0"));
        assert_eq!(version("15.1.0.dev12"), version("15.1.0"));
        assert_eq!(version("23.0.0.0rc1"), version("23.0.0"));
    }

    #[test]
    fn version_is_displayed_as_written() {
        for text in ["9", "14.11", "23.0.0"] {
            assert_eq!(text.parse::<Version>().unwrap().to_string(), text);
        }
        assert!("latest".parse::<Version>().is_err());
        assert!("".parse::<Version>().is_err());
    }
}
