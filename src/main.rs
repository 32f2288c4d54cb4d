//! The program `kiln`: hands over to [`kiln::cli`], which chooses the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    kiln::cli::main(std::env::args_os())
}
