import Foundation

#if canImport(Glibc)
import Glibc
#endif

/// Location of the `flowhub` binary under test.
public enum HubBinary {
    public struct Missing: Error, CustomStringConvertible {
        public let description: String
    }

    /// The path in `FLOWHUB_BINARY`, or that of `flowhub` in the build folder of the running tests.
    public static func path() throws -> String {
        if let named = ProcessInfo.processInfo.environment["FLOWHUB_BINARY"], !named.isEmpty {
            guard FileManager.default.isExecutableFile(atPath: named) else {
                throw Missing(description: "FLOWHUB_BINARY is \(named), which is not executable.")
            }
            return named
        }
        // The test runner is a bundle in the build folder, or a tool of the toolchain with that bundle as an argument.
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
            description: "There is no flowhub next to the tests. Run swift build, or set FLOWHUB_BINARY to its path.")
    }
}
