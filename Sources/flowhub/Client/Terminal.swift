import FlowCore
import Foundation

/// Standard output cannot be written, usually because the program that reads it has closed the pipe.
struct OutputClosed: Error {}

/// Output of commands: results to standard output, messages to standard error.
enum Terminal {
    /// Whether to use colors on standard output.
    static let isColorful = Self.isColorful(STDOUT_FILENO)

    /// Whether to use colors on this descriptor: it is a terminal, `NO_COLOR` is empty or not set (https://no-color.org), and
    /// `TERM` is not `dumb`.
    static func isColorful(_ descriptor: Int32) -> Bool {
        isatty(descriptor) == 1
            && (ProcessInfo.processInfo.environment["NO_COLOR"] ?? "").isEmpty
            && ProcessInfo.processInfo.environment["TERM"] != "dumb"
    }

    /// Columns of the terminal at standard output; `nil` if standard output is not a terminal.
    static var width: Int? { Self.width(of: STDOUT_FILENO) }

    /// Columns of the terminal at this file descriptor; `nil` if the descriptor is not a terminal.
    static func width(of descriptor: Int32) -> Int? {
        var size = winsize()
        guard isatty(descriptor) == 1, ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
        return Int(size.ws_col)
    }

    /// Writes a line of the result to standard output.
    /// - Throws: ``OutputClosed`` if the line cannot be written.
    static func show(_ line: String) throws(OutputClosed) { try Self.show(Array((line + "\n").utf8)) }

    /// Writes bytes of the result to standard output.
    /// - Throws: ``OutputClosed`` if they cannot be written.
    static func show(_ bytes: [UInt8]) throws(OutputClosed) {
        do { try FileHandle.standardOutput.write(contentsOf: Data(bytes)) } catch { throw OutputClosed() }
    }

    /// Writes a message to standard error. Write errors are ignored.
    static func note(_ line: String) {
        try? FileHandle.standardError.write(contentsOf: Data((line + "\n").utf8))
    }

    /// Makes text from another source safe for a terminal: control characters become `\u{…}`.
    static func sanitized(_ text: some StringProtocol) -> String {
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

    /// Whether the character could change what the terminal shows: control characters (C0, DEL, C1), and characters that change
    /// the direction of text.
    private static func isDangerous(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7F..<0xA0, 0x200E, 0x200F, 0x202A...0x202E, 0x2066...0x2069: true
        default: false
        }
    }
}

/// Adds color sequences for the terminal to text if ``isOn``; otherwise returns the text unchanged.
struct Palette: Hashable, Sendable {
    let isOn: Bool

    /// The text in faint type, if colors are on.
    func dim(_ text: String) -> String { self.paint("2", text) }
    /// The text in bold type, if colors are on.
    func bold(_ text: String) -> String { self.paint("1", text) }
    /// The text in red, if colors are on.
    func red(_ text: String) -> String { self.paint("31", text) }
    /// The text in green, if colors are on.
    func green(_ text: String) -> String { self.paint("32", text) }
    /// The text in yellow, if colors are on.
    func yellow(_ text: String) -> String { self.paint("33", text) }
    /// The text in blue, if colors are on.
    func blue(_ text: String) -> String { self.paint("34", text) }
    /// The text in cyan, if colors are on.
    func cyan(_ text: String) -> String { self.paint("36", text) }

    /// A flow's status in the color that is chosen for it, if colors are on.
    func status(_ status: String) -> String {
        switch status {
        case "completed": self.green(status)
        case "failed", "deleted": self.red(status)
        case "cancelled": self.yellow(status)
        default: self.cyan(status)
        }
    }

    /// Puts the color sequence with this SGR code before the text and the reset sequence after it, if colors are on.
    private func paint(_ code: String, _ text: String) -> String { self.isOn ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text }
}
