//! Time of this machine, in its own time zone.

use std::env;
use std::fs;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Returns the present local time.
pub fn local_time() -> Zoned {
    Timestamp::now().to_zoned(local_time_zone())
}

/// Returns the time zone of the machine, or the one that TZ names. A lookup by name lists all zones
/// of the machine, which takes longer than reading hundreds of templates, so the machine's own zone
/// is read directly from its file.
fn local_time_zone() -> TimeZone {
    let is_named = env::var_os("TZ").is_some();
    let own = (!is_named).then(|| fs::read("/etc/localtime").ok()).flatten();
    own.and_then(|zone| TimeZone::tzif("", &zone).ok()).unwrap_or_else(TimeZone::system)
}
