//! The program as the host of a workspace.

use super::exit::give_up;
use super::terminal;
use crate::console;
use crate::workspace::Host;

/// Host that prints warnings.
pub const HOST: Host<'static> = Host {
    warn: &(|text| terminal::warn(&format!("warning: {text}"))),
    expect_service: console::expect_service,
    give_up,
};

/// Host of a workspace at a commit, whose warnings are of no interest.
pub const SILENT_HOST: Host<'static> = Host { warn: &|_| {}, ..HOST };
