//! Entry point of the program `kiln`: calls [`kiln::cli`], which chooses the exit code.

use mimalloc::MiMalloc;
use signal_hook::low_level;

/// Allocator of the program. Rendering uses all processors and mostly allocates small strings: with
/// the system's allocator, it spends a fifth of its time there. mimalloc v2 packs small and large
/// blocks more densely than v3, so the kernel zeroes fewer pages: about 10 % of the time of a
/// program that runs for milliseconds.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    let exit = kiln::cli::main(std::env::args_os());
    // Skip destructors: otherwise the allocator would release all memory block by block; the OS
    // reclaims it at once.
    low_level::exit(exit as i32);
}
