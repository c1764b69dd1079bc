import Foundation

/// The files of the repository that has these tests.
public enum Repository {
    /// The absolute path of a file, from its path in the repository.
    public static func path(_ relative: String) -> String {
        var folder = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
        while folder.path != "/" {
            folder.deleteLastPathComponent()
            if FileManager.default.fileExists(atPath: folder.appendingPathComponent("Package.swift").path) { break }
        }
        return folder.appendingPathComponent(relative).path
    }

    /// The text of a file.
    public static func text(_ relative: String) throws -> String {
        try String(contentsOfFile: self.path(relative), encoding: .utf8)
    }
}
