//! Files of profiles: one pattern a line, `#` begins a comment.

/// File with the patterns of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileFile {
    /// Path on disk; `None` if the profile is in no file of its own.
    pub path: Option<String>,
    /// Text of the file.
    pub text: String,
}
