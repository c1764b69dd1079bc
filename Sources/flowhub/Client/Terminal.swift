import FlowCore
import Foundation

/// Standard output has no reader any more.
struct OutputClosed: Error {}

/// Where a command writes: results to standard output, everything about them to standard error.
enum Terminal {
    /// Whether results are looked at by a human who wants colours.
    static let isColourful = Self.isColourful(STDOUT_FILENO)

    /// Whether a human who wants colours looks at this descriptor (https://no-color.org).
    static func isColourful(_ descriptor: Int32) -> Bool {
        isatty(descriptor) == 1
            && (ProcessInfo.processInfo.environment["NO_COLOR"] ?? "").isEmpty
            && ProcessInfo.processInfo.environment["TERM"] != "dumb"
    }

    /// Columns of the terminal at standard output; `nil` if there is none.
    static var width: Int? { Self.width(of: STDOUT_FILENO) }

    /// Columns of the terminal at this descriptor; `nil` if there is none.
    static func width(of descriptor: Int32) -> Int? {
        var size = winsize()
        guard isatty(descriptor) == 1, ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
        return Int(size.ws_col)
    }

    /// A line of the result.
    static func show(_ line: String) throws(OutputClosed) { try Self.show(Array((line + "\n").utf8)) }

    static func show(_ bytes: [UInt8]) throws(OutputClosed) {
        do { try FileHandle.standardOutput.write(contentsOf: Data(bytes)) } catch { throw OutputClosed() }
    }

    /// A line about what is going on. Nobody to read it is no reason to stop.
    static func say(_ line: String) {
        try? FileHandle.standardError.write(contentsOf: Data((line + "\n").utf8))
    }

    /// Text from elsewhere without what a terminal would take for a command: control characters become `\u{…}`.
    static func harmless(_ text: some StringProtocol) -> String {
        guard text.unicodeScalars.contains(where: { Self.isDangerous($0) }) else { return String(text) }
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            if Self.isDangerous(scalar) {
                result.append(contentsOf: "\\u{\(String(scalar.value, radix: 16))}".unicodeScalars)
            } else {
                result.append(scalar)
            }
        }
        return String(result)
    }

    /// C0, DEL and C1, and the marks that turn the direction of text around.
    private static func isDangerous(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7F..<0xA0, 0x200E, 0x200F, 0x202A...0x202E, 0x2066...0x2069: true
        default: false
        }
    }
}

/// Colours, or not.
struct Palette: Hashable, Sendable {
    let isOn: Bool

    func dim(_ text: String) -> String { self.paint("2", text) }
    func bold(_ text: String) -> String { self.paint("1", text) }
    func red(_ text: String) -> String { self.paint("31", text) }
    func green(_ text: String) -> String { self.paint("32", text) }
    func yellow(_ text: String) -> String { self.paint("33", text) }
    func blue(_ text: String) -> String { self.paint("34", text) }
    func cyan(_ text: String) -> String { self.paint("36", text) }

    /// A status in the colour that people expect of it.
    func status(_ status: String) -> String {
        switch status {
        case "completed": self.green(status)
        case "failed", "deleted": self.red(status)
        case "cancelled": self.yellow(status)
        default: self.cyan(status)
        }
    }

    private func paint(_ code: String, _ text: String) -> String { self.isOn ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text }
}
