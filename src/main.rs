//! The program `kiln`: hands over to [`kiln::cli`], which chooses the exit code.

use mimalloc::MiMalloc;
use signal_hook::low_level;

/// Rendering is done on all processors, and is mostly the making of small texts: a fifth of its time goes
/// to the allocator of the system. The second line of this one lays small and large blocks side by side,
/// and so asks for less memory than the third, all of which the kernel has to clear: for a program of some
/// milliseconds a tenth of its time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    let exit = kiln::cli::main(std::env::args_os());
    kiln::console::flush();
    // What else a program does at its end is to have its allocator hand back all memory, piece by piece,
    // which the system takes at once.
    low_level::exit(exit as i32);
}
