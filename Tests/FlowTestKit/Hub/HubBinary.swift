import Foundation

#if canImport(Glibc)
import Glibc
#endif

/// Where the `flowhub` under test is.
public enum HubBinary {
    public struct Missing: Error, CustomStringConvertible {
        public let description: String
    }

    /// `FLOWHUB_BINARY`, or the `flowhub` in the build folder that holds the running tests.
    public static func path() throws -> String {
        if let named = ProcessInfo.processInfo.environment["FLOWHUB_BINARY"], !named.isEmpty {
            guard FileManager.default.isExecutableFile(atPath: named) else {
                throw Missing(description: "FLOWHUB_BINARY names \(named), which cannot be run.")
            }
            return named
        }
        // The test runner is a bundle in the build folder, or a tool of the toolchain that was given that bundle.
        for argument in CommandLine.arguments {
            var folder = URL(fileURLWithPath: argument).deletingLastPathComponent()
            for _ in 0..<4 {
                let candidate = folder.appendingPathComponent("flowhub").path
                var isFolder: ObjCBool = false
                if FileManager.default.fileExists(atPath: candidate, isDirectory: &isFolder), !isFolder.boolValue {
                    return candidate
                }
                folder = folder.deletingLastPathComponent()
            }
        }
        throw Missing(
            description: "There is no flowhub beside the tests. Build it (swift build) or name it in FLOWHUB_BINARY.")
    }
}
