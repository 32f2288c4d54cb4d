//! Addresses of hosts, classified as local or remote.
//!
//! A remote registry may name token services and redirect to storage on any host, except on this
//! machine or its link. Services there trust everyone who can reach them, and some give out the
//! credentials of a machine in a cloud. Names are resolved here, once, and connections use the
//! result, so that a name can't resolve to another address a moment later.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;

/// Addresses at which clouds give a machine its credentials, in addition to the link-local ones.
const METADATA: [IpAddr; 3] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// Class of a host's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// This machine, or its link.
    Local,
    /// Any other address.
    Remote,
}

/// Addresses of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Addresses {
    /// Class of all these addresses.
    pub(super) reach: Reach,
    /// Addresses that the name was resolved to; empty if the host is an address itself.
    pub(super) found: Vec<SocketAddr>,
}

impl Addresses {
    /// Resolves the host of a URL.
    ///
    /// # Errors
    /// When its name can't be resolved.
    pub(super) async fn of(url: &Url) -> io::Result<Self> {
        let host = url.host_str().unwrap_or_default();
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            return Ok(Self { reach: reach(address), found: Vec::new() });
        }
        let port = url.port_or_known_default().unwrap_or_default();
        let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
        Self::among(found)
    }

    /// Classifies the addresses of a name. If a name has local and remote addresses, only the
    /// remote ones are used.
    fn among(found: Vec<SocketAddr>) -> io::Result<Self> {
        let (local, remote): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|address| reach(address.ip()) == Reach::Local);
        match (local.is_empty(), remote.is_empty()) {
            (true, true) => Err(io::Error::new(io::ErrorKind::NotFound, "it has no address")),
            (_, false) => Ok(Self { reach: Reach::Remote, found: remote }),
            (false, true) => Ok(Self { reach: Reach::Local, found: local }),
        }
    }
}

fn reach(address: IpAddr) -> Reach {
    let address = address.to_canonical();
    let is_local = match address {
        IpAddr::V4(address) => {
            address.is_loopback() || address.is_link_local() || address.octets()[0] == 0
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unspecified() || address.is_unicast_link_local()
        }
    };
    if is_local || METADATA.contains(&address) { Reach::Local } else { Reach::Remote }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_and_its_link_are_local() {
        let local = [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "169.254.169.254",
            "::1",
            "::",
            "fe80::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "fd00:ec2::254",
            "100.100.100.200",
        ];
        for address in local {
            assert_eq!(reach(address.parse().unwrap()), Reach::Local, "{address}");
        }
        for address in ["10.0.0.1", "192.168.1.1", "8.8.8.8", "2001:db8::1", "fd00::1"] {
            assert_eq!(reach(address.parse().unwrap()), Reach::Remote, "{address}");
        }
    }

    #[test]
    fn name_of_both_sides_is_on_the_other_one() {
        let addresses = |all: &[&str]| {
            Addresses::among(all.iter().map(|address| address.parse().unwrap()).collect())
        };
        let both = addresses(&["127.0.0.1:1", "10.0.0.1:1"]).unwrap();
        assert_eq!(both.reach, Reach::Remote);
        assert_eq!(both.found, ["10.0.0.1:1".parse().unwrap()]);
        assert_eq!(addresses(&["127.0.0.1:1"]).unwrap().reach, Reach::Local);
        assert!(addresses(&[]).is_err());
    }

    #[tokio::test]
    async fn other_spellings_of_local_addresses_are_local() {
        for url in
            ["https://127.1/", "https://0x7f000001/", "https://2130706433/", "http://[::1]:5/"]
        {
            let addresses = Addresses::of(&Url::parse(url).unwrap()).await.unwrap();
            assert_eq!(addresses.reach, Reach::Local, "{url}");
        }
        let named = Addresses::of(&Url::parse("http://localhost:5/").unwrap()).await.unwrap();
        assert_eq!(named.reach, Reach::Local);
        assert!(!named.found.is_empty());
    }
}
