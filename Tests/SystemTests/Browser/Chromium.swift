import FlowCore
import FlowTestKit
import Foundation
import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#endif

/// A headless Chromium, driven over a pipe with the DevTools protocol: JSON messages, each ended by a NUL.
final class Chromium: Sendable {
    struct Missing: Error, CustomStringConvertible {
        let description =
            "chromium was not found in PATH. These tests need a real browser. Install it: apt-get install chromium"
    }

    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    fileprivate struct State: Sendable {
        var buffer: [UInt8] = []
        var answers: [Int: JSONText] = [:]
        var events: [JSONText] = []
        var next = 0
    }

    private let process: ChildProcess
    private let folder: TemporaryFolder
    private let channel: any Channel
    private let state: AsyncValue<State>

    private init(_ process: ChildProcess, _ folder: TemporaryFolder, _ channel: any Channel, _ state: AsyncValue<State>) {
        self.process = process
        self.folder = folder
        self.channel = channel
        self.state = state
    }

    /// Runs a browser for the duration of the body, then kills all its processes, even if the body throws.
    /// - Parameter loopbackNames: host names that resolve to 127.0.0.1 in this browser, as if `/etc/hosts` had them.
    static func running<Result>(loopbackNames: [String] = [], _ body: (Chromium) async throws -> Result) async throws -> Result {
        let browser = try await Self.start(loopbackNames)
        do {
            let result = try await body(browser)
            await browser.end()
            return result
        } catch {
            await browser.end()
            throw error
        }
    }

    private static func start(_ loopbackNames: [String]) async throws -> Chromium {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin").split(separator: ":")
        guard folders.contains(where: { FileManager.default.isExecutableFile(atPath: "\($0)/chromium") }) else { throw Missing() }
        let folder = try TemporaryFolder()
        let (commands, messages) = (folder.path + "/commands", folder.path + "/messages")
        guard mkfifo(commands, 0o600) == 0, mkfifo(messages, 0o600) == 0 else { throw Failure(description: "mkfifo failed") }
        // Opened for reading and writing, so that opening does not wait for the other end.
        let (output, input) = (open(commands, O_RDWR | O_CLOEXEC), open(messages, O_RDWR | O_CLOEXEC))
        let state = AsyncValue(State())
        let channel = try await NIOPipeBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(MessageReader { bytes in state.change { $0.append(bytes) } })
                }
            }
            .takingOwnershipOfDescriptors(input: input, output: output).get()
        let flags =
            "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking "
            + "--disable-extensions --host-resolver-rules='\(loopbackNames.map { "MAP \($0) 127.0.0.1" }.joined(separator: ","))'"
        // In its own session, so that one signal ends all its processes.
        let script =
            "exec setsid chromium \(flags) --remote-debugging-pipe --user-data-dir='\(folder.path)/profile' about:blank "
            + "3<'\(commands)' 4>'\(messages)'"
        let process = try ChildProcess("/bin/sh", ["-c", script], environment: [:], folder: folder.path)
        return Chromium(process, folder, channel, state)
    }

    private func end() async {
        // setsid made it the leader of its process group. If it has exited, the group id may belong to other processes.
        if self.process.exit == nil { _ = Glibc.kill(-self.process.id, SIGKILL) }
        await self.process.destroy()
        try? await self.channel.close().get()
        self.folder.remove()
    }

    // MARK: The protocol

    /// Sends a DevTools command.
    /// - Returns: the result of the command.
    @discardableResult
    func send(_ method: String, _ parameters: String = "{}", session: String? = nil) async throws -> JSONText {
        let number = self.state.change { state in
            state.next += 1
            return state.next
        }
        let message = try JSONText.object { writer in
            writer.key("id")
            writer.value(number)
            writer.key("method")
            writer.value(method)
            writer.key("params")
            writer.raw(try jsonText(parameters))
            if let session {
                writer.key("sessionId")
                writer.value(session)
            }
        }
        try await self.channel.writeAndFlush(ByteBuffer(bytes: message.bytes + [0])).get()
        let answer: JSONText
        do {
            answer = try await self.state.wait(for: "the response to \(method)", within: .seconds(40)) { $0.answers[number] }
        } catch {
            throw Failure(description: "\(error): \(self.process.errorOutput.suffix(500))")
        }
        guard let result = answer.member("result") else {
            throw Failure(description: "\(method): \(answer.string.prefix(500))")
        }
        return result
    }

    /// The received DevTools events of a session, in order.
    func events(_ method: String, session: String) -> [JSONText] {
        self.state.read { state in
            state.events.filter { $0.member("method")?.stringValue == method && $0.member("sessionId")?.stringValue == session }
                .compactMap { $0.member("params") }
        }
    }
}

extension Chromium.State {
    fileprivate mutating func append(_ bytes: some Sequence<UInt8>) {
        for byte in bytes {
            guard byte == 0 else {
                self.buffer.append(byte)
                continue
            }
            defer { self.buffer.removeAll(keepingCapacity: true) }
            guard let message = try? JSONText(validating: self.buffer, limits: JSONLimits(maximumDepth: 256)) else { continue }
            if let id = message.member("id")?.intValue {
                self.answers[Int(id)] = message
            } else {
                self.events.append(message)
            }
        }
    }
}

private final class MessageReader: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let received: @Sendable (ByteBufferView) -> Void

    init(received: @escaping @Sendable (ByteBufferView) -> Void) { self.received = received }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { self.received(self.unwrapInboundIn(data).readableBytesView) }
}
