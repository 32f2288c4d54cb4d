//! The program `kiln`: hands over to [`kiln::cli`], which chooses the exit code.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Rendering is done on all processors, and is mostly the making of small texts: a fifth of its time goes
/// to the allocator of the system.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    kiln::cli::main(std::env::args_os())
}
