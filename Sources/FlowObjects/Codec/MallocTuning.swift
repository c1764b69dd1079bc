import CMalloc
import Foundation

/// Configures glibc's malloc for large blocks.
public enum MallocTuning {
    private static let megabyte: Int32 = 1_048_576

    /// Makes malloc map each block of 1 MiB or more separately, so that the memory of a freed block returns to the system at
    /// once. By default, glibc allocates such blocks from its heaps after the first one was freed, and smaller blocks
    /// between them keep the memory in the process: after one import of 1 GB, a hub would keep 40 MiB that it does not
    /// need. Called once, at start. The environment variables `MALLOC_MMAP_THRESHOLD_` and `MALLOC_TRIM_THRESHOLD_` take
    /// precedence.
    ///
    /// Each heap keeps up to 2 MiB at its end. With the default, 128 KiB, which a fixed threshold for mapping no longer adapts,
    /// batches of changes gave memory back to the system and got it again, for 15 % of their time.
    public static func useMmapForLargeBlocks() {
        let environment = ProcessInfo.processInfo.environment
        if environment["MALLOC_MMAP_THRESHOLD_"] == nil { _ = mallopt(M_MMAP_THRESHOLD, Self.megabyte) }
        if environment["MALLOC_TRIM_THRESHOLD_"] == nil { _ = mallopt(M_TRIM_THRESHOLD, 2 * Self.megabyte) }
    }
}
