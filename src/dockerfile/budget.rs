//! Limits of the work that expansions do, since Dockerfiles and build arguments may come from anybody.

/// Largest total size of the values that are substituted in one Dockerfile, in bytes. A few lines
/// in which each value is twice the previous one would exceed any memory.
pub(super) const MOST_OF_VALUES: usize = 1 << 20;

/// Largest number of steps that the matching of patterns may take in one Dockerfile. A step is one
/// character of a pattern at one character of a value.
const MOST_STEPS: usize = 1 << 24;

/// Error of an expansion, as a part of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LexerError(pub(super) String);

/// Amount of work that expansions may still do.
pub(super) struct Budget {
    /// Number of bytes that values may still add.
    values: usize,
    /// Number of steps that the matching of patterns may still take.
    steps: usize,
}

impl Budget {
    /// Returns the budget of one Dockerfile.
    pub(super) fn new() -> Self {
        Self { values: MOST_OF_VALUES, steps: MOST_STEPS }
    }

    /// Subtracts the size of a value.
    pub(super) fn take_value(&mut self, size: usize) -> Result<(), LexerError> {
        self.values = self.values.checked_sub(size).ok_or_else(|| {
            let limit = MOST_OF_VALUES;
            LexerError(format!("the expanded build arguments have more than {limit} bytes here"))
        })?;
        Ok(())
    }

    /// Subtracts the steps of a match.
    pub(super) fn take_steps(&mut self, steps: usize) -> Result<(), LexerError> {
        self.steps = self
            .steps
            .checked_sub(steps)
            .ok_or_else(|| LexerError("the patterns here take too long to match".to_owned()))?;
        Ok(())
    }
}
